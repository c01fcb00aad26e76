"""What a run says about a claim: effects with intervals, from its tables and points.

An effect is positive where it speaks for the claim. Accuracies and their differences are
fractions. Intervals are 95% bootstrap intervals: over images where two methods are compared,
over images and models where many pairs of models are (`resample.pair_weights`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd

from soups import resample
from soups.catalog import BEST
from soups.samples import load_points


class MissingEvidence(Exception):
    """The run has not computed what a claim needs; the text says what."""


@dataclass(frozen=True)
class Effect:
    """A number with its interval (NaN where there is none), and what it was computed from."""

    value: float
    lo: float
    hi: float
    images: int
    models: int
    pairs: int = 0


class Evidence:
    """Tables and points of a run, read when they are asked for.

    Args:
        tables: name to CSV.
        points: curve to what `samples.save_points` wrote.
        large_lr: learning rates from here on are large.
        weaker: tables of the same experiment from a weaker pre-trained model.
    """

    def __init__(
        self,
        tables: Mapping[str, str | Path],
        points: Mapping[str, str | Path],
        large_lr: float,
        weaker: "Evidence | None" = None,
    ) -> None:
        self._tables, self._points = tables, points
        self.large_lr, self._weaker = large_lr, weaker
        self._read: dict = {}

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run.

        Raises:
            MissingEvidence: if the run has none of that name.
        """
        if name not in self._tables:
            raise MissingEvidence(f"table {name}")
        if name not in self._read:
            self._read[name] = pd.read_csv(self._tables[name])
        return self._read[name]

    def points(self, name: str) -> dict[str, dict[str, np.ndarray]]:
        """Resampled means of a curve's points: kind to set to (points, 1 + replicates)."""
        if name not in self._points:
            raise MissingEvidence(f"curve {name}")
        if ("points", name) not in self._read:
            arrays, derived = load_points(self._points[name])
            kinds: dict[str, dict] = {}
            for key, values in arrays.items():
                kind, _, part = key.rpartition("/")
                kinds.setdefault(kind, {})[part] = values
            self._read["points", name] = {
                kind: resample.means(sets, derived) for kind, sets in kinds.items()
            }
        return self._read["points", name]

    @property
    def weaker(self) -> "Evidence":
        """The same of the experiment with the weaker pre-trained model."""
        if self._weaker is None:
            raise MissingEvidence("an experiment with weaker pre-training")
        return self._weaker

    def method(self, name: str) -> pd.Series:
        """A row of the methods table."""
        rows = self.table("methods").set_index("method")
        if name not in rows.index:
            raise MissingEvidence(f"method {name}")
        return rows.loc[name]

    def compared(self, better: str, worse: str, measure: str) -> Effect:
        """One method minus another on the same images, from the table of paired tests."""
        rows = self.table("significance").drop_duplicates(["method", "reference", "measure"])
        rows = rows.set_index(["method", "reference", "measure"])
        models = int(self.method(better)["ingredients"] + self.method(worse)["ingredients"])
        for (one, two), sign in (((better, worse), 1), ((worse, better), -1)):
            if (one, two, measure) in rows.index:
                row = rows.loc[(one, two, measure)]
                bounds = sorted((sign * row["lo"], sign * row["hi"]))
                return Effect(sign * row["difference"], *bounds, int(row["n"]), models)
        raise MissingEvidence(f"{better} compared with {worse}")

    @cached_property
    def midpoints(self) -> "Pairs":
        """The middle of every pair of models, of whatever pairs the run has."""
        parts = []
        for name in ("pairs", "paths"):
            try:
                parts.append(Pairs.middle(self.table(name), self.points(name)))
            except MissingEvidence:
                continue
        if not parts:
            raise MissingEvidence("pairs of models")
        return Pairs.joined(parts)


