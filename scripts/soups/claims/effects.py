"""The effects that the paper's claims are about, each from the evidence of a run.

An effect is positive if it supports the claim. The list `registry.CLAIMS` assigns effects to
claims. Methods are given by their roles. The curves `number_of_models`, `large_lr` and `slices`
have roles in their column ``method``, and `wise_ft` has rows of the methods table.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from soups.claims.evidence import Effect, Evidence, MissingEvidence, Pairs, same_model
from soups.evaluation import resampling
from soups.roles import BEST, GREEDY, UNIFORM

Find = Callable[[Evidence], Effect]

USUAL_PAIRS = "pairs without large learning rates"
LARGE_PAIRS = "pairs with a large learning rate"


def _large(evidence: Evidence, pairs: Pairs) -> np.ndarray:
    return (pairs.table["lr_2"] >= evidence.large_lr).to_numpy()


def method_difference(better: str, worse: str, measure: str) -> Find:
    """One method minus another."""
    return lambda evidence: evidence.compared(better, worse, measure)


def on_texts(better: str, worse: str, measure: str) -> Find:
    """One method minus another in a run on texts.

    The paper's table of text classification has the best individual model and the greedy soup of
    every task. They are equal where the soup holds that model alone. So here the two count as
    methods, and the difference of equal models is 0.
    """

    def effect(evidence: Evidence) -> Effect:
        if evidence.problem != "text":
            raise MissingEvidence("a run on texts")
        return evidence.compared(better, worse, measure, distinct=False)

    return effect


def heldout_check(evidence: Evidence) -> Effect:
    """Greedy soup minus best individual on the held-out set, without an interval.

    Both are chosen on these very images, so the difference is exact.
    """
    greedy, best = evidence.method(GREEDY), evidence.method(BEST)
    value = greedy["heldout"] - best["heldout"]
    evidence.distinct(GREEDY, BEST, value != 0)
    return Effect(value, value, value, int(greedy["n_heldout"]), int(greedy["ingredients"]))


def bad_ingredients(role: str) -> Find:
    """Test accuracy of a soup of the sweep minus that of a soup with large learning rates too."""

    def effect(evidence: Evidence) -> Effect:
        table, test = evidence.table("large_lr"), evidence.points("large_lr")[""]["test"]
        rows = table[table["method"] == role]
        first, last = rows.index[rows["large"].argmin()], rows.index[rows["large"].argmax()]
        models = len(evidence.table("rejection"))
        bounds = resampling.interval(test[first] - test[last])
        return Effect(*bounds, int(table["n_test"].iloc[0]), models)

    return effect


def midpoint_over_ends(evidence: Evidence) -> Effect:
    """Midpoint minus the better of its ends, as a mean over pairs without large learning rates."""
    pairs = evidence.midpoints.where(~_large(evidence, evidence.midpoints), USUAL_PAIRS)
    gain = pairs.soup - np.maximum(pairs.one, pairs.two)
    return pairs.effect(resampling.average(gain, pairs.weights))


def barrier(evidence: Evidence) -> Effect:
    """Mean of the ends minus the midpoint, as a mean over pairs with a large learning rate."""
    pairs = evidence.midpoints.where(_large(evidence, evidence.midpoints), LARGE_PAIRS)
    return pairs.effect(resampling.average((pairs.one + pairs.two) / 2 - pairs.soup, pairs.weights))


def gain_and_angle(evidence: Evidence) -> Effect:
    """Rank correlation of the midpoint's gain over its ends' mean with the angle between them."""
    pairs = evidence.midpoints.where(~_large(evidence, evidence.midpoints), USUAL_PAIRS)
    gain = pairs.soup - (pairs.one + pairs.two) / 2
    angle = pairs.table["angle"].to_numpy()[:, None]
    return pairs.effect(resampling.rank_correlation(gain, angle, pairs.weights))


def soup_and_ensemble(evidence: Evidence) -> Effect:
    """Rank correlation of the accuracies of soup and ensemble, over pairs."""
    pairs = evidence.midpoints
    return pairs.effect(resampling.rank_correlation(pairs.soup, pairs.ensemble, pairs.weights))


def large_lr_favours_ensembles(evidence: Evidence) -> Effect:
    """Ensemble minus soup: the mean over pairs with a large learning rate minus that of others."""
    pairs = evidence.midpoints
    large, lead, weights = _large(evidence, pairs), pairs.ensemble - pairs.soup, pairs.weights
    pairs.where(large, LARGE_PAIRS), pairs.where(~large, USUAL_PAIRS)  # neither may be empty
    parts = (resampling.average(lead[rows], weights[rows]) for rows in (large, ~large))
    return pairs.effect(np.subtract(*parts))


def growth(role: str) -> Find:
    """Rank correlation of the mean test accuracy over orders with the number of ingredients."""

    def effect(evidence: Evidence) -> Effect:
        table, mean = _by_number(evidence, role)
        n = np.array(list(mean))[:, None]
        columns = resampling.rank_correlation(np.stack(list(mean.values())), n.astype(float))
        images = int(table["n_test"].iloc[0])
        return Effect(*resampling.interval(columns), images, int(n.max()))

    return effect


def last_half(role: str) -> Find:
    """Test accuracy with all ingredients minus that with half of them, as a mean over orders."""

    def effect(evidence: Evidence) -> Effect:
        table, mean = _by_number(evidence, role)
        most = max(mean)
        if most < 2:
            raise MissingEvidence("more than one ingredient")
        columns = mean[most] - mean[max(1, most // 2)]
        return Effect(*resampling.interval(columns), int(table["n_test"].iloc[0]), int(most))

    return effect


def _by_number(evidence: Evidence, role: str) -> tuple[pd.DataFrame, dict[int, np.ndarray]]:
    """The curve's table, and the mean accuracy over orders for each number of ingredients."""
    table = evidence.table("number_of_models")
    test = evidence.points("number_of_models")[""]["test"]
    rows = table[table["method"] == role]
    return table, {int(n): test[part.index].mean(0) for n, part in rows.groupby("n")}


