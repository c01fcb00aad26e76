"""The blocks and depths of a model's tensors, derived from their names."""

import re
from collections.abc import Mapping, Sequence

ENCODER = "encoder."  # names of a text encoder begin with this

# Names before the first numbered block, in the towers of open_clip and timm.
STEM = {
    "class_embedding", "positional_embedding", "ln_pre", "conv1", "conv2", "conv3", "bn1", "bn2",
    "bn3", "patch_embed", "pos_embed", "cls_token", "norm_pre", "stem",
}  # fmt: skip
# Names before the first numbered block, in text encoders.
TEXT_STEM = {
    "embeddings", "embeddings_project", "shared", "embed_tokens", "embed_positions",
    "rel_embeddings", "relative_attention_bias", "wte", "wpe",
}  # fmt: skip
# The parts of a block of a T5 have numbers of their own.
_PART = re.compile(r"(\.block\.\d+)\.layer\.\d+\.")


def block(name: str) -> str:
    """Name of the block of a tensor: its name up to the last number.

    A tensor without a number in its name belongs to the block of its module. Numbers after
    ``downsample``, the shortcut of a ResNet, do not count, nor do those of the parts of a T5's
    block.

    >>> block("visual.transformer.resblocks.3.attn.out_proj.weight")
    'visual.transformer.resblocks.3'
    >>> block("visual.layer1.0.downsample.1.weight")
    'visual.layer1.0'
    >>> block("encoder.decoder.block.2.layer.1.layer_norm.weight")
    'encoder.decoder.block.2'
    """
    if name.startswith(ENCODER):
        name = _PART.sub(r"\1.", name)
    parts = name.split(".downsample.")[0].split(".")
    numbered = [i for i, part in enumerate(parts) if part.isdigit()]
    end = numbered[-1] + 1 if numbered else max(1, len(parts) - 1)
    return ".".join(parts[:end])


def groups(names: Sequence[str], by: str) -> dict[str, int]:
    """Put tensors into groups.

    Args:
        names: names of the tensors.
        by: ``model`` (one group for all), ``block`` (a group per `block`) or ``tensor`` (a group
            per tensor).

    Returns:
        index of the group of each tensor, by name.
    """
    key = {"model": lambda name: "", "block": block, "tensor": lambda name: name}[by]
    index: dict[str, int] = {}
    return {name: index.setdefault(key(name), len(index)) for name in names}


def depths(names: Sequence[str]) -> dict[str, int]:
    """Distance of each tensor from the input, for layer-wise learning rates.

    Args:
        names: names of the parameters, in the order of the model.

    Returns:
        by name: 0 for the stem; 1, 2, … for the numbered blocks in order; one more than the last
        block for all other tensors, such as those of the head. The last normalisation of a text
        encoder or decoder belongs to its last block.
    """
    numbered = [name for name in names if any(part.isdigit() for part in name.split("."))]
    order = {part: i + 1 for i, part in enumerate(dict.fromkeys(map(block, numbered)))}
    last = len(order) + 1

    def depth(name: str) -> int:
        if block(name) in order:
            return order[block(name)]
        parts = set(name.split("."))
        if name.startswith(ENCODER):
            return 0 if parts & TEXT_STEM else _of_stack(name, order) or last
        return 0 if parts & STEM and "attnpool" not in parts else last

    return {name: depth(name) for name in names}


def _of_stack(name: str, order: Mapping[str, int]) -> int | None:
    """Depth of the last block in the stack of blocks that a tensor belongs to, if there is one."""
    stack = name.rsplit(".", 2)[0] + "."
    inside = [at for part, at in order.items() if part.startswith(stack)]
    return max(inside, default=None) if stack != ENCODER else None
