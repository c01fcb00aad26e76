"""Cached logits of many models, read one model at a time."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import pandas as pd

from soups.data.prepared import PreparedSet
from soups.evaluation import metric
from soups.models import usable
from soups.roles import ORACLE


class CachedLogits:
    """The cached logits of every model, for a rule that has the workflow's ``LOGITS`` as inputs.

    Args:
        job: a job whose ``params.models`` lists the model ids in the order of the inputs.

    Attributes:
        heldout_labels: labels of the held-out images, shape (n,).
        sets: the test set and every shift.
        models: model ids.
        metric: the metric of the rule.
    """

    def __init__(self, job) -> None:
        self.heldout_labels = np.load(job.input.heldout_labels)
        self.sets = [PreparedSet(path) for path in job.input.sets]
        self.models = list(job.params.models)
        self.metric = metric.of_job(job)
        self._heldout = dict(zip(self.models, job.input.heldout_logits, strict=True))
        width = len(self.sets)
        self._tests = {
            model: job.input.test_logits[i * width : (i + 1) * width]
            for i, model in enumerate(self.models)
        }

    @property
    def derived(self) -> dict[str, str]:
        """Name of each derived set, such as a corruption, to the set of the original images."""
        return {data.name: data.meta["derived"] for data in self.sets if data.meta["derived"]}

    def usable(self, models: Iterable[str]) -> list[str]:
        """Those of some models that may be chosen, see `usable.by_logits`."""
        return usable.by_logits({model: self._heldout[model] for model in models})

    def heldout(self, model: str) -> np.ndarray:
        """Held-out logits, shape (n, classes)."""
        return np.load(self._heldout[model])

    def tests(self, model: str) -> Iterator[tuple[PreparedSet, np.ndarray]]:
        """Yield the test set and every shift with logits of shape (n, training classes)."""
        for data, path in zip(self.sets, self._tests[model], strict=True):
            yield data, np.load(path)

    def outcomes(self, model: str) -> dict[str, np.ndarray]:
        """Outcomes by `metric` on ``heldout``, the test set and every shift, shape (n,) each."""
        found = {"heldout": self.metric.outcomes(self.heldout(model), self.heldout_labels)}
        for data, logits in self.tests(model):
            found[data.name] = self.metric.outcomes(logits, data.labels, data.members)
        return found


def models_of(methods: pd.DataFrame, soups: Mapping[str, dict]) -> Iterator[tuple[str, list[str]]]:
    """Yield each row of the methods table with the ids of the models whose mean it reports.

    The oracle is left out, because it stands for a different model on each set.

    Args:
        methods: the methods table.
        soups: soup id to an entry whose ``row`` is the soup's row in the table.
    """
    for method, kind, members in methods[["method", "kind", "members"]].itertuples(index=False):
        if kind == ORACLE:
            continue
        models = [members if kind == "model" else method]
        if kind == "soup":  # A row of several random orders stands for several soups.
            models = [name for name, entry in soups.items() if entry["row"] == method]
        yield method, models
