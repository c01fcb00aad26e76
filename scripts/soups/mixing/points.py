"""Points of weight space, evaluated on samples of every set without being written to disk."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from soups.data.prepared import PreparedSet
from soups.data.sampling import sample
from soups.evaluation.calibration import temperature
from soups.evaluation.metric import ACCURACY, Metric
from soups.evaluation.samples import BySet, Samples, by_model
from soups.evaluation.significance import compare
from soups.evaluation.tables import DECIMALS
from soups.mixing import ensembles, recipes
from soups.mixing.mixed_model import MixedModel
from soups.models.forward import forward

log = logging.getLogger("soups")


class Points:
    """Logits of soups, ensembles and single models on sampled images of every set.

    Args:
        mixed: the model into which recipes are mixed.
        samples: the images.
        cached: id of a model with cached logits to its files, by set.
    """

    def __init__(
        self, mixed: MixedModel, samples: Samples, cached: Mapping[str, Mapping[str, str | Path]]
    ) -> None:
        self._mixed, self._samples, self._cached = mixed, samples, cached
        self._singles: dict[str, BySet] = {}

    @classmethod
    def of_job(cls, job, samples: Samples) -> "Points":
        """Build the points of a rule that evaluates recipes.

        Args:
            job: see `MixedModel.of_job`, with files of cached logits as the input ``logits``.
            samples: the images.
        """
        return cls(MixedModel.of_job(job), samples, by_model(job.input.logits))

    def of(self, recipe: dict) -> BySet:
        """Logits of a recipe's soup. A model alone keeps its own batch statistics."""
        if only := recipes.alone(recipe):
            return self._samples.logits(self._mixed.single(only))
        if recipe["method"] == "uniform":  # Uniform soups grow model by model along a curve.
            return self._samples.logits(self._mixed.average(recipes.used(recipe), grows=True))
        return self._samples.logits(self._mixed.of(recipe))

    def of_ensemble(self, members: Sequence[str]) -> BySet:
        """Logits of an ensemble whose members have cached logits."""
        read = {member: self._samples.cached(self._cached[member]) for member in members}
        return {
            name: ensembles.combine(members, lambda member, name=name: read[member][name])
            for name in self._samples.names
        }

    def of_single(self, name: str) -> BySet:
        """Logits of a single model: the cached ones, or else computed once."""
        if name in self._cached:
            return self._samples.cached(self._cached[name])
        if name not in self._singles:
            self._singles[name] = self._samples.logits(self._mixed.single(name))
        return self._singles[name]

    def on_line(
        self, one: str, two: str, alphas: Sequence[float], heldout: PreparedSet | None = None
    ) -> tuple[list[BySet], list[float] | None]:
        """Logits of the soups along the line between two models.

        Args:
            one, two: ids of the models.
            alphas: shares of the second model, from 0 to 1. The models themselves are not mixed,
                and they keep their own batch statistics.
            heldout: the set on which the soups between the models are calibrated, None for no
                calibration.

        Returns:
            logits of every point. With ``heldout``, also the inverse temperature that calibrates
            the soup of every point, which is NaN for the models themselves. Otherwise None.
        """
        ends = {0: self.of_single(one), 1: self.of_single(two)}
        soups, betas = [], []
        for alpha in alphas:
            if alpha in ends:
                soups.append(ends[alpha])
                betas.append(np.nan)
                continue
            model = self._mixed.of(recipes.recipe({one: 1 - alpha, two: alpha}, "pair"))
            soups.append(self._samples.logits(model))
            if heldout is not None:
                logits = forward(model, heldout.inputs, exact=True).numpy()
                betas.append(1 / temperature(logits, heldout.labels))
        return soups, betas if heldout is not None else None


