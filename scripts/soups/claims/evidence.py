"""What a run knows that claims can be tested with: its tables, and the points of its curves.

An effect is positive where it speaks for the claim. Accuracies and their differences are
fractions. Intervals are 95% bootstrap intervals: over images where two methods are compared,
over images and models where many pairs of models are (`resampling.pair_weights`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from soups.evaluation import resampling
from soups.evaluation.samples import load_points


class MissingEvidence(Exception):
    """The run has not computed what a claim needs; the text says what."""


@dataclass(frozen=True)
class Effect:
    """A number with its interval (NaN where there is none), and what it was computed from."""

    value: float
    lo: float
    hi: float
    images: int
    models: int
    pairs: int = 0


class Evidence:
    """Tables and points of a run, read when they are asked for.

    Args:
        tables: name to CSV.
        points: curve to what `samples.save_points` wrote.
        large_lr: learning rates from here on are large.
        weaker: tables of the same experiment from a weaker pre-trained model.
    """

    def __init__(
        self,
        tables: Mapping[str, str | Path],
        points: Mapping[str, str | Path],
        large_lr: float,
        weaker: "Evidence | None" = None,
    ) -> None:
        self._tables, self._points = tables, points
        self.large_lr, self._weaker = large_lr, weaker
        self._read: dict = {}

    def table(self, name: str) -> pd.DataFrame:
        """A table of the run.

        Raises:
            MissingEvidence: if the run has none of that name.
        """
        if name not in self._tables:
            raise MissingEvidence(f"table {name}")
        if name not in self._read:
            self._read[name] = pd.read_csv(self._tables[name])
        return self._read[name]

    def points(self, name: str) -> dict[str, dict[str, np.ndarray]]:
        """Resampled means of a curve's points: kind to set to (points, 1 + replicates)."""
        if name not in self._points:
            raise MissingEvidence(f"curve {name}")
        if ("points", name) not in self._read:
            arrays, derived = load_points(self._points[name])
            kinds: dict[str, dict] = {}
            for key, values in arrays.items():
                kind, _, part = key.rpartition("/")
                kinds.setdefault(kind, {})[part] = values
            self._read["points", name] = {
                kind: resampling.means(sets, derived) for kind, sets in kinds.items()
            }
        return self._read["points", name]

    @property
    def weaker(self) -> "Evidence":
        """The same of the experiment with the weaker pre-trained model."""
        if self._weaker is None:
            raise MissingEvidence("an experiment with weaker pre-training")
        return self._weaker

    def method(self, name: str) -> pd.Series:
        """A row of the methods table."""
        rows = self.table("methods").set_index("method")
        if name not in rows.index:
            raise MissingEvidence(f"method {name}")
        return rows.loc[name]

    def compared(self, better: str, worse: str, measure: str) -> Effect:
        """One method minus another on the same images, from the table of paired tests."""
        rows = self.table("significance").drop_duplicates(["method", "reference", "measure"])
        rows = rows.set_index(["method", "reference", "measure"])
        both = " ".join(str(self.method(name)["members"]) for name in (better, worse))
        models = len(set(both.split()) - {"|", "nan"})
        for (one, two), sign in (((better, worse), 1), ((worse, better), -1)):
            if (one, two, measure) in rows.index:
                row = rows.loc[(one, two, measure)]
                bounds = sorted((sign * row["lo"], sign * row["hi"]))
                return Effect(sign * row["difference"], *bounds, int(row["n"]), models)
        raise MissingEvidence(f"{better} compared with {worse}")

    @cached_property
    def midpoints(self) -> "Pairs":
        """The middle of every pair of models, of whatever pairs the run has."""
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
        soup, ensemble, one, two: of the midpoint's soup and ensemble, and of the two models;
            shape (pairs, 1 + replicates).
        images: of the test set.
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
            raise MissingEvidence("midpoints, which an odd number of steps has none of")
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

    def where(self, rows: np.ndarray) -> "Pairs":
        """Some of the pairs.

        Raises:
            MissingEvidence: if there is none.
        """
        if not rows.any():
            raise MissingEvidence("pairs with such learning rates")
        arrays = (a[rows] for a in (self.soup, self.ensemble, self.one, self.two))
        return Pairs(self.table[rows].reset_index(drop=True), *arrays, images=self.images)

    @property
    def weights(self) -> np.ndarray:
        return resampling.pair_weights(self.table["model_1"], self.table["model_2"])

    def effect(self, columns: np.ndarray) -> Effect:
        """A statistic of the pairs with its interval."""
        models = len({*self.table["model_1"], *self.table["model_2"]})
        return Effect(*resampling.interval(columns), self.images, models, len(self.table))
