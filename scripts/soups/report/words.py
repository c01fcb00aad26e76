"""The words of tables, figures, captions and the report page for a metric and a problem."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soups import problems

# Metric to its name in the middle of a sentence, and the same in the plural with its verb's form.
NAMES = {
    "accuracy": ("accuracy", "accuracies"),
    "matthews": ("Matthews correlation", "Matthews correlations"),
    "f1": ("F1", "F1 scores"),
    "macro_f1": ("macro F1", "macro F1 scores"),
    "accuracy_and_f1": ("mean of accuracy and F1", "means of accuracy and F1"),
}
SHORT = {"matthews": "Matthews", "accuracy_and_f1": "(acc. + F1)/2"}  # names on axes
CORRELATIONS = ("matthews",)  # metrics that may be negative, so they are no percentages
NEW_LINE = "\n"
WORTH = 0.005  # share of the held-out set; one example should not be worth more
PLACES = {"test": "test", "heldout": "held-out"}
ONLY_ACCURACY = re.compile(r"\{if accuracy:([^{}]*)\}")
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Words:
    """The words for one metric and one problem.

    Attributes:
        metric: name of the metric in the configuration.
        problem: name of the problem, see `soups.problems`.
    """

    metric: str = "accuracy"
    problem: str = problems.DEFAULT

    @classmethod
    def of(cls, words: Mapping[str, str] | None) -> "Words":
        """The words of ``plan.words``, which is empty for the accuracy on images."""
        return cls(**(words or {}))

    @property
    def _problem(self) -> problems.Problem:
        return problems.named(self.problem)

    @property
    def example(self) -> str:
        """One example: "image" or "text"."""
        return self._problem.example

    @property
    def examples(self) -> str:
        """Several examples: "images" or "texts"."""
        return self._problem.examples

    def few(self, n: int) -> str:
        """A warning if one of n held-out examples is worth more than `WORTH`, else ""."""
        if n * WORTH >= 1:
            return ""
        return (
            f"With {n:,} held-out {self.examples}, one of them is worth {100 / n:.1f} points of "
            "accuracy. The best individual model, the members of soups and all other choices rest "
            f"on few {self.examples}. At least {round(1 / WORTH)} make them more reliable "
            "(data.heldout.fraction or per_class)."
        )

    @property
    def unlabelled(self) -> str:
        """A file or folder that `tools/predict.py` takes."""
        return self._problem.unlabelled

    @property
    def in_unlabelled(self) -> str:
        """The examples in `unlabelled`: "the images in a folder"."""
        return f"the {self.examples} in a {'folder' if self.unlabelled.endswith('/') else 'file'}"

    @property
    def checked(self) -> str:
        """What the check of the data did with examples that have a fault, or ""."""
        return self._problem.checked

    @property
    def is_accuracy(self) -> bool:
        return self.metric == "accuracy"

    @property
    def quantity(self) -> str:
        """The metric in the middle of a sentence: "accuracy"."""
        return NAMES[self.metric][0]

    @property
    def quantities(self) -> str:
        """The metric in the plural: "accuracies"."""
        return NAMES[self.metric][1]

    @property
    def title(self) -> str:
        """The metric at the beginning of a sentence: "Accuracy"."""
        return _capital(self.quantity)

    @property
    def a_quantity(self) -> str:
        """The metric with its article: "an accuracy"."""
        article = "an" if self.quantity[0] in "aeioF" else "a"  # as in "an F1"
        return f"{article} {self.quantity}"

    @property
    def scale(self) -> str:
        """What a number in a table or on an axis is: "%" or "×100"."""
        return "×100" if self.metric in CORRELATIONS else "%"

    @property
    def short(self) -> str:
        """A short name of the metric for axes, in the middle of a label."""
        return SHORT.get(self.metric, self.quantity)

    @property
    def short_title(self) -> str:
        """The same at the beginning of a label."""
        return _capital(self.short)

    @property
    def is_scaled(self) -> str:
        """The same behind the metric in a sentence: "in percent" or "× 100"."""
        return "× 100" if self.metric in CORRELATIONS else "in percent"

    @property
    def are_scaled(self) -> str:
        """The same with a verb, behind the metric in the plural."""
        return "are multiplied by 100" if self.metric in CORRELATIONS else "are in percent"

    @property
    def in_points(self) -> str:
        """What differences are: "in percentage points"."""
        if self.metric in CORRELATIONS:
            return "in points, which are hundredths"
        return "in percentage points"

    def number(self, number: str) -> str:
        """A number of a table as a sentence has it: "71.2%"."""
        return number if self.metric in CORRELATIONS else f"{number}%"

    def of_numbers(self, numbers: Sequence[str]) -> str:
        """The metric with its values: "an accuracy of 71.2% on the test set".

        Args:
            numbers: each from `number`, and where the metric has this value.
        """
        scale = " (×100)" if self.metric in CORRELATIONS else ""
        return f"{self.a_quantity}{scale} of {' and '.join(numbers)}"

    def label(self, measure: str) -> str:
        """The metric on a set, for an axis without its scale.

        Args:
            measure: ``test``, ``heldout``, ``shift`` (any of them) or ``shifts_mean``.
        """
        if measure == "shifts_mean":
            return f"Mean {self.short} over shifts"
        if measure == "shift":
            return f"{self.short_title} under the shift"
        return _capital(f"{PLACES[measure]} {self.short}")

    def axis(self, measure: str) -> str:
        """The label of an axis: "Test accuracy (%)". The arguments are those of `label`."""
        return f"{self.label(measure)} ({self.scale})"

    def upright(self, measure: str, n: int) -> str:
        """The label of a y axis with the number of examples, in two lines if it is long."""
        return f"{self.axis(measure)}{', ' if self.is_accuracy else NEW_LINE}n = {n:,}"

    def narrow(self, measure: str) -> str:
        """The label of the y axis of a low panel, in two lines if it is long."""
        gap = " " if self.is_accuracy else NEW_LINE
        return f"{self.label(measure)}{gap}({self.scale})"

    @property
    def error(self) -> str:
        """What a perfect model has none of: "error" for accuracy."""
        return "error" if self.is_accuracy else f"1 − {self.quantity}"

    @property
    def error_axis(self) -> str:
        """The label of an axis with the error on the test set."""
        return "Test error (%)" if self.is_accuracy else f"1 − test {self.short} ({self.scale})"

    @property
    def placeholders(self) -> dict[str, str]:
        """Placeholder of a caption to its text."""
        return {
            "accuracy": self.quantity,
            "Accuracy": self.title,
            "accuracies": self.quantities,
            "Accuracies": _capital(self.quantities),
            "mean_accuracy": "mean accuracy" if self.is_accuracy else "mean",
            "the_error": f"the {self.error}" if self.is_accuracy else self.error,
            "image": self.example,
            "images": self.examples,
        }

    def fill(self, caption: str) -> str:
        """A caption with its placeholders replaced.

        ``{if accuracy: words}`` stays, with the space before the words, if the metric is accuracy.
        Other text in braces stays as it is.
        """
        text = ONLY_ACCURACY.sub(r"\1" if self.is_accuracy else "", caption)
        known = self.placeholders
        return PLACEHOLDER.sub(lambda found: known.get(found[1], found[0]), text)

    def caption(self, figure: str, usual: str) -> str:
        """The caption of a figure, from the problem or from its usual text."""
        return self.fill(self._problem.captions.get(figure, usual))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


USUAL = Words()  # accuracy on images