def evaluate(
    plan: Sequence[Mapping], points: Points, samples: Samples
) -> tuple[list[dict], list[BySet]]:
    """Evaluate every point of a plan, once for all points with the same models and shares.

    Args:
        plan: a dictionary per point. ``labels`` are columns of the table, one of which is
            ``method``. The point has a ``recipe``, or the members of an ``ensemble``. Some
            points have ``against``, the index of a point that they are compared with.
        points: computes logits.
        samples: the images on which ``points`` computes logits.

    Returns:
        per point, a row of the table: the labels, the columns of `Samples.row`, and the columns
        of `gain` if the point has ``against``. Per point, the outcome of each image.
    """
    keys = [_key(point) for point in plan]
    known: dict[str, tuple[dict, BySet]] = {}
    # Points of one method follow each other, so that growing soups can reuse their sum.
    for i in sorted(range(len(plan)), key=lambda i: plan[i]["labels"]["method"]):
        point, key = plan[i], keys[i]
        if key not in known:
            made = (
                points.of(point["recipe"])
                if point.get("recipe")
                else points.of_ensemble(point["ensemble"])
            )
            outcomes = samples.outcomes(made)
            known[key] = samples.row(outcomes), outcomes
    log.info("%d points, %d of them different", len(plan), len(known))
    rows = []
    for point, key in zip(plan, keys, strict=True):
        row, outcomes = known[key]
        row = point["labels"] | row
        if "against" in point:
            row |= gain(outcomes, known[keys[point["against"]]][1], samples)
        rows.append(row)
    return rows, [known[key][1] for key in keys]


def _key(point: Mapping) -> str:
    """A text that is the same for points with the same models and shares.

    Lines share their start, and neighbouring points of a curve are often the same soup.
    """
    recipe, members = point.get("recipe"), point.get("ensemble")
    amounts = members or {name: recipe["coefficients"][name] for name in recipes.used(recipe)}
    return json.dumps(amounts, sort_keys=True)


def gain(ours: BySet, theirs: BySet, samples: Samples) -> dict[str, float]:
    """The gain of one point over another on the same images, as columns of a table.

    Args:
        ours, theirs: the outcome of each image.
        samples: the images.

    Returns:
        ``<measure>_gain`` and its 95% bootstrap bounds ``<measure>_gain_lo`` and
        ``<measure>_gain_hi``, for ``test`` and for the mean of the shifts.
    """
    columns = {"difference": "gain", "lo": "gain_lo", "hi": "gain_hi"}
    return {
        f"{row['measure']}_{title}": round(row[name], DECIMALS)
        for row in compare(ours, theirs, samples.shifts, samples.derived, samples.metric)
        for name, title in columns.items()
    }


class Landscape:
    """Held-out loss and test score of recipes on fixed samples of both sets.

    Args:
        mixed: the model into which recipes are mixed.
        heldout, test: the two sets.
        images: the largest number of images of each set.
        metric: the test score.
    """

    def __init__(
        self,
        mixed: MixedModel,
        heldout: PreparedSet,
        test: PreparedSet,
        images: int,
        metric: Metric = ACCURACY,
    ) -> None:
        self._metric = metric
        self._mixed, self._heldout, self._test = mixed, heldout, test
        self._chosen = sample(len(heldout.labels), images)
        self._tested = sample(len(test.labels), images)

    def of(self, recipe: dict) -> dict[str, float]:
        """``heldout_loss`` (mean cross-entropy, in nats), ``test`` (metric), image counts."""
        only = recipes.alone(recipe)
        model = self._mixed.single(only) if only else self._mixed.of(recipe)
        logits = forward(model, self._heldout.inputs, self._chosen, exact=True)
        wanted = torch.from_numpy(self._heldout.labels[self._chosen])
        loss = F.cross_entropy(logits.double(), wanted).item()
        outputs = forward(model, self._test.inputs, self._tested).numpy()
        score = self._metric.of(outputs, self._test.labels[self._tested])
        values = {"heldout_loss": round(loss, DECIMALS), "test": round(score, DECIMALS)}
        return values | {"n_heldout": len(self._chosen), "n_test": len(self._tested)}
