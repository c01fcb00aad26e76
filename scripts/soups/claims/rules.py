"""The rules that turn an effect and its interval into a verdict.

An effect is positive if it supports the claim. Every test has a margin, see `registry.Margin`:

- ``greater``: no difference if the interval lies within ± margin. Otherwise supported if it lies
  above 0, and contradicted if it lies below 0.
- ``no_worse``, for claims that nothing is lost: supported if the interval lies above −margin, and
  contradicted if it lies below −margin.
- ``within``, for ratios that should be 1: supported if the interval lies between 1/margin and
  margin, and contradicted if it lies outside.
- ``exact``: true by construction. The test is checked unless the effect is below 0.

Any other interval is inconclusive.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from soups.outcomes import (
    CHECKED,
    CONTRADICTED,
    INCONCLUSIVE,
    NO_DIFFERENCE,
    NOT_TESTED,
    SUPPORTED,
)

TAIL = 0.025  # probability that a 95% interval lies above the true value, or below it
WEAKEST = [CONTRADICTED, INCONCLUSIVE, NOT_TESTED, NO_DIFFERENCE, SUPPORTED, CHECKED]


def decide(rule: str, margin, value, lo, hi) -> np.ndarray:
    """The verdicts on many effects of one rule, as an array of texts.

    Args:
        rule: see the module.
        margin: of the test, a fraction, a correlation or a factor. Unused by ``exact``.
        value, lo, hi: arrays of effects and bounds. NaN bounds are inconclusive.
    """
    value, lo, hi = (np.asarray(numbers, float) for numbers in (value, lo, hi))
    if rule == "exact":
        return np.where(value >= 0, CHECKED, CONTRADICTED)
    low, high = bounds(rule, margin)
    if rule == "within":
        cases = {SUPPORTED: (lo > low) & (hi < high), CONTRADICTED: (hi < low) | (lo > high)}
    elif rule == "no_worse":
        cases = {SUPPORTED: lo > low, CONTRADICTED: hi < low}
    else:
        inside = (lo >= low) & (hi <= high)
        cases = {NO_DIFFERENCE: inside, SUPPORTED: lo > 0, CONTRADICTED: hi < 0}
    return np.select(list(cases.values()), list(cases), INCONCLUSIVE)


def verdict(rule: str, margin: float, value: float, lo: float, hi: float) -> str:
    """The verdict on one effect."""
    return str(decide(rule, margin, value, lo, hi))


def bounds(rule: str, margin: float) -> tuple[float, float]:
    """The two ends of what a margin allows."""
    if rule == "exact":
        return 0.0, np.inf
    return (1 / margin, margin) if rule == "within" else (-margin, margin)


def joint(verdicts: Sequence[str]) -> str:
    """The verdict on a claim from the verdicts on the parts that decide it.

    A claim says that all its parts hold. So one contradicted part contradicts it. It is decided
    otherwise only if every part is decided: it is supported if all parts are, and shows no
    difference if at least one part shows none.
    """
    tested = [verdict for verdict in verdicts if verdict != NOT_TESTED]
    if not tested:
        return NOT_TESTED
    if CONTRADICTED in tested:
        return CONTRADICTED
    if INCONCLUSIVE in tested or len(tested) < len(verdicts):
        return INCONCLUSIVE
    if NO_DIFFERENCE in tested:
        return NO_DIFFERENCE
    return CHECKED if set(tested) == {CHECKED} else SUPPORTED


def expected_by_chance(parts: pd.DataFrame) -> tuple[float, float]:
    """The numbers of claims that chance alone would support and contradict, if all effects were 0.

    They are upper bounds. Each interval lies above the true value with probability `TAIL`, and
    below it with the same probability. A claim is supported only if all its parts are, so parts
    add nothing. It is contradicted if one part is, so parts add up.

    Args:
        parts: the table of `verdicts.effects`.
    """
    tested = parts[parts["decides"] & ~parts["verdict"].isin([NOT_TESTED, CHECKED])]
    return TAIL * tested["claim"].nunique(), TAIL * len(tested)
