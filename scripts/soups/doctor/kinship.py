"""Which models share a start or a head, from cosines between their weights."""

from collections.abc import Sequence

import torch
from torch import Tensor

from soups.doctor import thresholds
from soups.doctor.geometry import MATRICES, STEM, Geometry


def same_start(geometry: Geometry) -> Tensor:
    """Whether each pair of models looks fine-tuned from one model, bool, shape (k, k).

    Either the first layers or the weight matrices are far from orthogonal. A large learning rate
    may turn the one and not the other.
    """
    return (
        torch.maximum(
            geometry.cosines(STEM).nan_to_num(-1), geometry.cosines(MATRICES).nan_to_num(-1)
        )
        >= thresholds.SAME_START
    )


def same_head(geometry: Geometry) -> Tensor:
    """Whether the heads of each pair of models are correlated, bool, shape (k, k)."""
    return geometry.head_correlations().nan_to_num(-1) >= thresholds.SAME_HEAD


def relatives(linked: Tensor, ranking: Sequence[int], start: int | None = None) -> list[int]:
    """The models that belong together.

    Args:
        linked: bool, shape (k, k), symmetric.
        ranking: indices of the models, the best first. The start is not among them.
        start: index of the start, if it is known.

    Returns:
        the models that are linked with the start, directly or through others. If there are none,
        the largest group of linked models. Of several largest groups, the one with the best model.
    """
    if start is not None and (found := _linked_with(start, linked, ranking)):
        return found
    groups = [_linked_with(one, linked, ranking) for one in ranking]
    return max(groups, key=len)  # the first of the largest, in the order of the ranking


def _linked_with(one: int, linked: Tensor, among: Sequence[int]) -> list[int]:
    """Indices that are reached from one model over links, in the order of ``among``."""
    found, new = {one}, [one]
    while new:
        row = linked[new.pop()]
        fresh = [i for i in among if row[i] and i not in found]
        found.update(fresh)
        new += fresh
    return [i for i in among if i in found]
