"""The runs that the record of the evidence has, whether or not their folders are still here."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from _evidence import Run

import _library  # noqa: F401
from soups import files

RUNS = "runs.csv"
NOTE = "record.json"
TABLES = ("methods", "models", "number_of_models", "pairs")
# A row of runs.csv is a test of one run. Where the effects of single runs were not kept, it stands
# for all runs of the column `seeds`, with the mean over them and the standard deviation of a run.
KEYS = ["design", "seeds"]


@dataclass(frozen=True)
class Recorded:
    """What the record says about runs.

    Attributes:
        effects: the tests of these runs, with columns `KEYS`.
        tables: name of a table of `TABLES` to its rows.
        notes: name of a run to what record.json says about it.
    """

    effects: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=KEYS))
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    notes: dict[str, dict] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, every: Sequence[Run]) -> "Recorded":
        """The recorded runs with the settings of today.

        Args:
            folder: of the record.
            every: the runs of the evidence.
        """
        if not all((folder / name).is_file() for name in (RUNS, NOTE)):
            return cls()
        notes = files.read_json(folder / NOTE)["runs"]
        paths = {name: folder / f"{name}.csv" for name in TABLES}
        whole = cls(
            pd.read_csv(folder / RUNS, dtype={"seeds": str}),
            {name: pd.read_csv(path) for name, path in paths.items() if path.is_file()},
            notes,
        )
        same = [
            run.name for run in every if notes.get(run.name, {}).get("settings") == run.settings
        ]
        return whole.of(same)

    def of(self, names: Collection[str]) -> "Recorded":
        """The part of some runs. A row that stands for several runs stays if all are among them."""
        named = self.effects["design"] + "-" + self.effects["seeds"].astype(str)
        here = named.map(lambda text: set(names).issuperset(members(text))).astype(bool)
        kept = {name for text in named[here] for name in members(text)}
        tables = {
            name: table[(table["design"] + "-" + table["sweep_seed"].astype(str)).isin(kept)]
            for name, table in self.tables.items()
        }
        notes = {name: note for name, note in self.notes.items() if name in kept}
        return Recorded(self.effects.loc[here], tables, notes)


def members(named: str) -> list[str]:
    """The names of the runs of a row, such as "weak-0" and "weak-1" of "weak-0 1"."""
    design, seeds = named.rsplit("-", 1)
    return [f"{design}-{seed}" for seed in seeds.split()]
