"""The effects that claims about pairs of models have: midpoints, ensembles and loss gaps."""

from collections.abc import Callable

import numpy as np

from soups.claims.evidence import Effect, Evidence, MissingEvidence, Pairs
from soups.evaluation import resampling
from soups.outcomes import AGREEMENT
from soups.roles import BEST

USUAL_PAIRS = "pairs without large learning rates"
LARGE_PAIRS = "pairs with a large learning rate"
GOOD_LARGE_PAIRS = "pairs of models of one large learning rate, both better than their start"


def _large(evidence: Evidence, pairs: Pairs) -> np.ndarray:
    return (pairs.table["lr_2"] >= evidence.large_lr).to_numpy()


def _usual(evidence: Evidence) -> Pairs:
    pairs = evidence.midpoints
    return pairs.where(~_large(evidence, pairs), USUAL_PAIRS)


def midpoint_over_ends(evidence: Evidence) -> Effect:
    """Midpoint minus the better of its ends, as a mean over pairs without large learning rates."""
    pairs = _usual(evidence)
    gain = pairs.soup - np.maximum(pairs.one, pairs.two)
    return pairs.effect(resampling.average(gain, pairs.weights))


def barriers(evidence: Evidence) -> dict[str, Effect]:
    """Mean of the ends minus the midpoint, for each large learning rate, in rising order.

    Both ends of a pair have the learning rate, and both are better than their start θ₀ on the
    test set. A model that is worse than θ₀ is wrecked, and its midpoint with any model is bad.
    """
    pairs, table, name = evidence.midpoints, evidence.table("wise_ft"), evidence.row(BEST)
    line = table[(table["method"] == name) & np.isclose(table["alpha"], 0)]
    if not len(line):
        raise MissingEvidence(f"line to {name}")
    start = evidence.points("wise_ft")[""]["test"][line.index[0], 0]
    rates = pairs.table["lr_1"].to_numpy()
    same = np.isclose(rates, pairs.table["lr_2"]) & (rates >= evidence.large_lr)
    good = same & (np.minimum(pairs.one, pairs.two)[:, 0] > start)
    pairs.where(good, GOOD_LARGE_PAIRS)
    found = {}
    for rate in sorted(set(rates[good])):
        mine = pairs.where(good & (rates == rate), GOOD_LARGE_PAIRS)
        drop = (mine.one + mine.two) / 2 - mine.soup
        found[f"learning rate {rate:g}"] = mine.effect(resampling.average(drop, mine.weights))
    return found


def gain_and_angle(evidence: Evidence) -> Effect:
    """Rank correlation of the midpoint's gain over its ends' mean with the angle between them."""
    pairs = _usual(evidence)
    gain = pairs.soup - (pairs.one + pairs.two) / 2
    angle = pairs.table["angle"].to_numpy()[:, None]
    return pairs.effect(resampling.rank_correlation(gain, angle, pairs.weights))


def soup_and_ensemble(evidence: Evidence) -> Effect:
    """Rank correlation of the accuracies of soup and ensemble, over pairs."""
    pairs = evidence.midpoints
    return pairs.effect(resampling.rank_correlation(pairs.soup, pairs.ensemble, pairs.weights))


def lead_and_rate(evidence: Evidence) -> Effect:
    """Rank correlation of ensemble minus soup with the learning rate, without large rates.

    The learning rate of a pair is the geometric mean of those of its models.
    """
    pairs = _usual(evidence)
    rate = (pairs.table["lr_1"] * pairs.table["lr_2"]).to_numpy()[:, None] ** 0.5
    lead = pairs.ensemble - pairs.soup
    return pairs.effect(resampling.rank_correlation(lead, np.log(rate), pairs.weights))


def approximated_gap(large: bool, slope: bool) -> Callable[[Evidence], Effect]:
    """How well the approximate loss gap predicts the true one, over points of paths.

    Only points count where the two estimates of the second derivative agree.

    Args:
        large: take the paths with a large learning rate instead of the others.
        slope: take the slope of the true gap on the approximate one, not their rank correlation.
    """

    def effect(evidence: Evidence) -> Effect:
        table, gap = evidence.table("paths"), evidence.points("paths")
        if "gap" not in gap:
            raise MissingEvidence("loss gaps of paths")
        apart = (table["curvature_wide"] - table["curvature"]).abs()
        agree = apart <= AGREEMENT * table["curvature"].abs()  # False where one is missing
        inner = agree & ((table["lr_2"] >= evidence.large_lr) == large)
        if inner.sum() < 3:
            kind = LARGE_PAIRS if large else USUAL_PAIRS
            raise MissingEvidence(
                f"three points on paths of {kind} with a certain second derivative"
            )
        rows = table[inner]
        weights = resampling.pair_weights(rows["model_1"], rows["model_2"])
        true, guess = (gap[name]["test"][rows.index] for name in ("gap", "approximation"))
        measure = resampling.slope if slope else resampling.rank_correlation
        columns = measure(guess, true, weights)
        models = len({*rows["model_1"], *rows["model_2"]})
        pairs = len(rows.drop_duplicates(["model_1", "model_2"]))
        return Effect(*resampling.interval(columns), int(rows["n_test"].iloc[0]), models, pairs)

    return effect