def within_slice(name: str) -> Find:
    """Greedy soup minus the best model, if ingredients differ in only one hyperparameter.

    The table of slices has no members. So the greedy soup counts as the best model itself if
    their accuracies are equal on every set.
    """

    def effect(evidence: Evidence) -> Effect:
        table, sets = evidence.table("slices"), evidence.points("slices")[""]
        rows = table[table["slice"] == name].reset_index().set_index("method")["index"]
        if not len(rows):
            raise MissingEvidence(f"slice {name}")
        greedy, best = rows[GREEDY], rows[BEST]
        if all(np.array_equal(means[greedy], means[best]) for means in sets.values()):
            raise same_model(GREEDY, BEST)
        models = int(table.loc[rows[UNIFORM], "models"])
        bounds = resampling.interval(sets["test"][greedy] - sets["test"][best])
        return Effect(*bounds, int(table["n_test"].iloc[0]), models)

    return effect


def calibration_gain(role: str) -> Find:
    """ECE of the best individual model minus that of another method, on the test set."""

    def effect(evidence: Evidence) -> Effect:
        table, name = evidence.table("calibration"), evidence.row(role)
        rows = table[(table["method"] == name) & (table["set"] == "test")]
        if not len(rows):
            raise MissingEvidence(f"calibration of {name}")
        row, models = rows.iloc[0], int(evidence.method(role)["ingredients"])
        bounds = [row[f"ece_gain{end}"] for end in ("", "_lo", "_hi")]
        evidence.distinct(role, BEST, any(bounds))
        return Effect(*bounds, int(row["n"]), models)

    return effect


