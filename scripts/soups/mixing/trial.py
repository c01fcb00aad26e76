"""Trials of averages, which end as soon as the average is certain to lose.

A rule such as greedy compares the held-out score of an average with that of a soup, the *rival*.
It needs the exact score only if the average is at least as good. Therefore a trial evaluates the
examples in an order in which errors come first, block by block. After each block it computes the
score that the average would have if it were right on all other examples. A metric that never falls
when an error is corrected (`Metric.rises`) cannot exceed this bound. The trial ends if the bound
is below the rival's score, because the average has then lost for certain. A tie is never below, so
it is evaluated to the end. The rule thus chooses the same soup as with exact scores.

An average that does not lose is evaluated on all examples. The next comparison needs its exact
score, and any logit could still be NaN. A trial that ends early may miss a logit that is NaN. Its
average would not have been chosen either way.

The last bits of logits may depend on the batch, as they do between any two batch sizes. They could
change a prediction only if two logits are almost equal. On a CPU, all bits of six models of the
default experiment were the same in any batch of 1,000 images. Logits of six models on the 855 texts
of CoLA differed by up to 3e-6 with the padding of the batch. No prediction changed, because the two
largest logits differed by at least 4e-4.

The order only decides how soon a trial ends. Averages of weights have roughly the averages of
logits. So the margins of the rival's logits and of the candidate's own logits, both known, predict
the margins of the average. The most negative margins come first.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from soups.evaluation.metric import Metric
from soups.jobs import devices
from soups.mixing.select import Tried
from soups.models.usable import is_usable

log = logging.getLogger("soups")

# The smallest number of examples between two looks at the bound. On a CPU, 16 images cost no more
# per image than 125, so a trial need not go far past the image that decides it. A GPU is idle in
# small batches.
BLOCK, GPU_BLOCK = 16, 500
# Values of a metric that differ in exact arithmetic differ by far more, and rounding by far less.
SLACK = 1e-9

Run = Callable[[np.ndarray | None], np.ndarray]


@dataclass(frozen=True)
class Known(Tried):
    """A trial that is remembered.

    Attributes:
        margins: see `margins`, shape (n,). None if the trial ended early or a logit is NaN.
    """

    margins: np.ndarray | None = None


def margins(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The logit of the label minus the largest other logit, float32, shape (n,)."""
    rows, others = np.arange(len(labels)), np.array(logits, np.float32)
    others[rows, labels] = -np.inf
    return logits[rows, labels].astype(np.float32) - others.max(1)


def evaluate(
    run: Run,
    labels: np.ndarray,
    metric: Metric,
    rival: Known | None = None,
    order: np.ndarray | None = None,
) -> Known:
    """Compute the score of a model, or a bound that is below the score of its rival.

    Args:
        run: computes the logits of some rows, or of all, float32, shape (rows, classes).
        labels: shape (n,).
        metric: must have `Metric.rises` if there is a rival.
        rival: the soup to beat, whose score is exact. None evaluates all examples at once.
        order: all rows, those first that are likely wrong.
    """
    n, block = len(labels), BLOCK if devices.kind() == "cpu" else GPU_BLOCK
    guesses = np.array(labels)  # An example that is not evaluated yet counts as right.
    found = np.empty(n, np.float32)
    allowed = 0 if rival is None else int((rival.margins < 0).sum())
    stop = 0
    while stop < n:
        # The trial cannot end before the average has more errors than its rival.
        size = n if rival is None else max(block, allowed + 1 - int((guesses != labels).sum()))
        rows = slice(None) if rival is None else order[stop : stop + size]
        logits = run(None if rival is None else rows)
        stop = min(n, stop + size)
        if not is_usable(logits):
            log.warning("the soup has logits that are NaN or infinite, so no rule chooses it")
            return Known(float("nan"), evaluated=stop)
        guesses[rows], found[rows] = logits.argmax(1), margins(logits, labels[rows])
        score = metric.value(metric.judged(guesses, labels))
        if stop < n and score < rival.score - SLACK:
            return Known(score, exact=False, evaluated=stop)
    return Known(score, evaluated=n, margins=found)


def race(runs: Iterable[Run], labels: np.ndarray, metric: Metric, rises: bool) -> list[Known]:
    """Trials of models, each against the best before it. The first of equally good models is best.

    Args:
        runs: see `evaluate`. Each runs before the next is asked for.
        labels, metric: see `evaluate`.
        rises: whether the metric has `Metric.rises`. Otherwise all scores are exact.
    """
    tried: list[Known] = []
    best = order = None
    for run in runs:
        tried.append(evaluate(run, labels, metric, best, order))
        finite = tried[-1].margins is not None
        if rises and finite and (best is None or tried[-1].score > best.score):
            best = tried[-1]
            order = np.argsort(best.margins, kind="stable")
    return tried


class Trials:
    """Held-out trials of uniform averages, see `select.Trial`. Results are remembered.

    Args:
        average: mixes the average of some ingredients, and returns the function that runs it.
        own: ingredient to its own `Known` trial, whose margins predict those of averages.
        labels: of the held-out examples, shape (n,).
        metric: of all scores.
        rises: whether the metric has `Metric.rises`. Otherwise all scores are exact.
        reused: whether the scores in ``own`` are those of averages of one ingredient.
    """

    def __init__(
        self,
        average: Callable[[tuple[str, ...]], Run],
        own: Mapping[str, Known],
        labels: np.ndarray,
        metric: Metric,
        rises: bool,
        reused: bool,
    ) -> None:
        self._average, self._own = average, own
        self._labels, self._metric = labels, metric
        self._rises = rises
        self._known = {frozenset([name]): own[name] for name in own} if reused else {}
        self.averages, self.evaluated = 0, 0

    def __call__(self, names: Sequence[str], rival: Sequence[str] = ()) -> Known:
        """The trial of an average against a rival, or its exact score if there is no rival.

        Args:
            names: ingredients of the average.
            rival: ingredients of the soup to beat, which has been tried before.
        """
        key, beaten = frozenset(names), self._known.get(frozenset(rival))
        if beaten is not None and beaten.margins is None:
            beaten = None  # There is no score below NaN.
        known = self._known.get(key)
        if known and (known.exact or (beaten and known.score < beaten.score - SLACK)):
            return known
        order = None
        if not self._rises:
            beaten = None
        elif beaten is not None:
            order = np.argsort(self._predicted(key, frozenset(rival), beaten), kind="stable")
        run = self._average(tuple(names))
        self._known[key] = evaluate(run, self._labels, self._metric, beaten, order)
        self.averages += 1
        self.evaluated += self._known[key].evaluated
        return self._known[key]

    def _predicted(self, names: frozenset, rival: frozenset, beaten: Known) -> np.ndarray:
        """Margins of an average, times its number of ingredients, as if logits were averaged."""
        total = len(rival) * beaten.margins
        for name in sorted(names - rival):
            total = total + self._own[name].margins
        for name in sorted(rival - names):
            total = total - self._own[name].margins
        return total
