"""What the configuration and the plan ask of a problem, while Snakemake parses the workflow."""

from collections.abc import Mapping
from typing import Any


class Planned:
    """Methods that run in every parse of the workflow.

    They must not import torch, pandas or a model library. All modules that a method needs are
    imported inside of it.
    """

    def check(self, config: dict) -> list[str]:
        """Check the sections ``data`` and ``model``, and fill in defaults in place.

        Returns:
            names of the training classes, in the order of their labels.

        Raises:
            UserError: one sentence with the key, its value and what was expected.
        """
        raise NotImplementedError

    def shifts(self, data: Mapping) -> list[str]:
        """Names of the shifts in the order of the ``data`` section, without those set to null."""
        raise NotImplementedError

    def offered_shifts(self, data: Mapping) -> list[str]:
        """Shifts that null switches off although no configuration file has to add them."""
        return []

    def store(self, data: Mapping) -> str:
        """How training examples are stored, see `data.prepared.train_paths`."""
        return "array"

    def source(self, data: Mapping) -> Any:
        """The object that the rules of this problem read as ``plan.source``, or None.

        It has the attribute ``classes``, names of the training classes.
        """
        raise NotImplementedError

    def rules(self, data: Mapping) -> str:
        """File in ``rules/`` with the rules that make the prepared sets."""
        raise NotImplementedError

    def tables(self, source: Any) -> list[str]:
        """Names of tables of the report that only this problem has.

        Args:
            source: see `source`.
        """
        return []

    def has_zeroshot(self, model: Mapping) -> bool:
        """Whether the ``model`` section describes a model with a zero-shot head."""
        return False

    def model_settings(self, config: Mapping) -> dict:
        """Settings of a pre-trained model that only this problem has, see `family`."""
        return {}

    def metric(self, data: Mapping) -> str:
        """The metric of the ``data`` section, where the key ``metric`` names none."""
        return "accuracy"