def beyond_curve(role: str, inner: bool = False) -> Find:
    """How far a soup, or its line to θ₀ on average, lies beyond the best model's line.

    Compared with any point of that line, the soup is better by at least this much, on the test
    set or under shift. The effect is negative if some point of the line is better on both.

    Args:
        role: of the soup at the end of a line from θ₀.
        inner: take the points between the ends of the soup's line instead of the soup itself.
    """

    def effect(evidence: Evidence) -> Effect:
        table, both = evidence.table("wise_ft"), evidence.points("wise_ft")[""]
        planes = np.stack([both["test"], both["shifts_mean"]], -1)

        def along(role: str) -> pd.DataFrame:
            name = evidence.row(role)
            rows = table[(table["method"] == name) & table["alpha"].between(0, 1)]
            if not len(rows):
                raise MissingEvidence(f"line to {name}")
            return rows

        curve = line = planes[along(BEST).sort_values("alpha").index]
        if len(curve) < 2:
            raise MissingEvidence("a line to the best individual model of at least two points")
        share = np.linspace(0, 1, 11)[:, None, None]
        curve = np.concatenate([a + share * (b - a) for a, b in pairwise(curve)])
        ours = along(role)
        our_line = planes[ours.sort_values("alpha").index]
        evidence.distinct(role, BEST, not np.array_equal(our_line, line))
        ours = ours[ours["alpha"].between(0, 1, "neither") if inner else ours["alpha"] == 1]
        if not len(ours):
            raise MissingEvidence(f"points on the line to {evidence.row(role)}")
        margins = [(planes[i] - curve).max(-1).min(0) for i in ours.index]
        images = int(table["n_test"].iloc[0] + table["n_shifts"].iloc[0])
        models = int(evidence.method(role)["ingredients"])
        return Effect(*resampling.interval(np.mean(margins, axis=0)), images, models)

    return effect


def approximated_gap(large: bool) -> Find:
    """Rank correlation of the approximate with the true loss gap, over points of paths.

    Args:
        large: take the paths with a large learning rate instead of the others.
    """

    def effect(evidence: Evidence) -> Effect:
        table, gap = evidence.table("paths"), evidence.points("paths")
        if "gap" not in gap:
            raise MissingEvidence("loss gaps of paths")
        inner = table["gap_approximation"].notna() & ((table["lr_2"] >= evidence.large_lr) == large)
        if inner.sum() < 3:
            kind = LARGE_PAIRS if large else USUAL_PAIRS
            raise MissingEvidence(f"three points on paths of {kind}")
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
    """Soup of models of different tasks minus the zero-shot model, on an unseen task."""
    table, test = evidence.table("tasks"), evidence.points("tasks")[""]["test"]
    if table["tasks"].max() == 0:
        raise MissingEvidence("models of tasks that are not left out")
    soup = table.index[table["tasks"] == table["tasks"].max()][0]
    start = table.index[table["tasks"] == 0][0]
    models = int(table.loc[soup, "models"])
    bounds = resampling.interval(test[soup] - test[start])
    return Effect(*bounds, int(table["n_test"].iloc[0]), models)


def weaker_start(measure: str) -> Find:
    """Greedy soup minus best individual, from the weaker pre-trained model."""
    return lambda evidence: evidence.weaker.compared(GREEDY, BEST, measure)


def stronger_gain(measure: str) -> Find:
    """Greedy soup minus best individual from the usual start, minus the same from the weaker one.

    The two starts have different models. Their intervals are combined as for independent normal
    variables, which is too wide if the two share images.
    """

    def effect(evidence: Evidence) -> Effect:
        ours = evidence.compared(GREEDY, BEST, measure)
        theirs = evidence.weaker.compared(GREEDY, BEST, measure)
        value = ours.value - theirs.value
        half = np.hypot(ours.hi - ours.lo, theirs.hi - theirs.lo) / 2
        models = ours.models + theirs.models
        return Effect(value, value - half, value + half, ours.images, models)

    return effect
