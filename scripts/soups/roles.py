"""Roles: the parts that rows of the methods table play in claims, figures and tables.

Users name their soups as they like. So the rest of the library never looks for a row by name:
it asks for a role, and `Roles` knows which row plays it. A row plays a role if its method and
options are those of the role, or if ``roles`` in the configuration says so.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

BASE = "base"  # the variant of the sweep that is the sweep itself

# Rows that the workflow makes by itself.
BEST = "best_individual"
SECOND_BEST = "second_best"
ORACLE = "oracle"
INITIALIZATION = "initialization"
ZEROSHOT = "zeroshot"
# Rows that the configuration makes.
UNIFORM = "uniform"
GREEDY = "greedy"
GREEDY_RANDOM = "greedy_random"
LEARNED = "learned"
LEARNED_BY_LAYER = "learned_by_layer"
ENSEMBLE = "ensemble"
GREEDY_ENSEMBLE = "greedy_ensemble"
# Rows of experiments/ablations.yaml: soups of the same models, trained in several ways.
PLAIN = "first_six"
SOUP_OF_EMA = "soup_of_EMA"
SOUP_OF_SWA = "soup_of_SWA"
SOUP_OF_SAM = "soup_of_SAM"
SOUP_WITH_SAM = "soup_with_and_without_SAM"
DISTILLED = "distilled_model"
# The best individual model with its batch statistics measured again.
RECALIBRATED = "best_recalibrated"
# Rows whose gains the small-data study compares, and rows beside them that are no method.
COMPARED = (UNIFORM, GREEDY, LEARNED, ENSEMBLE)
BESIDE = (RECALIBRATED, INITIALIZATION)


@dataclass(frozen=True)
class Role:
    """A part that a row of the methods table can play.

    Attributes:
        name: of the role; a row of the same name has the same title.
        title: of the row in tables and figures.
        section: ``soups`` or ``ensembles``, for rows that the configuration makes.
        method: the method of rows that play the role. Without a method, the role is played by
            the row of its name, or by the row that the configuration names.
        options: options that such rows have, where they differ from the method's defaults.
        of: the role of the soup that such rows are made from.
    """

    name: str
    title: str
    section: str = ""
    method: str | None = None
    options: Mapping = field(default_factory=dict)
    of: str | None = None


ROLES = [
    Role(BEST, "best individual model"),
    Role(SECOND_BEST, "second-best model"),
    Role(UNIFORM, "uniform soup", "soups", "uniform"),
    Role(GREEDY, "greedy soup", "soups", "greedy"),
    Role(GREEDY_RANDOM, "greedy soup, random order", "soups", "greedy_random"),
    Role("greedy_pruned", "greedy soup, pruned", "soups", "greedy_pruned"),
    Role(LEARNED, "learned soup", "soups", "learned", {"groups": "model"}),
    Role("learned_by_block", "learned soup, by block", "soups", "learned", {"groups": "block"}),
    Role(LEARNED_BY_LAYER, "learned soup, by layer", "soups", "learned", {"groups": "tensor"}),
    Role("greedy_wise_ft", "greedy soup, WiSE-FT", "soups", "wise_ft", of=GREEDY),
    Role("model_stock", "Model Stock", "soups", "model_stock"),
    Role("task_arithmetic", "task arithmetic", "soups", "task_arithmetic"),
    Role("ties", "TIES", "soups", "ties"),
    Role("median", "median of weights", "soups", "median"),
    Role("trimmed_mean", "trimmed mean of weights", "soups", "trimmed_mean"),
    Role(PLAIN, "first six", "soups"),
    Role(SOUP_OF_EMA, "soup of EMA", "soups"),
    Role(SOUP_OF_SWA, "soup of SWA", "soups"),
    Role(SOUP_OF_SAM, "soup of SAM", "soups"),
    Role("soup_with_and_without_EMA", "soup with and without EMA", "soups"),
    Role("soup_with_and_without_SWA", "soup with and without SWA", "soups"),
    Role(SOUP_WITH_SAM, "soup with and without SAM", "soups"),
    Role("soup_of_layer_decay", "soup of layer decay", "soups"),
    Role("soup_from_zeroshot_head", "soup from zeroshot head", "soups"),
    Role(DISTILLED, "distilled model", "soups"),
    Role(ENSEMBLE, "ensemble", "ensembles", "uniform", {"average": "logits"}),
    Role("probability_ensemble", "ensemble, probabilities", "ensembles", "uniform",
         {"average": "probabilities"}),
    Role(GREEDY_ENSEMBLE, "greedy ensemble", "ensembles", "greedy", {"average": "logits"}),
    Role("greedy_soup_ensemble", "ensemble of the greedy soup", "ensembles", "members",
         {"average": "logits"}, of=GREEDY),
    Role(ORACLE, "oracle: best model of each set"),
    Role(INITIALIZATION, "initialisation (linear probe)"),
    Role(ZEROSHOT, "zero-shot"),
]  # fmt: skip
TITLES = {role.name: role.title for role in ROLES}
FIXED = [role.name for role in ROLES if not role.section]  # rows whose names are fixed

# Roles in the figure of training variants, from top to bottom.
TRAINED_OTHERWISE = (
    SOUP_OF_EMA, SOUP_OF_SWA, SOUP_OF_SAM, "soup_with_and_without_EMA",
    "soup_with_and_without_SWA", SOUP_WITH_SAM, "soup_of_layer_decay",
    "soup_from_zeroshot_head", DISTILLED, GREEDY, ENSEMBLE,
)  # fmt: skip


def title(row: str) -> str:
    """The title of a row in tables and figures, by its name alone."""
    return TITLES.get(row, _in_words(row))


def _in_words(row: str) -> str:
    return row.replace("_", " ")


class Roles:
    """Which row plays which role.

    Args:
        rows: role to row. A role that no row plays is left out.
    """

    def __init__(self, rows: Mapping[str, str]) -> None:
        self._rows = {name: name for name in FIXED} | dict(rows)
        self._roles: dict[str, str] = {}
        for role, row in self._rows.items():
            # A row may play several roles; its look is that of the role of its own name.
            if row not in self._roles or role == row:
                self._roles[row] = role

    @classmethod
    def named(cls) -> "Roles":
        """Every role is played by the row of its name, as in the published results."""
        return cls({name: name for name in TITLES})

    @classmethod
    def given(cls, rows: Mapping[str, str] | None) -> "Roles":
        """The roles of an experiment, or `named` if it did not say which row plays which."""
        return cls.named() if rows is None else cls(rows)

    def row(self, role: str) -> str | None:
        """The row that plays a role, if any does."""
        return self._rows.get(role)

    def of(self, row: str) -> str | None:
        """The role that a row plays, if any."""
        return self._roles.get(row)

    def among(self, roles: Iterable[str], rows: Iterable[str]) -> dict[str, str]:
        """Role to row, for those of some roles that are played by one of some rows."""
        rows = set(rows)
        return {role: self._rows[role] for role in roles if self._rows.get(role) in rows}

    def title(self, row: str) -> str:
        """The title of a row in tables and figures: that of its role, or its own name in words.

        A row has its role's title only if it has its role's name too. Users therefore find a
        row under the name that they gave it.
        """
        return TITLES[row] if self._rows.get(row) == row else _in_words(row)
