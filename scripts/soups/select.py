"""Choosing ingredients by their held-out score, and by nothing else."""

from collections.abc import Callable, Mapping, Sequence


def by_score(scores: Mapping[str, float]) -> list[str]:
    """Ingredient ids by falling score; equal scores by id."""
    return sorted(scores, key=lambda name: (-scores[name], name))


def greedy(
    order: Sequence[str], score: Callable[[tuple[str, ...]], float]
) -> tuple[list[str], list[dict]]:
    """The greedy soup (paper, Recipe 1).

    An ingredient stays if the held-out score of the average with it is at least that
    without it. The soup is therefore never worse, on the held-out set, than the first.

    Args:
        order: ingredients in the order they are tried, best first.
        score: held-out score of the uniform average of these ingredients. The last one
            is the candidate; those before it are in the soup already.

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
