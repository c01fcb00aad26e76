"""Examples to measure speeds with, before any data of an experiment is prepared."""

from collections.abc import Callable, Mapping
from typing import Any


class SampleSet:
    """Examples like those of an experiment. Each problem has a subclass.

    Attributes:
        prepared: bytes of a prepared example.
        stored: bytes of a training example as the experiment stores it.
        notes: sentences about the examples for the text of the estimate.
    """

    prepared: float
    stored: float
    notes: list[str]

    def inputs(self, number: int) -> Any:
        """Some examples, see `problems.Problem.inputs`."""
        raise NotImplementedError

    def loading(self, row: Mapping) -> float:
        """Seconds per example that one process needs to load and transform training examples.

        Args:
            row: hyperparameters of a model.

        Returns:
            0 if measuring the training includes that time.
        """
        return 0.0

    def reading(self) -> float:
        """Seconds per example that one process needs to load training examples as they are."""
        return 0.0

    def preparing(self) -> Mapping[str, Callable[[], float]]:
        """Name of each speed of `problems.Problem.preparation` to a function.

        The function measures the seconds per example.
        """
        raise NotImplementedError
