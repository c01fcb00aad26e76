"""The blocks and depths of a model's tensors, derived from their names."""

from collections.abc import Sequence

# Names before the first numbered block, in the towers of open_clip and timm.
STEM = {
    "class_embedding", "positional_embedding", "ln_pre", "conv1", "conv2", "conv3", "bn1", "bn2",
    "bn3", "patch_embed", "pos_embed", "cls_token", "norm_pre", "stem",
}  # fmt: skip


def block(name: str) -> str:
    """Name of the block of a tensor: its name up to the last number.

    A tensor without a number in its name belongs to the block of its module. Numbers after
    ``downsample``, the shortcut of a ResNet, do not count.

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
        block for all other tensors, such as those of the head.
    """
    numbered = [name for name in names if any(part.isdigit() for part in name.split("."))]
    order = {part: i + 1 for i, part in enumerate(dict.fromkeys(map(block, numbered)))}
    last = len(order) + 1

    def depth(name: str) -> int:
        parts = set(name.split("."))
        stem = parts & STEM and "attnpool" not in parts
        return order.get(block(name), 0 if stem else last)

    return {name: depth(name) for name in names}
