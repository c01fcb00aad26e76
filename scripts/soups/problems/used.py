"""What the tools for a finished soup ask of a problem."""

from collections.abc import Mapping, Sequence
from typing import Any


class Used:
    """Methods for prediction, verification and export. A run needs none of them."""

    def given(
        self,
        card: Mapping,
        places: Sequence[str],
        listed: str | None = None,
        columns: str | None = None,
    ) -> Any:
        """Open examples without labels, which tools/predict.py was given.

        Args:
            card: of the model, see `models.card`.
            places: files or folders.
            listed: the option ``--list``, or None.
            columns: the option ``--columns``, or None.

        Returns:
            an object with the attributes ``columns``, names of the first columns of the table, and
            ``rows``, a dictionary of them for each example. Its method ``logits(model, threads)``
            yields lists with an entry per example, in order: logits of shape (classes,) and "", or
            None and the reason why the example cannot be read. Then ``remark`` is a sentence about
            all examples, or "".

        Raises:
            UserError: if there is no example, or if an option does not exist for this problem.
        """
        raise NotImplementedError

    def facts(self, card: Mapping) -> list[tuple[str, str]]:
        """Label and text of what a card says about examples and features, for tools/verify.py."""
        raise NotImplementedError

    def compared_logits(self, ours: Any, theirs: Any, card: Mapping) -> tuple[Any, Any]:
        """Logits of a classifier, and of its library's own model, for the same examples.

        Args:
            ours: the classifier, in evaluation mode.
            theirs: see `models.pretrained.Pretrained.native_model`.
            card: of the classifier.
        """
        raise NotImplementedError

    def write_beside(self, folder: Any, library: Any, card: Mapping) -> None:
        """Write the files beside the weights from which transformers prepares examples.

        Args:
            folder: the folder of an exported model.
            library: the model of its library.
            card: of the model.
        """
        raise NotImplementedError
