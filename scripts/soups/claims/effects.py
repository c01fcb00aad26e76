"""The effects that the paper's claims are about, each from the evidence of a run.

An effect is positive if it supports the claim. The list `registry.CLAIMS` assigns effects to
claims. Methods are given by their roles. The curves `number_of_models` and `slices` have roles in
their column ``method``, and `wise_ft` has rows of the methods table. The module `pair_effects` has
the effects of pairs of models.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pandas as pd

from soups.claims.evidence import Effect, Evidence, MissingEvidence, same_model
from soups.evaluation import resampling
from soups.roles import BEST, GREEDY, UNIFORM

Find = Callable[[Evidence], Effect]


def method_difference(better: str, worse: str, measure: str) -> Find:
    """One method minus another."""
    return lambda evidence: evidence.compared(better, worse, measure)


def of_equal_numbers(better: str, worse: str, measure: str) -> Find:
    """One soup minus another of the same number of models, so that the number is not the reason."""

    def effect(evidence: Evidence) -> Effect:
        numbers = {int(evidence.method(role)["ingredients"]) for role in (better, worse)}
        if len(numbers) > 1:
            raise MissingEvidence("soups with and without SAM of equal numbers of models")
        return evidence.compared(better, worse, measure)

    return effect


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
    """Greedy soup minus the best model of a slice, see the key ``curves.slices``.

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


def calibration_gain(role: str, bins: str = "") -> Find:
    """ECE of the best individual model minus that of another method, on the test set.

    Args:
        role: of the other method.
        bins: kind of bins, see `calibration.kinds_of_bins`. By default they have equal width.
    """

    def effect(evidence: Evidence) -> Effect:
        table, name = evidence.table("calibration"), evidence.row(role)
        rows = table[(table["method"] == name) & (table["set"] == "test")]
        if not len(rows):
            raise MissingEvidence(f"calibration of {name}")
        row, models = rows.iloc[0], int(evidence.method(role)["ingredients"])
        bounds = [row[f"ece_gain{bins}{end}"] for end in ("", "_lo", "_hi")]
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
