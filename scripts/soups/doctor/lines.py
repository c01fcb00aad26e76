"""Accuracy on straight lines to the best model, on a sample of the held-out examples."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import nn

from soups.data.sampling import sample
from soups.doctor import thresholds
from soups.doctor.predictions import difference
from soups.mixing import recipes
from soups.mixing.mixed_model import MixedModel
from soups.models.batch_norm import Settle, recalibrate
from soups.models.forward import forward


@dataclass(frozen=True)
class Barrier:
    """The barrier between two models: the drop of accuracy on the line between them.

    Attributes:
        alpha: share of the other model at the point with the largest drop.
        accuracy: at that point.
        ends: accuracies of the best and of the other model, on the same examples.
        drop: by how much ``accuracy`` is below the straight line between ``ends``. It is negative
            if the point is above.
        low, high: 95% bootstrap interval of ``drop`` over examples.
        recalibrated: accuracy at that point with statistics of batch normalisation measured
            again, or None if they were not measured.
        recovers: whether the measurement removes at least half of the drop.
    """

    alpha: float
    accuracy: float
    ends: tuple[float, float]
    drop: float
    low: float
    high: float
    recalibrated: float | None = None
    recovers: bool = False

    @property
    def counts(self) -> bool:
        """Whether the drop is larger than noise and the threshold."""
        return self.low > thresholds.BARRIER


class Lines:
    """Soups on sampled held-out examples.

    Args:
        model: a classifier, whose weights are overwritten.
        paths: model id to safetensors file.
        settle: gives a mixed model its batch statistics, see `batch_norm`.
        inputs: the held-out examples, see `problems.Problem.inputs`.
        labels: their labels.
        right: model id to whether it is right on every held-out example, shape (n,).
        statistics: whether the models have statistics of batch normalisation.
    """

    def __init__(
        self,
        model: nn.Module,
        paths: Mapping[str, str | Path],
        settle: Settle,
        inputs,
        labels: np.ndarray,
        right: Mapping[str, np.ndarray],
        statistics: bool,
    ) -> None:
        self._mixed = MixedModel(model, paths, settle)
        self._inputs, self._right, self.statistics = inputs, right, statistics
        self.rows = sample(len(labels), thresholds.EXAMPLES)
        self._labels = labels[self.rows]
        self._measured = sample(len(labels), thresholds.RECALIBRATION)

    @property
    def measured(self) -> int:
        """Number of held-out examples on which statistics are measured again."""
        return len(self._measured)

    def single(self, name: str) -> np.ndarray:
        """Whether a model is right on each sampled example, shape (rows,)."""
        return self._right[name][self.rows]

    def soup(self, coefficients: Mapping[str, float], again: bool = False) -> np.ndarray:
        """Whether a soup is right on each sampled example, shape (rows,).

        Args:
            coefficients: model id to its share.
            again: measure statistics of batch normalisation again.
        """
        model = self._mixed.of(recipes.recipe(coefficients, "doctor"))
        if again:
            recalibrate(model, self._inputs, self._measured)
        logits = forward(model, self._inputs, self.rows, exact=True).numpy()
        return logits.argmax(1) == self._labels

    def midpoint(self, one: str, two: str) -> Barrier:
        """The point halfway between two models, compared with their mean accuracy."""
        return _barrier(0.5, self.soup({one: 0.5, two: 0.5}), (self.single(one), self.single(two)))

    def barrier(self, best: str, other: str) -> Barrier:
        """The barrier between the best model and another one.

        The midpoint is evaluated first. Further points follow if it shows a drop.
        """
        ends = self.single(best), self.single(other)
        points = {0.5: self.soup({best: 0.5, other: 0.5})}
        found = _barrier(0.5, points[0.5], ends)
        if found.drop > 0:
            points |= {a: self.soup({best: 1 - a, other: a}) for a in thresholds.INSIDE}
            found = max((_barrier(a, p, ends) for a, p in points.items()), key=lambda b: b.drop)
        if not (found.counts and self.statistics):
            return found
        alpha, point = found.alpha, points[found.alpha]
        again = self.soup({best: 1 - alpha, other: alpha}, again=True)
        gained = float(again.mean() - point.mean())
        sure = difference(again, point)[0] > 0
        return replace(
            found,
            recalibrated=float(again.mean()),
            recovers=sure and gained >= thresholds.RECOVERED * found.drop,
        )


def _barrier(alpha: float, point: np.ndarray, ends: tuple[np.ndarray, np.ndarray]) -> Barrier:
    one, two = (end.astype(float) for end in ends)
    chord = (1 - alpha) * one + alpha * two
    low, high = difference(chord, point)
    accuracies = float(one.mean()), float(two.mean())
    drop = float(chord.mean() - point.mean())
    return Barrier(alpha, float(point.mean()), accuracies, drop, low, high)
