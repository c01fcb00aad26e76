"""Choosing ingredients by their held-out score, and by nothing else."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

# The held-out score of the uniform average of some ingredients. When ingredients are added
# one by one, the last is the candidate; those before it are in the soup already.
Score = Callable[[tuple[str, ...]], float]


def by_score(scores: Mapping[str, float]) -> list[str]:
    """Ingredient ids by falling score; equal scores by id."""
    return sorted(scores, key=lambda name: (-scores[name], name))


def shuffled(names: Sequence[str], seed: int, order: int) -> list[str]:
    """The ``order``-th random order of some ingredients; the same ids give the same order."""
    rng = np.random.default_rng([seed, order])
    return [str(name) for name in rng.permutation(sorted(names))]


def greedy(order: Sequence[str], score: Score) -> tuple[list[str], list[dict]]:
    """The greedy soup (paper, Recipe 1).

    An ingredient stays if the held-out score of the average with it is at least that
    without it. The soup is therefore never worse, on the held-out set, than the first.

    Args:
        order: ingredients in the order they are tried, best first.
        score: see `Score`.

    Returns:
        the chosen ingredients, and the trace: a step per candidate with the scores
        ``without`` (None for the first) and ``with`` it and whether it was ``accepted``.
    """
    chosen: list[str] = []
    trace = []
    best = None
    for candidate in order:
        value = score((*chosen, candidate))
        accepted = best is None or value >= best
        trace.append({"candidate": candidate, "without": best, "with": value, "accepted": accepted})
        if accepted:
            chosen.append(candidate)
            best = value
    return chosen, trace


def prune(chosen: Sequence[str], score: Score) -> tuple[list[str], list[dict]]:
    """Take ingredients out of a soup again, the last first, where that does not hurt.

    An ingredient goes if the held-out score of the average without it is at least that
    with it; the first never goes. The soup is never worse, on the held-out set, than before.

    Args:
        chosen: ingredients in the order they were added.
        score: see `Score`.

    Returns:
        what is left, and a trace as `greedy`'s with ``removed``.
    """
    left = list(chosen)
    best = score(tuple(left))
    trace = []
    for candidate in reversed(left[1:]):
        rest = [name for name in left if name != candidate]
        value = score(tuple(rest))
        removed = value >= best
        trace.append({"candidate": candidate, "with": best, "without": value, "removed": removed})
        if removed:
            left, best = rest, value
    return left, trace


def remembered(score: Score) -> Score:
    """A score that is computed once for each set of ingredients."""
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
    """The greedy soup of the first n ingredients, for n from 1 to all.

    Args:
        names: ingredients in the order they come in.
        scores: held-out score of each.
        score: best `remembered`, for most averages come up again as n grows.
    """
    for n in range(1, len(names) + 1):
        order = by_score({name: scores[name] for name in names[:n]})
        yield greedy(order, score)[0]


class RunningSum:
    """A sum over names that is cheap to extend, for scores of growing soups.

    Args:
        empty: makes the sum of nothing.
        add: ``add(total, name)`` returns the sum with one more.
    """

    def __init__(self, empty: Callable, add: Callable) -> None:
        self._empty, self._add = empty, add
        self._names: tuple[str, ...] = ()
        self._total = empty()

    def of(self, names: tuple[str, ...]):
        """The sum over ``names``; starts again unless they extend what was asked last."""
        if names[: len(self._names)] != self._names:
            self._names, self._total = (), self._empty()
        for name in names[len(self._names) :]:
            self._total = self._add(self._total, name)
        self._names = names
        return self._total