@dataclass(frozen=True)
class Pairs:
    """Midpoints of pairs: columns of the table, and resampled accuracies of the test set.

    Attributes:
        table: a row per pair.
        soup, ensemble, one, two: of the midpoint's soup and ensemble, and of the two models;
            shape (pairs, 1 + replicates).
        images: of the test set.
    """

    table: pd.DataFrame
    soup: np.ndarray
    ensemble: np.ndarray
    one: np.ndarray
    two: np.ndarray
    images: int

    @classmethod
    def middle(cls, table: pd.DataFrame, points: Mapping[str, Mapping]) -> "Pairs":
        at = {alpha: np.flatnonzero(np.isclose(table["alpha"], alpha)) for alpha in (0, 0.5, 1)}
        if not len(at[0.5]):
            raise MissingEvidence("midpoints, which an odd number of steps has none of")
        soup, ensemble = points["soup"]["test"], points["ensemble"]["test"]
        return cls(
            table.iloc[at[0.5]].reset_index(drop=True),
            *(soup[at[0.5]], ensemble[at[0.5]], soup[at[0]], soup[at[1]]),
            images=int(table["n_test"].iloc[0]),
        )

    @classmethod
    def joined(cls, parts: list["Pairs"]) -> "Pairs":
        arrays = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("soup", "ensemble", "one", "two")
        )
        table = pd.concat([part.table for part in parts], ignore_index=True)
        return cls(table, *arrays, images=parts[0].images)

    def where(self, rows: np.ndarray) -> "Pairs":
        """Some of the pairs.

        Raises:
            MissingEvidence: if there is none.
        """
        if not rows.any():
            raise MissingEvidence("pairs with such learning rates")
        arrays = (a[rows] for a in (self.soup, self.ensemble, self.one, self.two))
        return Pairs(self.table[rows].reset_index(drop=True), *arrays, images=self.images)

    @property
    def weights(self) -> np.ndarray:
        return resample.pair_weights(self.table["model_1"], self.table["model_2"])

    def effect(self, columns: np.ndarray) -> Effect:
        """A statistic of the pairs with its interval."""
        models = len({*self.table["model_1"], *self.table["model_2"]})
        return Effect(*resample.interval(columns), self.images, models, len(self.table))


def _large(evidence: Evidence, pairs: Pairs) -> np.ndarray:
    return (pairs.table["lr_2"] >= evidence.large_lr).to_numpy()


def method_difference(better: str, worse: str, measure: str) -> Callable[[Evidence], Effect]:
    """One method minus another."""
    return lambda evidence: evidence.compared(better, worse, measure)


def heldout_check(evidence: Evidence) -> Effect:
    """Greedy soup minus best individual on the held-out set: no sample of anything, so exact."""
    greedy, best = evidence.method("greedy"), evidence.method(BEST)
    value = greedy["heldout"] - best["heldout"]
    return Effect(value, value, value, int(greedy["n_heldout"]), int(greedy["ingredients"]))


def bad_ingredients(method: str) -> Callable[[Evidence], Effect]:
    """Test accuracy of a soup of the sweep minus that with the large learning rates as well."""

    def effect(evidence: Evidence) -> Effect:
        table, test = evidence.table("large_lr"), evidence.points("large_lr")[""]["test"]
        rows = table[table["method"] == method]
        first, last = rows.index[rows["large"].argmin()], rows.index[rows["large"].argmax()]
        models = len(evidence.table("rejection"))
        bounds = resample.interval(test[first] - test[last])
        return Effect(*bounds, int(table["n_test"].iloc[0]), models)

    return effect


def midpoint_over_ends(evidence: Evidence) -> Effect:
    """Midpoint minus the better of its ends, mean over pairs without large learning rates."""
    pairs = evidence.midpoints.where(~_large(evidence, evidence.midpoints))
    gain = pairs.soup - np.maximum(pairs.one, pairs.two)
    return pairs.effect(resample.average(gain, pairs.weights))


def barrier(evidence: Evidence) -> Effect:
    """Mean of the ends minus the midpoint, mean over pairs with a large learning rate."""
    pairs = evidence.midpoints.where(_large(evidence, evidence.midpoints))
    return pairs.effect(resample.average((pairs.one + pairs.two) / 2 - pairs.soup, pairs.weights))


