"""Inner products of many models by groups of tensors, from one pass over their files."""

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from soups.models.checkpoints import Checkpoint
from soups.models.stack import Stack

# Groups of tensors. Statistics of batch normalisation belong to none of them, because they are
# measured and not learned.
STEM, MATRICES, VECTORS, HEAD = "stem", "matrices", "vectors", "head"
BACKBONE = (STEM, MATRICES, VECTORS)
EVERYTHING = (*BACKBONE, HEAD)
_STATISTICS = re.compile(r"\.running_(mean|var)$")
COLOURS = 3


def has_statistics(checkpoint: Checkpoint) -> bool:
    """Whether a model has statistics of batch normalisation."""
    return any(_STATISTICS.search(name) for name in checkpoint.shapes())


def group(name: str, shape: Sequence[int]) -> str | None:
    """The group of a classifier's tensor, None for statistics of batch normalisation.

    The stem is every convolution that takes colours. Transformers have one as their patch
    embedding.
    """
    if _STATISTICS.search(name):
        return None
    if name.startswith("head."):
        return HEAD
    if len(shape) == 4 and shape[1] == COLOURS:
        return STEM
    return MATRICES if len(shape) > 1 else VECTORS


class Geometry:
    """Distances and angles between models.

    The inner products are those of the first model and of the differences of the others from it.
    Small distances are therefore not lost in the rounding of large products.

    Attributes:
        names: ids of the models.
        broken: id of a model to the first of its tensors with a value that is not finite. Its
            distances and angles are NaN. If it is the first model, all of them are.
    """

    def __init__(
        self, names: Sequence[str], products: Mapping[str, Tensor], broken: Mapping[str, str]
    ) -> None:
        self.names, self.broken = list(names), dict(broken)
        self._products = products

    def inner(self, *groups: str) -> Tensor:
        """Inner products of the weights in some groups, float64, shape (k, k)."""
        whole = self._sum(groups)
        return (
            whole[0, 0]
            + whole[0] * self._others
            + (whole[0] * self._others)[:, None]
            + (self._changes(whole))
        )

    def lengths(self, *groups: str) -> Tensor:
        """Lengths of the weights in some groups, shape (k,)."""
        return self.inner(*groups).diagonal().clamp(min=0).sqrt()

    def cosines(self, *groups: str) -> Tensor:
        """Cosines between the weights in some groups, shape (k, k), NaN where a length is 0."""
        return _cosines(self.inner(*groups))

    def distances(self, *groups: str) -> Tensor:
        """Distances between models in some groups, shape (k, k)."""
        return _distances(self._changes(self._sum(groups)))

    def relative(self, weights: Sequence[float], *groups: str) -> Tensor:
        """Inner products of the changes from a point, shape (k, k).

        Args:
            weights: coefficient of every model in that point. They sum to 1.
            groups: groups of tensors.
        """
        move = torch.eye(len(self.names), dtype=torch.float64) - torch.tensor(
            list(weights), dtype=torch.float64
        )
        return move @ self._changes(self._sum(groups)) @ move.T

    def head_correlations(self) -> Tensor:
        """Cosines between head weights without their mean over classes, shape (k, k).

        The mean over classes moves all logits alike, so it changes no prediction.
        """
        return _cosines(self._products["centred head"])

    @property
    def _others(self) -> Tensor:
        """0 for the first model, whose difference from itself is 0, and 1 for the others."""
        return (torch.arange(len(self.names)) > 0).double()

    def _sum(self, groups: Sequence[str]) -> Tensor:
        return sum(self._products[name] for name in groups)

    def _changes(self, whole: Tensor) -> Tensor:
        kept = whole.clone()
        kept[0] = kept[:, 0] = 0
        return kept


def measure(models: Mapping[str, Checkpoint]) -> Geometry:
    """Read k models side by side, a piece of a tensor at a time.

    Args:
        models: id to a checkpoint of a `Classifier`, all with the same tensors.
    """
    names, shapes = list(models), next(iter(models.values())).shapes()
    k = len(names)
    products = {name: torch.zeros(k, k, dtype=torch.float64) for name in EVERYTHING}
    centred = torch.zeros(k, k, dtype=torch.float64)
    sums: Tensor | float = 0.0
    broken: dict[str, str] = {}
    with Stack(list(models.values())) as stack:
        for name, _, values in stack.pieces():
            shape = shapes[name][0]
            part = group(name, shape)
            if part is None:
                continue
            for i in (~torch.isfinite(values).all(1)).nonzero().flatten().tolist():
                broken.setdefault(names[i], name)
            if name == "head.weight":
                centred += values @ values.T
                sums = sums + values.view(k, -1, shape[1]).sum(1)
            values[1:] -= values[0].clone()
            products[part] += values @ values.T
    if isinstance(sums, Tensor):
        centred -= sums @ sums.T / shapes["head.weight"][0][0]
    return Geometry(names, products | {"centred head": centred}, broken)


def _cosines(products: Tensor) -> Tensor:
    lengths = products.diagonal().clamp(min=0).sqrt()
    scale = lengths[:, None] * lengths
    return torch.where(scale > 0, (products / scale).clamp(-1, 1), torch.nan)


def _distances(products: Tensor) -> Tensor:
    squares = products.diagonal()
    apart = (squares[:, None] + squares - 2 * products).clamp(min=0)
    apart.fill_diagonal_(0)
    return apart.sqrt()
