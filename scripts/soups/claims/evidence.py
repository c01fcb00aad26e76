"""The evidence of a run for claims: its tables, and the points of its curves.

An effect is positive if it supports the claim. Accuracies, or values of another metric, and their
differences are fractions.
Intervals are 95% bootstrap intervals. They are over images if two methods are compared, and over
images and models if many pairs of models are compared (`resampling.pair_weights`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from soups import problems
from soups.evaluation import resampling
from soups.evaluation.metric import ACCURACY, Metric
from soups.evaluation.samples import load_points
from soups.roles import TITLES, Roles


class MissingEvidence(Exception):
    """A claim needs something that the run lacks. The text names it: "needs <text>"."""


@dataclass(frozen=True)
class Effect:
    """A number with its interval (or NaN), and how many images, models and pairs it is from."""

    value: float
    lo: float
    hi: float
    images: int
    models: int
    pairs: int = 0


def same_model(role: str, other: str) -> MissingEvidence:
    """The error for two roles that are the same model."""
    title = TITLES[role]
    article = "an" if title[0] in "aeio" else "a"
    return MissingEvidence(f"{article} {title} other than the {TITLES[other]}")


class Evidence:
    """Tables and points of a run, read on first use.

    Args:
        tables: name to CSV.
        points: curve to the file that `samples.save_points` wrote.
        large_lr: the smallest learning rate that counts as large.
        roles: which row of the methods table plays which role.
        weaker: tables of the same experiment from a weaker pre-trained model.
        metric: the metric of the tables and points.
        problem: name of the problem that the run solves.
    """

    def __init__(
        self,
        tables: Mapping[str, str | Path],
        points: Mapping[str, str | Path],
        large_lr: float,
        roles: Roles,
        weaker: "Evidence | None" = None,
        metric: Metric = ACCURACY,
        problem: str = problems.DEFAULT,
    ) -> None:
        self.problem = problem
        self._tables, self._points, self.metric = tables, points, metric
        self.large_lr, self._roles, self._weaker = large_lr, roles, weaker
        self._read: dict = {}

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run.

        Raises:
            MissingEvidence: if the run has none of that name, or one without rows.
        """
        if name not in self._tables:
            raise MissingEvidence(f"table {name}")
        if name not in self._read:
            self._read[name] = pd.read_csv(self._tables[name])
        if self._read[name].empty:
            raise MissingEvidence(f"models in table {name} that are not left out")
        return self._read[name]

    def points(self, name: str) -> dict[str, dict[str, np.ndarray]]:
        """Resampled metric of a curve's points: kind to set to (points, 1 + replicates)."""
        if name not in self._points:
            raise MissingEvidence(f"curve {name}")
        if ("points", name) not in self._read:
            arrays, derived = load_points(self._points[name])
            kinds: dict[str, dict] = {}
            for key, values in arrays.items():
                kind, _, part = key.rpartition("/")
                kinds.setdefault(kind, {})[part] = values
            self._read["points", name] = {
                kind: resampling.means(sets, derived, metric=self.metric)
                for kind, sets in kinds.items()
            }
        return self._read["points", name]

    @property
    def weaker(self) -> "Evidence":
        """The evidence of the experiment with the weaker pre-trained model."""
        if self._weaker is None:
            raise MissingEvidence("an experiment with weaker pre-training")
        return self._weaker

    def row(self, role: str) -> str:
        """The row of the methods table that plays a role.

        Raises:
            MissingEvidence: naming the role if no row plays it.
        """
        row = self._roles.row(role)
        if row is None:
            raise MissingEvidence(f"method {role}")
        return row

    def method(self, role: str) -> pd.Series:
        """The columns of the row that plays a role."""
        name, rows = self.row(role), self.table("methods").set_index("method")
        if name not in rows.index:
            raise MissingEvidence(f"method {name}")
        return rows.loc[name]

    def compared(self, better: str, worse: str, measure: str, distinct: bool = True) -> Effect:
        """One role minus another on the same examples, from the table of paired tests.

        Args:
            better, worse: the roles.
            measure: ``test`` or ``shifts_mean``.
            distinct: whether two roles that are the same model are no evidence. Otherwise their
                difference is 0.

        Raises:
            MissingEvidence: if the tables do not have the difference.
        """
        rows = self.table("significance").drop_duplicates(["method", "reference", "measure"])
        rows = rows.set_index(["method", "reference", "measure"])
        both = " ".join(str(self.method(role)["members"]) for role in (better, worse))
        models = len(set(both.split()) - {"|", "nan"})
        ours, theirs = self.row(better), self.row(worse)
        for (one, two), sign in (((ours, theirs), 1), ((theirs, ours), -1)):
            if (one, two, measure) in rows.index:
                row = rows.loc[(one, two, measure)]
                bounds = sorted((sign * row["lo"], sign * row["hi"]))
                differ = any(row[name] != 0 for name in ("difference", "lo", "hi"))
                self.distinct(better, worse, differ or not distinct)
                return Effect(sign * row["difference"], *bounds, int(row["n"]), models)
        raise MissingEvidence(f"{ours} compared with {theirs}")

    def distinct(self, role: str, other: str, differ: bool) -> None:
        """Check that two roles are not the same model.

        A greedy soup that kept one ingredient is the best individual model itself, so their
        difference says nothing about soups. The tables have no coefficients. So two roles count
        as the same model if they have the same members and their accuracies are equal.

        Args:
            differ: whether the accuracies of the two differ, in any resample.

        Raises:
            MissingEvidence: if the two are the same model.
        """
        if not differ and self._members(role) == self._members(other):
            raise same_model(role, other)

    def _members(self, role: str) -> list[frozenset[str]]:
        """The ingredients of a role, one set per distinct order."""
        orders = str(self.method(role)["members"]).split("|")
        return sorted({frozenset(order.split()) for order in orders}, key=sorted)

    @cached_property
    def midpoints(self) -> "Pairs":
        """The middle of every pair of models, from the curves `pairs` and `paths`."""
        parts = []
        for name in ("pairs", "paths"):
            try:
                parts.append(Pairs.middle(self.table(name), self.points(name)))
            except MissingEvidence:
                continue
        if not parts:
            raise MissingEvidence("pairs of models")
        return Pairs.joined(parts)