def gain_and_angle(evidence: Evidence) -> Effect:
    """Rank correlation of the midpoint's gain over its ends' mean with the angle between them."""
    pairs = evidence.midpoints.where(~_large(evidence, evidence.midpoints))
    gain = pairs.soup - (pairs.one + pairs.two) / 2
    angle = pairs.table["angle"].to_numpy()[:, None]
    return pairs.effect(resample.rank_correlation(gain, angle, pairs.weights))


def soup_and_ensemble(evidence: Evidence) -> Effect:
    """Rank correlation of the accuracies of soup and ensemble over pairs."""
    pairs = evidence.midpoints
    return pairs.effect(resample.rank_correlation(pairs.soup, pairs.ensemble, pairs.weights))


def large_lr_favours_ensembles(evidence: Evidence) -> Effect:
    """Ensemble minus soup: mean over pairs with a large learning rate, minus that over others."""
    pairs = evidence.midpoints
    large, lead, weights = _large(evidence, pairs), pairs.ensemble - pairs.soup, pairs.weights
    pairs.where(large), pairs.where(~large)  # neither may be empty
    parts = (resample.average(lead[rows], weights[rows]) for rows in (large, ~large))
    return pairs.effect(np.subtract(*parts))


def growth(method: str) -> Callable[[Evidence], Effect]:
    """Rank correlation of test accuracy with the number of ingredients, mean over orders."""

    def effect(evidence: Evidence) -> Effect:
        table, mean = _by_number(evidence, method)
        n = np.array(list(mean))[:, None]
        columns = resample.rank_correlation(np.stack(list(mean.values())), n.astype(float))
        images = int(table["n_test"].iloc[0])
        return Effect(*resample.interval(columns), images, int(n.max()))

    return effect


