"""Lengths of and angles between the changes of ingredients from their start."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from soups.errors import UserError
from soups.models.checkpoints import Checkpoint
from soups.models.stack import Stack


def gram(start: Checkpoint, ingredients: Sequence[Checkpoint]) -> dict[str, Tensor]:
    """Inner products of the changes of k ingredients, tensor by tensor.

    Args:
        start: θ₀, the model that the ingredients were fine-tuned from.
        ingredients: θ₁ to θₖ.

    Returns:
        tensor name to ⟨θᵢ − θ₀, θⱼ − θ₀⟩, float64, shape (k, k). The sum over tensors has the
        inner products of the whole models.
    """
    products: dict[str, Tensor] = {}
    with Stack([start, *ingredients]) as stack:
        for name, _, values in stack.pieces():
            change = values[1:] - values[0]
            part = change @ change.T
            products[name] = products[name] + part if name in products else part
    return products


def mean_cosine(products: Tensor) -> float:
    """Mean cosine over pairs of ingredients, where a pair with an unchanged one counts as 1.

    Args:
        products: shape (k, k), see `gram`.
    """
    scale = lengths(products)[:, None] * lengths(products)
    cosine = torch.where(scale > 0, products / scale.clamp(min=1e-300), 1.0)
    count = len(products)
    return ((cosine.sum() - cosine.diagonal().sum()) / (count * (count - 1))).item()


def lengths(products: Tensor) -> Tensor:
    """‖θᵢ − θ₀‖ of every ingredient, shape (k,), from `gram` summed over tensors."""
    return products.diagonal().clamp(min=0).sqrt()


def distance(start: Checkpoint, ingredient: Checkpoint) -> float:
    """‖θ − θ₀‖ of one ingredient."""
    return lengths(sum(gram(start, [ingredient]).values())).item()


def angles(products: Tensor) -> Tensor:
    """Angles between θᵢ − θ₀ and θⱼ − θ₀ in degrees, shape (k, k) (paper, figure 3).

    An angle is NaN if one of the ingredients did not change.

    Args:
        products: shape (k, k), `gram` summed over tensors.
    """
    scale = lengths(products)
    return torch.rad2deg(torch.acos((products / scale[:, None] / scale).clamp(-1, 1)))


class Plane:
    """The plane through θ₀, θ₁ and θ₂ (paper, figure 2), in units of Euclidean distance.

    The first axis points from θ₀ to θ₁. The second axis is perpendicular to it and points to the
    side of θ₂.

    Args:
        products: inner products of θ₁ − θ₀ and θ₂ − θ₀, shape (2, 2), `gram` summed over tensors.

    Attributes:
        corners: coordinates of θ₀, θ₁ and θ₂.

    Raises:
        UserError: if the three models lie on one line.
    """

    def __init__(self, products: Tensor) -> None:
        self._first = products[0, 0].sqrt().item()
        self._along = (products[0, 1] / self._first).item()
        self._second = (products[1, 1] - self._along**2).clamp(min=0).sqrt().item()
        if not self._first or not self._second:
            raise UserError(
                "two models of curves.landscape and their start lie on one line, expected a plane"
            )
        self.corners = [(0.0, 0.0), (self._first, 0.0), (self._along, self._second)]

    def coefficients(self, x: float, y: float) -> tuple[float, float, float]:
        """Coefficients of θ₀, θ₁ and θ₂ for the point (x, y), which sum to 1."""
        two = y / self._second
        one = (x - two * self._along) / self._first
        return 1 - one - two, one, two

    def grid(self, points: int, margin: float = 0.25) -> list[tuple[float, float]]:
        """Points of a regular grid around the corners, row by row.

        Args:
            points: number of points along each axis.
            margin: distance from the corners to the rim, as a fraction of the larger extent.
        """
        corners = np.array(self.corners)
        low, high = corners.min(0), corners.max(0)
        rim = margin * (high - low).max()
        axes = np.linspace(low - rim, high + rim, points)
        return [(float(x), float(y)) for y in axes[:, 1] for x in axes[:, 0]]
