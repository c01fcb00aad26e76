"""Choosing ingredients by their held-out score alone."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from soups.errors import UserError

# The held-out score of an average of some ingredients. When a rule adds ingredients one by one,
# the last name is the candidate, and the names before it are in the soup already.
Score = Callable[[tuple[str, ...]], float]


# When a greedy rule takes an ingredient: as the paper says, or as the authors' code does.
AT_LEAST, BETTER = "at_least", "better"


@dataclass(frozen=True)
class Tried:
    """The outcome of a trial.

    Attributes:
        score: the held-out score, NaN if a logit is NaN or infinite. If the trial ended early, it
            is a number that the score does not exceed.
        exact: whether the trial was not ended early.
        evaluated: number of examples whose logits were computed for it, None if no model ran.
    """

    score: float
    exact: bool = True
    evaluated: int | None = None

    def step(self, key: str) -> dict:
        """The entries of a trace, in which None stands for NaN, because JSON has no NaN.

        Args:
            key: name of the score. It is None if the trial ended early, and ``at_most`` has the
                bound.
        """
        value = recorded(self.score)
        if self.evaluated is None:
            return {key: value}
        score, bound = (value, None) if self.exact else (None, value)
        return {key: score, "at_most": bound, "evaluated": self.evaluated}


# A trial of the average of some ingredients, with names as of `Score`. The second argument has the
# ingredients of the soup to beat, or none. The trial may end early if the average is certain to
# score less than that soup. The score of a soup to beat is always exact.
Trial = Callable[[tuple[str, ...], tuple[str, ...]], Tried]


def full(score: Score) -> Trial:
    """Trials that never end early, for scores that cost little."""
    return lambda names, rival: Tried(score(names))


def by_score(scores: Mapping[str, float]) -> list[str]:
    """Sort ingredient ids by falling score, and by id where scores are equal."""
    return sorted(scores, key=lambda name: (-scores[name], name))


def shuffled(names: Sequence[str], seed: int, order: int) -> list[str]:
    """The ``order``-th random order of some ingredients, which depends on the set of ids alone."""
    rng = np.random.default_rng([seed, order])
    return [str(name) for name in rng.permutation(sorted(names))]


def greedy(
    order: Sequence[str], trial: Trial, accept: str = AT_LEAST
) -> tuple[list[str], list[dict]]:
    """Choose the ingredients of a greedy soup (paper, Recipe 1).

    An ingredient stays if the held-out score of the average with it is at least the score
    without it. On the held-out set, the soup is therefore never worse than its first ingredient.
    The authors' code asks for more: the score has to be better.
    An average whose score is NaN is never chosen. A trial that ended early has a bound below the
    score to beat, so the choice is the same as with exact scores.

    Args:
        order: ingredients in the order of the trials, best first.
        trial: see `Trial`.
        accept: `AT_LEAST` takes an ingredient that changes no score, `BETTER` leaves it out.

    Returns:
        the chosen ingredients, and the trace. The trace has a step per ``candidate`` with the
        scores ``without`` it (None for the first) and ``with`` it, see `Tried.step`, and whether
        it was ``accepted``.

    Raises:
        UserError: if all scores are NaN.
    """
    chosen: list[str] = []
    trace = []
    best = None
    for candidate in order:
        tried = trial((*chosen, candidate), tuple(chosen))
        wins = best is None or tried.score > best or (accept == AT_LEAST and tried.score == best)
        accepted = wins and not math.isnan(tried.score)
        step = {"candidate": candidate, "without": best} | tried.step("with")
        trace.append(step | {"accepted": accepted})
        if accepted:
            chosen.append(candidate)
            best = tried.score
    if trace and not chosen:
        raise UserError(
            f"none of the {len(trace)} averages has finite held-out logits, expected at least one"
        )
    return chosen, trace


def recorded(score: float) -> float | None:
    """A score for a trace, in which None stands for NaN, because JSON has no NaN."""
    return None if math.isnan(score) else score


def prune(chosen: Sequence[str], trial: Trial) -> tuple[list[str], list[dict]]:
    """Remove ingredients from a soup, the last one first, where that does not hurt.

    An ingredient is removed if the held-out score of the average without it is at least the
    score with it. The first ingredient always stays. On the held-out set, the soup is never
    worse than before.

    Args:
        chosen: ingredients in the order in which they were added.
        trial: see `Trial`.

    Returns:
        the remaining ingredients, and a trace like that of `greedy` with ``removed`` in place of
        ``accepted``.
    """
    left = list(chosen)
    best = trial(tuple(left), ()).score
    trace = []
    for candidate in reversed(left[1:]):
        rest = [name for name in left if name != candidate]
        tried = trial(tuple(rest), tuple(left))
        removed = tried.score >= best
        step = {"candidate": candidate, "with": best} | tried.step("without")
        trace.append(step | {"removed": removed})
        if removed:
            left, best = rest, tried.score
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
    names: Sequence[str], scores: Mapping[str, float], trial: Trial, accept: str = AT_LEAST
) -> Iterator[list[str]]:
    """Yield the greedy soup of the first n ingredients, for n from 1 to all.

    Args:
        names: ingredients in the order in which they are added to the sweep.
        scores: held-out score of each.
        trial: see `Trial`. It should remember its results, because most averages occur again as n
            grows.
        accept: see `greedy`.
    """
    for n in range(1, len(names) + 1):
        order = by_score({name: scores[name] for name in names[:n]})
        yield greedy(order, trial, accept)[0]


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