def last_half(method: str) -> Callable[[Evidence], Effect]:
    """Test accuracy with all ingredients minus that with half of them, mean over orders."""

    def effect(evidence: Evidence) -> Effect:
        table, mean = _by_number(evidence, method)
        most = max(mean)
        columns = mean[most] - mean[max(1, most // 2)]
        return Effect(*resample.interval(columns), int(table["n_test"].iloc[0]), int(most))

    return effect


def _by_number(evidence: Evidence, method: str) -> tuple[pd.DataFrame, dict[int, np.ndarray]]:
    table = evidence.table("number_of_models")
    test = evidence.points("number_of_models")[""]["test"]
    rows = table[table["method"] == method]
    return table, {int(n): test[part.index].mean(0) for n, part in rows.groupby("n")}


def within_slice(name: str) -> Callable[[Evidence], Effect]:
    """Greedy soup minus the best model, where ingredients differ in one hyperparameter alone."""

    def effect(evidence: Evidence) -> Effect:
        table, test = evidence.table("slices"), evidence.points("slices")[""]["test"]
        rows = table[table["slice"] == name].reset_index().set_index("method")["index"]
        if not len(rows):
            raise MissingEvidence(f"slice {name}")
        models = int(table.loc[rows["uniform"], "models"])
        bounds = resample.interval(test[rows["greedy"]] - test[rows[BEST]])
        return Effect(*bounds, int(table["n_test"].iloc[0]), models)

    return effect


def calibration_gain(method: str) -> Callable[[Evidence], Effect]:
    """ECE of the best individual model minus that of a method, on the test set."""

    def effect(evidence: Evidence) -> Effect:
        table = evidence.table("calibration")
        rows = table[(table["method"] == method) & (table["set"] == "test")]
        if not len(rows):
            raise MissingEvidence(f"calibration of {method}")
        row, models = rows.iloc[0], int(evidence.method(method)["ingredients"])
        bounds = (row[f"ece_gain{end}"] for end in ("", "_lo", "_hi"))
        return Effect(*bounds, int(row["n"]), models)

    return effect


def beyond_curve(method: str) -> Callable[[Evidence], Effect]:
    """How far a soup, or the middle of its line to θ₀, lies beyond the best model's line.

    Wherever on that line one stands, the soup is better on the test set or under shift by at
    least this much; it is negative where some point of the line is better in both.

    Args:
        method: a line's end; with ``:line`` the points of the line between its ends.
    """
    method, _, line = method.partition(":")

    def effect(evidence: Evidence) -> Effect:
        table, both = evidence.table("wise_ft"), evidence.points("wise_ft")[""]
        planes = np.stack([both["test"], both["shifts_mean"]], -1)

        def along(name: str) -> pd.DataFrame:
            rows = table[(table["method"] == name) & table["alpha"].between(0, 1)]
            if not len(rows):
                raise MissingEvidence(f"line to {name}")
            return rows

        curve = planes[along(BEST).sort_values("alpha").index]
        share = np.linspace(0, 1, 11)[:, None, None]
        curve = np.concatenate([a + share * (b - a) for a, b in pairwise(curve)])
        ours = along(method)
        ours = ours[ours["alpha"].between(0, 1, "neither") if line else ours["alpha"] == 1]
        if not len(ours):
            raise MissingEvidence(f"points on the line to {method}")
        margins = [(planes[i] - curve).max(-1).min(0) for i in ours.index]
        images = int(table["n_test"].iloc[0] + table["n_shifts"].iloc[0])
        models = int(evidence.method(method)["ingredients"])
        return Effect(*resample.interval(np.mean(margins, axis=0)), images, models)

    return effect


def approximated_gap(large: bool) -> Callable[[Evidence], Effect]:
    """Rank correlation of the approximate with the true loss gap over points of paths.

    Args:
        large: paths with a large learning rate, or those without.
    """

    def effect(evidence: Evidence) -> Effect:
        table, gap = evidence.table("paths"), evidence.points("paths")
        if "gap" not in gap:
            raise MissingEvidence("loss gaps of paths")
        inner = table["gap_approximation"].notna() & ((table["lr_2"] >= evidence.large_lr) == large)
        if inner.sum() < 3:
            raise MissingEvidence("paths with such learning rates")
        rows = table[inner]
        weights = resample.pair_weights(rows["model_1"], rows["model_2"])
        columns = resample.rank_correlation(
            gap["gap"]["test"][rows.index], gap["approximation"]["test"][rows.index], weights
        )
        models = len({*rows["model_1"], *rows["model_2"]})
        pairs = len(rows.drop_duplicates(["model_1", "model_2"]))
        return Effect(*resample.interval(columns), int(rows["n_test"].iloc[0]), models, pairs)

    return effect


def unseen_task(evidence: Evidence) -> Effect:
    """Soup of models of different tasks minus the zero-shot model, on a task none saw."""
    table, test = evidence.table("tasks"), evidence.points("tasks")[""]["test"]
    soup = table.index[table["tasks"] == table["tasks"].max()][0]
    start = table.index[table["tasks"] == 0][0]
    models = int(table.loc[soup, "models"])
    bounds = resample.interval(test[soup] - test[start])
    return Effect(*bounds, int(table["n_test"].iloc[0]), models)


def weaker_start(measure: str) -> Callable[[Evidence], Effect]:
    """Greedy soup minus best individual, from the weaker pre-trained model."""
    return lambda evidence: evidence.weaker.compared("greedy", BEST, measure)


def stronger_gain(measure: str) -> Callable[[Evidence], Effect]:
    """That difference from the usual pre-trained model, minus that from the weaker one.

    The two have other models, so their intervals are joined as of independent normals.
    """

    def effect(evidence: Evidence) -> Effect:
        ours = evidence.compared("greedy", BEST, measure)
        theirs = evidence.weaker.compared("greedy", BEST, measure)
        value = ours.value - theirs.value
        half = np.hypot(ours.hi - ours.lo, theirs.hi - theirs.lo) / 2
        models = ours.models + theirs.models
        return Effect(value, value - half, value + half, ours.images + theirs.images, models)

    return effect
