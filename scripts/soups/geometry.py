"""How ingredients lie to each other, seen from where they start: lengths and angles."""

from collections.abc import Sequence

import torch
from torch import Tensor

from soups.checkpoints import Checkpoint, Stack


def gram(start: Checkpoint, ingredients: Sequence[Checkpoint]) -> dict[str, Tensor]:
    """Inner products of the ingredients' changes, tensor by tensor.

    Returns:
        tensor name to ⟨θᵢ − θ₀, θⱼ − θ₀⟩, float64, shape (k, k). Summed over names they
        are those of the whole models.
    """
    products: dict[str, Tensor] = {}
    with Stack([start, *ingredients]) as stack:
        for name, _, values in stack.pieces():
            change = values[1:] - values[0]
            part = change @ change.T
            products[name] = products[name] + part if name in products else part
    return products


def mean_cosine(products: Tensor) -> float:
    """Mean cosine over pairs of different ingredients; 1 where nothing has moved.

    Args:
        products: shape (k, k), see `gram`.
    """
    lengths = products.diagonal().clamp(min=0).sqrt()
    scale = lengths[:, None] * lengths
    cosine = torch.where(scale > 0, products / scale.clamp(min=1e-300), 1.0)
    count = len(products)
    return ((cosine.sum() - cosine.diagonal().sum()) / (count * (count - 1))).item()
