"""Choosing ingredients by their held-out score alone."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from soups.errors import UserError

# The held-out score of the uniform average of some ingredients. When a rule adds ingredients one
# by one, the last name is the candidate, and the names before it are in the soup already.
Score = Callable[[tuple[str, ...]], float]


def by_score(scores: Mapping[str, float]) -> list[str]:
    """Sort ingredient ids by falling score, and by id where scores are equal."""
    return sorted(scores, key=lambda name: (-scores[name], name))


def shuffled(names: Sequence[str], seed: int, order: int) -> list[str]:
    """The ``order``-th random order of some ingredients, which depends on the set of ids alone."""
    rng = np.random.default_rng([seed, order])
    return [str(name) for name in rng.permutation(sorted(names))]


def greedy(order: Sequence[str], score: Score) -> tuple[list[str], list[dict]]:
    """Choose the ingredients of a greedy soup (paper, Recipe 1).

    An ingredient stays if the held-out score of the average with it is at least the score
    without it. On the held-out set, the soup is therefore never worse than its first ingredient.
    An average whose score is NaN is never chosen.

    Args:
        order: ingredients in the order of the trials, best first.
        score: see `Score`.

    Returns:
        the chosen ingredients, and the trace. The trace has a step per ``candidate`` with the
        scores ``without`` it (None for the first) and ``with`` it (None for NaN), and whether it
        was ``accepted``.

    Raises:
        UserError: if all scores are NaN.
    """
    chosen: list[str] = []
    trace = []
    best = None
    for candidate in order:
        value = score((*chosen, candidate))
        accepted = not math.isnan(value) and (best is None or value >= best)
        step = {"candidate": candidate, "without": best, "with": recorded(value)}
        trace.append(step | {"accepted": accepted})
        if accepted:
            chosen.append(candidate)
            best = value
    if trace and not chosen:
        raise UserError(
            f"none of the {len(trace)} averages has finite held-out logits, expected at least one"
        )
    return chosen, trace


def recorded(score: float) -> float | None:
    """A score for a trace, in which None stands for NaN, because JSON has no NaN."""
    return None if math.isnan(score) else score


def prune(chosen: Sequence[str], score: Score) -> tuple[list[str], list[dict]]:
    """Remove ingredients from a soup, the last one first, where that does not hurt.

    An ingredient is removed if the held-out score of the average without it is at least the
    score with it. The first ingredient always stays. On the held-out set, the soup is never
    worse than before.

    Args:
        chosen: ingredients in the order in which they were added.
        score: see `Score`.

    Returns:
        the remaining ingredients, and a trace like that of `greedy` with ``removed`` in place of
        ``accepted``.
    """
    left = list(chosen)
    best = score(tuple(left))
    trace = []
    for candidate in reversed(left[1:]):
        rest = [name for name in left if name != candidate]
        value = score(tuple(rest))
        removed = value >= best
        step = {"candidate": candidate, "with": best, "without": recorded(value)}
        trace.append(step | {"removed": removed})
        if removed:
            left, best = rest, value
    return left, trace


def remembered(score: Score) -> Score:
    """Wrap a score so that it is computed once for each set of ingredients."""
    known: dict[frozenset, float] = {}

    def look_up(names: tuple[str, ...]) -> float:
        key = frozenset(names)
        if key not in known:
            known[key] = score(names)
        return known[key]

    return look_up


def greedy_first(
    names: Sequence[str], scores: Mapping[str, float], score: Score
) -> Iterator[list[str]]:
    """Yield the greedy soup of the first n ingredients, for n from 1 to all.

    Args:
        names: ingredients in the order in which they are added to the sweep.
        scores: held-out score of each.
        score: see `Score`. It should be `remembered`, because most averages occur again as n
            grows.
    """
    for n in range(1, len(names) + 1):
        order = by_score({name: scores[name] for name in names[:n]})
        yield greedy(order, score)[0]


class RunningSum:
    """A sum over names that is cheap to extend, for growing soups.

    Args:
        empty: returns the sum over no names.
        add: ``add(total, name)`` returns the total with the term of one more name.
    """

    def __init__(self, empty: Callable, add: Callable) -> None:
        self._empty, self._add = empty, add
        self._names: tuple[str, ...] = ()
        self._total = empty()

    def of(self, names: tuple[str, ...]):
        """The sum over ``names``, which extends that of the last call where the names do."""
        if names[: len(self._names)] != self._names:
            self._names, self._total = (), self._empty()
        for name in names[len(self._names) :]:
            self._total = self._add(self._total, name)
        self._names = names
        return self._total
