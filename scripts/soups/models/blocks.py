"""The parts of a model, read off the names of its tensors."""

from collections.abc import Sequence

# What comes before the first numbered block, in open_clip's and timm's towers.
STEM = {
    "class_embedding", "positional_embedding", "ln_pre", "conv1", "conv2", "conv3", "bn1", "bn2",
    "bn3", "patch_embed", "pos_embed", "cls_token", "norm_pre", "stem",
}  # fmt: skip


def block(name: str) -> str:
    """The part a tensor belongs to: up to the last number in its name, or else its module.

    The numbers inside a ResNet's shortcut, ``downsample``, are not its blocks'.

    >>> block("visual.transformer.resblocks.3.attn.out_proj.weight")
    'visual.transformer.resblocks.3'
    >>> block("visual.layer1.0.downsample.1.weight")
    'visual.layer1.0'
    """
    parts = name.split(".downsample.")[0].split(".")
    numbered = [i for i, part in enumerate(parts) if part.isdigit()]
    end = numbered[-1] + 1 if numbered else max(1, len(parts) - 1)
    return ".".join(parts[:end])


def groups(names: Sequence[str], by: str) -> dict[str, int]:
    """Tensors put into groups.

    Args:
        names: of the tensors.
        by: ``model`` (one group), ``block`` (see `block`) or ``tensor`` (one each).

    Returns:
        tensor name to the index of its group.
    """
    key = {"model": lambda name: "", "block": block, "tensor": lambda name: name}[by]
    index: dict[str, int] = {}
    return {name: index.setdefault(key(name), len(index)) for name in names}


def depths(names: Sequence[str]) -> dict[str, int]:
    """How far from the input each tensor is, for layer-wise learning rates.

    Args:
        names: of the parameters, in the order of the model.

    Returns:
        0 for the stem, then 1, 2, … for numbered blocks in order, one more for the rest (head).
    """
    numbered = [name for name in names if any(part.isdigit() for part in name.split("."))]
    order = {part: i + 1 for i, part in enumerate(dict.fromkeys(map(block, numbered)))}
    last = len(order) + 1

    def depth(name: str) -> int:
        parts = set(name.split("."))
        stem = parts & STEM and "attnpool" not in parts
        return order.get(block(name), 0 if stem else last)

    return {name: depth(name) for name in names}
