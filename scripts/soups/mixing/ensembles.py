"""Ensembles, from cached logits: no model is run (paper, section 2 and figure 4)."""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import log_softmax

from soups.mixing.select import RunningSum, Score, remembered

Read = Callable[[str], np.ndarray]


def combine(names: Sequence[str], read: Read, average: str = "logits") -> np.ndarray:
    """The ensemble's logits.

    Args:
        names: its members.
        read: a member's logits, shape (n, classes).
        average: ``logits``: the mean of unnormalised logits, as in the paper;
            ``probabilities``: the logarithm of the mean of probabilities.

    Returns:
        float32, shape (n, classes).
    """
    total = sum(_terms(read(name), average) for name in names)
    out = total / len(names)
    if average == "probabilities":
        # Keeps a probability of 0 from becoming a logit of minus infinity.
        out = np.log(np.maximum(out, np.finfo(np.float32).tiny))
    return out.astype(np.float32)


def scorer(read: Read, labels: np.ndarray, average: str = "logits") -> Score:
    """Accuracy of ensembles, for `select.greedy`; holds one sum and one member's logits."""
    running = RunningSum(lambda: 0.0, lambda total, name: total + _terms(read(name), average))

    def score(names: tuple[str, ...]) -> float:
        total = running.of(tuple(names[:-1])) + _terms(read(names[-1]), average)
        return float((total.argmax(1) == labels).mean())

    return remembered(score)


def _terms(logits: np.ndarray, average: str) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    return logits if average == "logits" else np.exp(log_softmax(logits, axis=1))
