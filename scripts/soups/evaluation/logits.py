"""Cached logits of many models, read one model at a time."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from soups.data.images import PreparedSet


class Outputs:
    """What a rule with the workflow's ``LOGITS`` as inputs knows of every model.

    Args:
        job: with ``params.models``, ids in the order of the inputs.
    """

    def __init__(self, job) -> None:
        self.heldout_labels = np.load(job.input.heldout_labels)
        self.sets = [PreparedSet(path) for path in job.input.sets]
        self.models = list(job.params.models)
        self._heldout = dict(zip(self.models, job.input.heldout_logits, strict=True))
        width = len(self.sets)
        self._tests = {
            model: job.input.test_logits[i * width : (i + 1) * width]
            for i, model in enumerate(self.models)
        }

    def heldout(self, model: str) -> np.ndarray:
        """Held-out logits, shape (n, classes)."""
        return np.load(self._heldout[model])

    def tests(self, model: str) -> Iterator[tuple[PreparedSet, np.ndarray]]:
        """The test set and every shift, with logits of shape (n, training classes)."""
        for data, path in zip(self.sets, self._tests[model], strict=True):
            yield data, np.load(path)


def models_of(methods: pd.DataFrame, soups: Mapping[str, dict]) -> Iterator[tuple[str, list[str]]]:
    """Rows of the methods table with the models whose mean each is, but the oracle.

    Args:
        methods: the table.
        soups: soup id to its ``row``.
    """
    for method, kind, members in methods[["method", "kind", "members"]].itertuples(index=False):
        if kind == "oracle":
            continue  # another model on each set
        models = [members if kind == "model" else method]
        if kind == "soup":  # one, or one for each order
            models = [name for name, entry in soups.items() if entry["row"] == method]
        yield method, models
