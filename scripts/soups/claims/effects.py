"""The effects that the paper's claims are about, each from the evidence of a run.

Positive where they speak for the claim; see `claims` for which claim has which.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from soups.claims.evidence import Effect, Evidence, MissingEvidence, Pairs
from soups.evaluation import resampling
from soups.roles import BEST

Find = Callable[[Evidence], Effect]


def _large(evidence: Evidence, pairs: Pairs) -> np.ndarray:
    return (pairs.table["lr_2"] >= evidence.large_lr).to_numpy()


def method_difference(better: str, worse: str, measure: str) -> Find:
    """One method minus another."""
    return lambda evidence: evidence.compared(better, worse, measure)


def heldout_check(evidence: Evidence) -> Effect:
    """Greedy soup minus best individual on the held-out set: no sample of anything, so exact."""
    greedy, best = evidence.method("greedy"), evidence.method(BEST)
    value = greedy["heldout"] - best["heldout"]
    return Effect(value, value, value, int(greedy["n_heldout"]), int(greedy["ingredients"]))


def bad_ingredients(method: str) -> Find:
    """Test accuracy of a soup of the sweep minus that with the large learning rates as well."""

    def effect(evidence: Evidence) -> Effect:
        table, test = evidence.table("large_lr"), evidence.points("large_lr")[""]["test"]
        rows = table[table["method"] == method]
        first, last = rows.index[rows["large"].argmin()], rows.index[rows["large"].argmax()]
        models = len(evidence.table("rejection"))
        bounds = resampling.interval(test[first] - test[last])
        return Effect(*bounds, int(table["n_test"].iloc[0]), models)

    return effect


def midpoint_over_ends(evidence: Evidence) -> Effect:
    """Midpoint minus the better of its ends, mean over pairs without large learning rates."""
    pairs = evidence.midpoints.where(~_large(evidence, evidence.midpoints))
    gain = pairs.soup - np.maximum(pairs.one, pairs.two)
    return pairs.effect(resampling.average(gain, pairs.weights))


def barrier(evidence: Evidence) -> Effect:
    """Mean of the ends minus the midpoint, mean over pairs with a large learning rate."""
    pairs = evidence.midpoints.where(_large(evidence, evidence.midpoints))
    return pairs.effect(resampling.average((pairs.one + pairs.two) / 2 - pairs.soup, pairs.weights))


def gain_and_angle(evidence: Evidence) -> Effect:
    """Rank correlation of the midpoint's gain over its ends' mean with the angle between them."""
    pairs = evidence.midpoints.where(~_large(evidence, evidence.midpoints))
    gain = pairs.soup - (pairs.one + pairs.two) / 2
    angle = pairs.table["angle"].to_numpy()[:, None]
    return pairs.effect(resampling.rank_correlation(gain, angle, pairs.weights))


def soup_and_ensemble(evidence: Evidence) -> Effect:
    """Rank correlation of the accuracies of soup and ensemble over pairs."""
    pairs = evidence.midpoints
    return pairs.effect(resampling.rank_correlation(pairs.soup, pairs.ensemble, pairs.weights))


def large_lr_favours_ensembles(evidence: Evidence) -> Effect:
    """Ensemble minus soup: mean over pairs with a large learning rate, minus that over others."""
    pairs = evidence.midpoints
    large, lead, weights = _large(evidence, pairs), pairs.ensemble - pairs.soup, pairs.weights
    pairs.where(large), pairs.where(~large)  # neither may be empty
    parts = (resampling.average(lead[rows], weights[rows]) for rows in (large, ~large))
    return pairs.effect(np.subtract(*parts))


def growth(method: str) -> Find:
    """Rank correlation of test accuracy with the number of ingredients, mean over orders."""

    def effect(evidence: Evidence) -> Effect:
        table, mean = _by_number(evidence, method)
        n = np.array(list(mean))[:, None]
        columns = resampling.rank_correlation(np.stack(list(mean.values())), n.astype(float))
        images = int(table["n_test"].iloc[0])
        return Effect(*resampling.interval(columns), images, int(n.max()))

    return effect


def last_half(method: str) -> Find:
    """Test accuracy with all ingredients minus that with half of them, mean over orders."""

    def effect(evidence: Evidence) -> Effect:
        table, mean = _by_number(evidence, method)
        most = max(mean)
        if most < 2:
            raise MissingEvidence("more than one ingredient")
        columns = mean[most] - mean[max(1, most // 2)]
        return Effect(*resampling.interval(columns), int(table["n_test"].iloc[0]), int(most))

    return effect


def _by_number(evidence: Evidence, method: str) -> tuple[pd.DataFrame, dict[int, np.ndarray]]:
    table = evidence.table("number_of_models")
    test = evidence.points("number_of_models")[""]["test"]
    rows = table[table["method"] == method]
    return table, {int(n): test[part.index].mean(0) for n, part in rows.groupby("n")}


def within_slice(name: str) -> Find:
    """Greedy soup minus the best model, where ingredients differ in one hyperparameter alone."""

    def effect(evidence: Evidence) -> Effect:
        table, test = evidence.table("slices"), evidence.points("slices")[""]["test"]
        rows = table[table["slice"] == name].reset_index().set_index("method")["index"]
        if not len(rows):
            raise MissingEvidence(f"slice {name}")
        models = int(table.loc[rows["uniform"], "models"])
        bounds = resampling.interval(test[rows["greedy"]] - test[rows[BEST]])
        return Effect(*bounds, int(table["n_test"].iloc[0]), models)

    return effect


def calibration_gain(method: str) -> Find:
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


def beyond_curve(method: str) -> Find:
    """How far a soup, or its line to θ₀ on average, lies beyond the best model's line.

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
        if len(curve) < 2:
            raise MissingEvidence("a line to the best individual model of at least two points")
        share = np.linspace(0, 1, 11)[:, None, None]
        curve = np.concatenate([a + share * (b - a) for a, b in pairwise(curve)])
        ours = along(method)
        ours = ours[ours["alpha"].between(0, 1, "neither") if line else ours["alpha"] == 1]
        if not len(ours):
            raise MissingEvidence(f"points on the line to {method}")
        margins = [(planes[i] - curve).max(-1).min(0) for i in ours.index]
        images = int(table["n_test"].iloc[0] + table["n_shifts"].iloc[0])
        models = int(evidence.method(method)["ingredients"])
        return Effect(*resampling.interval(np.mean(margins, axis=0)), images, models)

    return effect


