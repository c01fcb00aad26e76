"""The metric that chooses and compares models: accuracy, or a function of a confusion matrix.

The *outcomes* of a model on a set are an array. For accuracy, they are a bool per example (right or
wrong), or the mean of these over several models. For all other metrics they are codes, see
`confusion`.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from soups.errors import UserError
from soups.evaluation import confusion, stratified
from soups.evaluation.metrics import bootstrap_mean, by_images, predicted, restrict


class Metric:
    """Accuracy, and the interface of the other metrics.

    Attributes:
        name: value of the configuration's key ``metric``.
    """

    name = "accuracy"

    def outcomes(
        self,
        logits: np.ndarray,
        labels: np.ndarray,
        members: Sequence[Sequence[int]] | None = None,
    ) -> np.ndarray:
        """The outcome of every example, shape (n,). Without finite logits, no class is predicted.

        Args:
            logits: shape (n, training classes).
            labels: shape (n,).
            members: training classes of each class of the set, see `metrics.restrict`; None if the
                classes are the training classes.
        """
        logits = logits if members is None else restrict(logits, members)
        return self.judged(predicted(logits), labels)

    def judged(self, guesses: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The outcome of every example, shape (n,).

        Args:
            guesses: predicted class, or -1 for an example without a prediction, shape (n,).
            labels: shape (n,).
        """
        return guesses == labels

    def rises(self, classes: int) -> bool:
        """Whether the metric never falls if a wrong prediction is replaced by the right one.

        Args:
            classes: number of classes.
        """
        return True

    def value(self, outcomes: np.ndarray) -> float:
        """The metric of outcomes."""
        return float(outcomes.mean())

    def of(self, logits: np.ndarray, labels: np.ndarray) -> float:
        """The metric of logits, whose classes are the training classes."""
        return self.value(self.outcomes(logits, labels))

    def together(self, outcomes: Sequence[np.ndarray]) -> np.ndarray:
        """Outcomes of several models on one set, whose value is the mean of their values."""
        return np.mean(outcomes, axis=0)

    def interval(
        self, outcomes: Mapping[str, np.ndarray], derived: Mapping[str, str]
    ) -> tuple[float, float]:
        """95% bootstrap bounds of the plain mean of the metric over sets.

        Args:
            outcomes: set name to outcomes.
            derived: name of a derived set to the set that its examples were derived from. Both
                are resampled together.
        """
        return bootstrap_mean(*by_images(outcomes, derived))


class Confusion(Metric):
    """A metric that is a function of the confusion matrix.

    Args:
        name: see `Metric`.
        score: the function.
        classes: the number of classes that it needs, None for any.
    """

    def __init__(self, name: str, score: confusion.Score, classes: int | None = None) -> None:
        self.name, self.score, self.classes = name, score, classes

    def outcomes(self, logits, labels, members=None):
        """Codes, shape (n,).

        Raises:
            UserError: if the metric needs another number of classes.
        """
        logits = logits if members is None else restrict(logits, members)
        if self.classes not in (None, logits.shape[1]):
            raise UserError(
                f"metric is {self.name!r}, which needs {self.classes} classes, but a set has "
                f"{logits.shape[1]}, expected metric: matthews, macro_f1 or accuracy"
            )
        return self.judged(predicted(logits), labels)

    def judged(self, guesses, labels):
        return confusion.encode(guesses, labels)

    def rises(self, classes):
        # For more than two classes, the correlation of Gorodkin can fall.
        return self.score is not confusion.matthews or classes == 2

    def value(self, outcomes):
        return confusion.value(self.score, outcomes)

    def together(self, outcomes):
        return np.concatenate([np.atleast_2d(codes) for codes in outcomes])

    def interval(self, outcomes, derived):
        return stratified.bootstrap(self.score, stratified.groups(outcomes, derived))


ACCURACY = Metric()
METRICS = {
    metric.name: metric
    for metric in (
        ACCURACY,
        Confusion("matthews", confusion.matthews),
        Confusion("f1", confusion.f1, classes=2),
        Confusion("macro_f1", confusion.macro_f1),
        Confusion("accuracy_and_f1", confusion.accuracy_and_f1, classes=2),
    )
}


def of_job(job) -> Metric:
    """The metric of a rule, whose parameters name it if it is not accuracy."""
    return METRICS[getattr(job.params, "metric", ACCURACY.name)]
