"""What the finished runs of the evidence say, and its record."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _evidence import DONE, Run
from _recorded import KEYS, NOTE, RUNS, Recorded

import _library  # noqa: F401
from soups import files
from soups.claims import series, verdicts
from soups.evaluation import midpoints
from soups.outcomes import INCONCLUSIVE
from soups.report import presentation

# Tables of the runs that the record holds as well.
GATHERED = ("methods", "models", "number_of_models")
TABLES = (*GATHERED, "pairs")
NONE = Recorded()


def rows_of(every: Sequence[Run], recorded: Recorded) -> pd.DataFrame:
    """All tests of the runs that are finished or recorded, a row each, see `_recorded.KEYS`."""
    made = [
        pd.read_csv(run.effects).assign(design=run.design, seeds=str(run.seed), **verdicts.ONE)
        for run in every
        if run.done
    ]
    return pd.concat([recorded.effects, *made], ignore_index=True) if made else recorded.effects


def evidence(designs: Mapping[str, Mapping], rows: pd.DataFrame) -> pd.DataFrame:
    """The tests of all designs over their runs.

    Args:
        designs: the content of plan.yaml.
        rows: of `rows_of`.
    """
    tables = {key: table.drop(columns=KEYS) for key, table in rows.groupby(KEYS, sort=False)}
    parts = []
    for name, spec in designs.items():
        here = {seeds: table for (design, seeds), table in tables.items() if design == name}
        usual = spec.get("weaker_than")
        if usual:
            pairs = [seeds for seeds in here if (usual, seeds) in tables]
            found = series.weaker(
                [tables[usual, seeds] for seeds in pairs], [here[seeds] for seeds in pairs]
            )
            found += [here[seeds] for seeds in here if " " in seeds]
        else:
            found = list(here.values())
        if found:
            parts.append(series.design(name, found, spec["claims"]))
    return series.combined(parts) if any(map(len, parts)) else pd.DataFrame()


def left_open(
    designs: Mapping[str, Mapping], every: Sequence[Run], recorded: Recorded = NONE
) -> set[str]:
    """The designs with the key `more` whose own runs leave one of their claims inconclusive."""
    own = [run for run in every if not run.further]
    unfinished = {run.design for run in own if not (run.done or run.name in recorded.notes)}
    rows = rows_of(own, recorded.of({run.name for run in own}))
    over, found = evidence(designs, rows), set()
    for name, spec in designs.items():
        mine = over[over["design"] == name] if len(over) else over
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
            table = pd.read_csv(path).drop(columns="members", errors="ignore")
            made.append(table.assign(design=run.design, sweep_seed=run.seed))
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


def record(
    folder: Path,
    designs: Mapping[str, Mapping],
    every: Sequence[Run],
    recorded: Recorded = NONE,
) -> None:
    """Write the verdicts and their numbers after each run, so that an interruption loses none."""
    rows = rows_of(every, recorded)
    files.write_text(folder / RUNS, rows.to_csv(index=False))
    order = {(run.design, run.seed): number for number, run in enumerate(every)}
    further = {name: gathered(every, name) for name in GATHERED} | {"pairs": paired(every)}
    for name, table in further.items():
        whole = pd.concat([recorded.tables.get(name), table], ignore_index=True)
        if whole.empty:
            (folder / f"{name}.csv").unlink(missing_ok=True)
            continue
        places = [order[key] for key in zip(whole["design"], whole["sweep_seed"], strict=True)]
        whole = whole.iloc[np.argsort(places, kind="stable")]
        files.write_text(folder / f"{name}.csv", whole.to_csv(index=False))
    made = {run.name: files.read_json(run.folder / DONE) for run in every if run.done}
    notes = recorded.notes | made
    ordered = {run.name: notes[run.name] for run in every if run.name in notes}
    files.write_json(folder / NOTE, {"command": "make seeds", "runs": ordered})
    parts = evidence(designs, rows)
    if len(parts):
        claims = series.judged(parts)
        files.write_text(folder / "effects.csv", parts.to_csv(index=False))
        files.write_text(folder / "claims.csv", claims.to_csv(index=False))
        shown = presentation.markdown(*presentation.recorded(claims))
        files.write_text(folder / "claims.md", shown)
