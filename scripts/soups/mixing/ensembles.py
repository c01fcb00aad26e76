"""Ensembles, which are computed from cached logits without a model (paper, section 2, figure 4).

The module `experiment.registry` has a row with the name of each method. The functions `uniform`,
`greedy` and `members` choose the members of an ensemble. The script of the rule
``choose_ensemble`` finds them by the name of the method.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import log_softmax

from soups.evaluation.metric import ACCURACY, Metric
from soups.mixing import recipes, select
from soups.mixing.select import RunningSum, Score, remembered

Read = Callable[[str], np.ndarray]
Choice = tuple[list[str], list[dict] | None]


def uniform(ingredients: Sequence[str], score: Score, soups: Sequence[dict]) -> Choice:
    """Choose all ingredients.

    Args:
        ingredients: ids.
        score: held-out score of ensembles, see `scorer`.
        soups: recipes of the soups that the ensemble is made of.

    Returns:
        the members, and the trace of the choice if the method has one.
    """
    return list(ingredients), None


def greedy(
    ingredients: Sequence[str],
    score: Score,
    soups: Sequence[dict],
    accept: str = select.AT_LEAST,
) -> Choice:
    """Choose members by the greedy rule, see `select.greedy` for ``accept`` and `uniform`."""
    order = select.by_score({name: score((name,)) for name in ingredients})
    return select.greedy(order, select.full(score), accept)


def members(ingredients: Sequence[str], score: Score, soups: Sequence[dict]) -> Choice:
    """Choose the fine-tuned models in some soups. The arguments are as in `uniform`."""
    names = [name for soup in soups for name in recipes.members(soup)]
    return list(dict.fromkeys(names)), None


def combine(names: Sequence[str], read: Read, average: str = "logits") -> np.ndarray:
    """Compute the logits of an ensemble.

    Args:
        names: its members.
        read: reads the logits of a member, shape (n, classes).
        average: ``logits`` for the mean of unnormalised logits, as in the paper, or
            ``probabilities`` for the logarithm of the mean of probabilities.

    Returns:
        float32, shape (n, classes).
    """
    total = sum(_terms(read(name), average) for name in names)
    out = total / len(names)
    if average == "probabilities":
        # A probability of 0 would otherwise give a logit of minus infinity.
        out = np.log(np.maximum(out, np.finfo(np.float32).tiny))
    return out.astype(np.float32)


def scorer(
    read: Read, labels: np.ndarray, average: str = "logits", metric: Metric = ACCURACY
) -> Score:
    """The metric of ensembles, for `select.greedy`.

    It holds one sum and the logits of one member in memory.

    Args:
        read, average: see `combine`.
        labels: shape (n,).
        metric: of their logits.
    """
    running = RunningSum(lambda: 0.0, lambda total, name: total + _terms(read(name), average))

    def score(names: tuple[str, ...]) -> float:
        total = running.of(tuple(names[:-1])) + _terms(read(names[-1]), average)
        return metric.of(total, labels)

    return remembered(score)


def _terms(logits: np.ndarray, average: str) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    return logits if average == "logits" else np.exp(log_softmax(logits, axis=1))
