"""How ingredients lie to each other, seen from where they start: lengths and angles."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from soups.errors import UserError
from soups.models.checkpoints import Checkpoint, Stack


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
    scale = lengths(products)[:, None] * lengths(products)
    cosine = torch.where(scale > 0, products / scale.clamp(min=1e-300), 1.0)
    count = len(products)
    return ((cosine.sum() - cosine.diagonal().sum()) / (count * (count - 1))).item()


def lengths(products: Tensor) -> Tensor:
    """‖θₖ − θ₀‖ of every ingredient, shape (k,), from `gram` summed over names."""
    return products.diagonal().clamp(min=0).sqrt()


def angles(products: Tensor) -> Tensor:
    """Degrees between θᵢ − θ₀ and θⱼ − θ₀, shape (k, k) (paper, figure 3); NaN beside no change."""
    scale = lengths(products)
    return torch.rad2deg(torch.acos((products / scale[:, None] / scale).clamp(-1, 1)))


class Plane:
    """The plane through θ₀, θ₁ and θ₂ (paper, figure 2), in units of Euclidean distance.

    The first axis leads from θ₀ to θ₁; the second is perpendicular to it, on θ₂'s side.

    Args:
        products: of θ₁ − θ₀ and θ₂ − θ₀, shape (2, 2), see `gram`.
    """

    def __init__(self, products: Tensor) -> None:
        self._first = products[0, 0].sqrt().item()
        self._along = (products[0, 1] / self._first).item()
        self._second = (products[1, 1] - self._along**2).clamp(min=0).sqrt().item()
        if not self._first or not self._second:
            raise UserError("two models and their start lie on one line, expected a plane")
        self.corners = [(0.0, 0.0), (self._first, 0.0), (self._along, self._second)]

    def coefficients(self, x: float, y: float) -> tuple[float, float, float]:
        """Of θ₀, θ₁ and θ₂ in the point (x, y); they sum to 1."""
        two = y / self._second
        one = (x - two * self._along) / self._first
        return 1 - one - two, one, two

    def grid(self, points: int, margin: float = 0.25) -> list[tuple[float, float]]:
        """Points of a regular grid around the corners, row by row.

        Args:
            points: along each axis.
            margin: how far beyond the corners, as a fraction of the larger extent.
        """
        corners = np.array(self.corners)
        low, high = corners.min(0), corners.max(0)
        rim = margin * (high - low).max()
        axes = np.linspace(low - rim, high + rim, points)
        return [(float(x), float(y)) for y in axes[:, 1] for x in axes[:, 0]]