@dataclass(frozen=True)
class Pairs:
    """Midpoints of pairs: columns of the table, and resampled accuracies of the test set.

    Attributes:
        table: a row per pair.
        soup, ensemble: accuracies of the midpoint's soup and ensemble, of shape
            (pairs, 1 + replicates).
        one, two: accuracies of the two models, of the same shape.
        images: number of images in the test set.
    """

    table: pd.DataFrame
    soup: np.ndarray
    ensemble: np.ndarray
    one: np.ndarray
    two: np.ndarray
    images: int

    @classmethod
    def middle(cls, table: pd.DataFrame, points: Mapping[str, Mapping]) -> "Pairs":
        at = {alpha: np.flatnonzero(np.isclose(table["alpha"], alpha)) for alpha in (0, 0.5, 1)}
        if not len(at[0.5]):
            raise MissingEvidence("an even number of steps, so that lines have midpoints")
        soup, ensemble = points["soup"]["test"], points["ensemble"]["test"]
        return cls(
            table.iloc[at[0.5]].reset_index(drop=True),
            *(soup[at[0.5]], ensemble[at[0.5]], soup[at[0]], soup[at[1]]),
            images=int(table["n_test"].iloc[0]),
        )

    @classmethod
    def joined(cls, parts: list["Pairs"]) -> "Pairs":
        arrays = (
            np.concatenate([getattr(part, name) for part in parts])
            for name in ("soup", "ensemble", "one", "two")
        )
        table = pd.concat([part.table for part in parts], ignore_index=True)
        return cls(table, *arrays, images=parts[0].images)

    def where(self, rows: np.ndarray, kind: str) -> "Pairs":
        """A part of the pairs.

        Args:
            rows: whether each pair is in the part.
            kind: of these pairs, for the error.

        Raises:
            MissingEvidence: if the part is empty.
        """
        if not rows.any():
            raise MissingEvidence(kind)
        arrays = (a[rows] for a in (self.soup, self.ensemble, self.one, self.two))
        return Pairs(self.table[rows].reset_index(drop=True), *arrays, images=self.images)

    @property
    def weights(self) -> np.ndarray:
        return resampling.pair_weights(self.table["model_1"], self.table["model_2"])

    def effect(self, columns: np.ndarray) -> Effect:
        """The effect of a statistic of the pairs, given its resampled values."""
        models = len({*self.table["model_1"], *self.table["model_2"]})
        return Effect(*resampling.interval(columns), self.images, models, len(self.table))
