"""Merges: combinations of ingredients, element by element, that are not a weighted sum.

All ingredients are read side by side, a piece of one tensor at a time, so memory does not
grow with their number.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from soups.models.checkpoints import Checkpoint
from soups.models.stack import Stack


def merge(start: Checkpoint, ingredients: Sequence[Checkpoint], rule: str, **options) -> dict:
    """Combine every floating-point tensor by a rule. Other tensors are taken from the start.

    Args:
        start: the model that the ingredients were fine-tuned from.
        ingredients: k checkpoints with the same tensors.
        rule: ``median``, ``trimmed_mean`` or ``ties``.
        options: options of the function with the name of the rule. ``ties`` takes ``density``
            (see `threshold`) instead of ``thresholds``.

    Returns:
        a state dict in the checkpoints' dtypes.
    """
    if rule == "ties":
        density = options.pop("density")
        options["thresholds"] = torch.tensor([threshold(start, c, density) for c in ingredients])
    combine = {"median": median, "trimmed_mean": trimmed_mean, "ties": ties}[rule]
    state = start.state()
    with Stack([start, *ingredients]) as stack:
        for name, piece, values in stack.pieces():
            combined = combine(values[0], values[1:], **options)
            state[name].view(-1)[piece] = combined.to(state[name].dtype)
    return state


def median(start: Tensor, values: Tensor) -> Tensor:
    """The middle value of each element, or the mean of both middle values of an even number.

    Args:
        start: not used.
        values: float64, shape (k, n).
    """
    return trimmed_mean(start, values, trim=(values.shape[0] - 1) // 2)


def trimmed_mean(start: Tensor, values: Tensor, trim: int) -> Tensor:
    """The mean of each element without the ``trim`` smallest and largest values (Yin et al., 2018).

    Args:
        start: not used.
        values: float64, shape (k, n).
        trim: less than k / 2.
    """
    ordered = values.sort(dim=0).values
    return ordered[trim : len(values) - trim].mean(0)


def ties(start: Tensor, values: Tensor, thresholds: Tensor, scale: float) -> Tensor:
    """TIES-Merging (Yadav et al., 2023): trim, elect sign, disjoint mean.

    Args:
        start: shape (n,).
        values: float64, shape (k, n).
        thresholds: shape (k,). Smaller changes of an ingredient are set to 0.
        scale: λ, the factor of the merged change.
    """
    change = values - start
    change = torch.where(change.abs() >= thresholds[:, None], change, 0)
    sign = change.sum(0).sign()
    agrees = (change.sign() == sign) & (change != 0)
    merged = torch.where(agrees, change, 0).sum(0) / agrees.sum(0).clamp(min=1)
    return start + scale * merged


def threshold(start: Checkpoint, ingredient: Checkpoint, density: float) -> float:
    """The size of change that a share ``density`` of all parameters reaches or exceeds.

    Args:
        start: the model that the ingredient was fine-tuned from.
        ingredient: a fine-tuned model.
        density: a share of the parameters, above 0 and at most 1.
    """
    changes = [
        (tensor.double() - origin.double()).abs().float().flatten()
        for (_, origin), (_, tensor) in zip(start.items(), ingredient.items(), strict=True)
        if tensor.is_floating_point()
    ]
    changes = torch.cat(changes)
    keep = max(1, round(density * len(changes)))
    reached = changes.kthvalue(len(changes) - keep + 1).values
    # One step below, so that rounding to float32 sets no change to 0 that should be kept.
    return torch.nextafter(reached, torch.zeros(())).item()