def approximated_gap(large: bool) -> Find:
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
        weights = resampling.pair_weights(rows["model_1"], rows["model_2"])
        columns = resampling.rank_correlation(
            gap["gap"]["test"][rows.index], gap["approximation"]["test"][rows.index], weights
        )
        models = len({*rows["model_1"], *rows["model_2"]})
        pairs = len(rows.drop_duplicates(["model_1", "model_2"]))
        return Effect(*resampling.interval(columns), int(rows["n_test"].iloc[0]), models, pairs)

    return effect


def unseen_task(evidence: Evidence) -> Effect:
    """Soup of models of different tasks minus the zero-shot model, on a task none saw."""
    table, test = evidence.table("tasks"), evidence.points("tasks")[""]["test"]
    soup = table.index[table["tasks"] == table["tasks"].max()][0]
    start = table.index[table["tasks"] == 0][0]
    models = int(table.loc[soup, "models"])
    bounds = resampling.interval(test[soup] - test[start])
    return Effect(*bounds, int(table["n_test"].iloc[0]), models)


def weaker_start(measure: str) -> Find:
    """Greedy soup minus best individual, from the weaker pre-trained model."""
    return lambda evidence: evidence.weaker.compared("greedy", BEST, measure)


def stronger_gain(measure: str) -> Find:
    """That difference from the usual pre-trained model, minus that from the weaker one.

    The two have other models; their intervals are joined as of independent normals, which is
    too wide where they share images.
    """

    def effect(evidence: Evidence) -> Effect:
        ours = evidence.compared("greedy", BEST, measure)
        theirs = evidence.weaker.compared("greedy", BEST, measure)
        value = ours.value - theirs.value
        half = np.hypot(ours.hi - ours.lo, theirs.hi - theirs.lo) / 2
        models = ours.models + theirs.models
        return Effect(value, value - half, value + half, ours.images, models)

    return effect
