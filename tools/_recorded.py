"""The runs that the record of the evidence has, whether or not their folders are still here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from _evidence import Run

import _library  # noqa: F401
from soups import files

RUNS = "runs.csv"
NOTE = "record.json"
# A row of runs.csv is a test of one run. Where the effects of single runs were not kept, it stands
# for all runs of the column `seeds`, with the mean over them and the standard deviation of a run.
KEYS = ["design", "seeds"]


@dataclass(frozen=True)
class Recorded:
    """What the record says about runs that are not in results/.

    Attributes:
        effects: the tests of these runs, with columns `KEYS`.
        tables: name of a further table of the record to the rows of these runs.
        notes: name of a run to what record.json says about it.
    """

    effects: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=KEYS))
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: dict[str, dict] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, every: Sequence[Run], names: Sequence[str]) -> "Recorded":
        """The recorded runs with the settings of today that are not finished in results/.

        Args:
            folder: of the record.
            every: the runs of the evidence.
            names: the further tables.
        """
        if not all((folder / name).is_file() for name in (RUNS, NOTE)):
            return cls()
        noted = files.read_json(folder / NOTE)["runs"]
        away = {
            run.name
            for run in every
            if not run.done and noted.get(run.name, {}).get("settings") == run.settings
        }
        effects = _within(pd.read_csv(folder / RUNS, dtype={"seeds": str}), away)
        kept = {name for key in _keys(effects) for name in members(*key)}
        there = {name: folder / f"{name}.csv" for name in names}
        tables = {name: pd.read_csv(path) for name, path in there.items() if path.is_file()}
        for name, table in tables.items():
            own = table["design"] + "-" + table["sweep_seed"].astype(str)
            tables[name] = table[own.isin(kept)]
        return cls(effects, tables, {name: noted[name] for name in kept})

    def of(self, names: set[str]) -> "Recorded":
        """The tests of these runs alone."""
        return Recorded(_within(self.effects, names))


def _keys(effects: pd.DataFrame) -> list[tuple[str, str]]:
    return list(zip(effects["design"], effects["seeds"], strict=True))


def _within(effects: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """The rows whose runs are all among these."""
    return effects[[names.issuperset(members(*key)) for key in _keys(effects)]]


def members(design: str, seeds: str) -> list[str]:
    """The names of the runs of a row of runs.csv."""
    return [f"{design}-{seed}" for seed in seeds.split()]
