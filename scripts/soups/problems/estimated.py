"""What the estimate of the cost asks of a problem, see `soups.cost`."""

from collections.abc import Mapping, Sequence
from typing import Any


class Estimated:
    """Methods for the estimate, and for the check of the space on the disk."""

    def class_names(self, data: Mapping) -> list[str]:
        """Names of the training classes, in the order of their labels.

        Args:
            data: the ``data`` section, which was checked.
        """
        raise NotImplementedError

    def known_numbers(self, config: Mapping, shifts: Sequence[str]) -> dict[str, int]:
        """Set to its number of examples, for the sets whose number needs no look at their files."""
        return {}

    def numbers(self, data: Mapping, corpus: int) -> tuple[dict[str, int], int]:
        """Number of examples of each set, before any data is prepared.

        Args:
            data: the ``data`` section.
            corpus: number of drawn images for pre-training.

        Returns:
            set to its number of examples, where ``train`` holds the held-out ones; and the number
            of examples for pre-training, which ``train`` does not hold.
        """
        raise NotImplementedError

    def prepared_bytes(self, config: Mapping) -> int:
        """Bytes of a prepared example, or 0 if they are not known before it is prepared."""
        return 0

    def classifier_bytes(self, config: Mapping, classes: list[str]) -> int:
        """Bytes of a classifier, found without memory for its weights.

        The arguments are those of `random_model`.
        """
        raise NotImplementedError

    def random_model(self, config: Mapping, classes: list[str]) -> Any:
        """A pre-trained model with random weights, none of which are downloaded.

        Args:
            config: the sections ``data`` and ``model``.
            classes: names of the training classes.
        """
        raise NotImplementedError

    def preparation(self, plan: Mapping, numbers: Mapping[str, int]) -> tuple[int, dict]:
        """Number of jobs that prepare the sets, and name of a speed to a number of examples.

        Args:
            plan: see `cost.estimate.work`.
            numbers: set to its number of examples, see `cost.estimate.Sizes`.
        """
        raise NotImplementedError

    def samples(self, pretrained: Any, data: Mapping, store: str, folder: Any) -> Any:
        """Examples to measure speeds with, a `data.samples.SampleSet`.

        Args:
            pretrained: see `random_model`.
            data: the ``data`` section.
            store: see `store`.
            folder: folder for files.
        """
        raise NotImplementedError
