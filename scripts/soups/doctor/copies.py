"""Models that are copies of another one, also in a lower precision."""

import torch

from soups.doctor import thresholds
from soups.models.checkpoints import Checkpoint
from soups.models.stack import Stack


def is_copy(one: Checkpoint, two: Checkpoint) -> bool:
    """Whether the values of two models differ by rounding to float16 or bfloat16 alone.

    Args:
        one, two: checkpoints with the same tensors.
    """
    close = total = 0
    with Stack([one, two]) as stack:
        for _, _, values in stack.pieces():
            larger = values.abs().amax(0)
            near = (values[0] - values[1]).abs() <= thresholds.ROUNDING * larger + thresholds.FLOOR
            close += int(near.sum())
            total += near.numel()
            if total - close > (1 - thresholds.COPIED) * _size(one):
                return False
    return close >= thresholds.COPIED * total


def _size(checkpoint: Checkpoint) -> int:
    """Number of floating-point values of a checkpoint, or a little more."""
    return sum(torch.Size(shape).numel() for shape, _ in checkpoint.shapes().values())
