"""What the finished runs of the evidence say, and its record."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _evidence import DONE, Run
from record import hardware

import _library  # noqa: F401
from soups import files
from soups.claims import series
from soups.evaluation import midpoints
from soups.outcomes import INCONCLUSIVE
from soups.report import presentation

# Tables of the runs that the record holds as well.
GATHERED = ("methods", "models", "number_of_models")


def evidence(designs: Mapping[str, Mapping], every: Sequence[Run]) -> pd.DataFrame:
    """The tests of all designs, from the runs that are finished."""
    tables = {(run.design, run.seed): pd.read_csv(run.effects) for run in every if run.done}
    parts = []
    for name, spec in designs.items():
        here = {seed: table for (design, seed), table in tables.items() if design == name}
        usual = spec.get("weaker_than")
        if usual:
            pairs = [seed for seed in here if (usual, seed) in tables]
            found = series.weaker(
                [tables[usual, seed] for seed in pairs], [here[seed] for seed in pairs]
            )
        else:
            found = list(here.values())
        if found:
            parts.append(series.design(name, found, spec["claims"]))
    return series.combined(parts) if any(map(len, parts)) else pd.DataFrame()


def left_open(designs: Mapping[str, Mapping], every: Sequence[Run]) -> set[str]:
    """The designs with the key `more` whose own runs leave one of their claims inconclusive."""
    own = [run for run in every if not run.further]
    unfinished = {run.design for run in own if not run.done}
    tests, found = evidence(designs, own), set()
    for name, spec in designs.items():
        mine = tests[tests["design"] == name] if len(tests) else tests
        if name in unfinished or "more" not in spec or mine.empty:
            continue
        claims = series.judged(mine).set_index("claim")["verdict"]
        if (claims.loc[spec["claims"]] == INCONCLUSIVE).any():
            found.add(name)
    return found


def gathered(every: Sequence[Run], name: str) -> pd.DataFrame:
    """A table of all finished runs that have it, with their design and the seed of their sweep."""
    made = []
    for run in every:
        path = run.folder / "tables" / f"{name}.csv"
        if run.done and path.is_file():
            made.append(pd.read_csv(path).assign(design=run.design, sweep_seed=run.seed))
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


def paired(every: Sequence[Run]) -> pd.DataFrame:
    """The midpoints of all finished runs with pairs of the sweep, with design and seed."""
    made = []
    for run in every:
        path = run.folder / "tables" / "pairs.csv"
        if not run.done or not path.is_file():
            continue
        pairs = pd.read_csv(path)
        predictions = {
            name: np.load(run.folder / "logits" / name / "test.npy").argmax(1)
            for name in {*pairs["model_1"], *pairs["model_2"]}
        }
        table = midpoints.midpoints(pairs, predictions)
        made.append(table.assign(design=run.design, sweep_seed=run.seed))
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


def record(folder: Path, designs: Mapping[str, Mapping], every: Sequence[Run]) -> None:
    """Write the verdicts and their numbers after each run, so that an interruption loses none."""
    parts = evidence(designs, every)
    for name in GATHERED:
        table = gathered(every, name).drop(columns="members", errors="ignore")
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False))
    files.write_text(folder / "pairs.csv", paired(every).to_csv(index=False))
    took = {f"{run.design}-{run.seed}": files.read_json(run.folder / DONE)["minutes"]
            for run in every if run.done}  # fmt: skip
    note = {"command": "make seeds", "hardware": hardware(), "commit": commit(), "minutes": took}
    files.write_json(folder / "record.json", note)
    if len(parts):
        claims = series.judged(parts)
        files.write_text(folder / "effects.csv", parts.to_csv(index=False))
        files.write_text(folder / "claims.csv", claims.to_csv(index=False))
        shown = presentation.markdown(*presentation.recorded(claims))
        files.write_text(folder / "claims.md", shown)


def commit() -> str | None:
    """The git commit of this folder, or None outside a checkout."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() or None if not found.returncode else None
