"""What the finished runs of the evidence say, and its record."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from _evidence import DONE, Run
from _recorded import KEYS, NOTE, RUNS, TABLES, Recorded

import _library  # noqa: F401
from soups import files
from soups.claims import series, verdicts
from soups.evaluation import midpoints
from soups.outcomes import INCONCLUSIVE
from soups.report import presentation

*GATHERED, PAIRS = TABLES  # the last one is computed here
NONE = Recorded()


def rows_of(every: Sequence[Run], recorded: Recorded = NONE) -> pd.DataFrame:
    """All tests of the runs, a row for each test of a run, in the order of the runs.

    Args:
        every: the runs. Those that are finished here count as they are here.
        recorded: the others.
    """
    made = [
        pd.read_csv(run.effects).assign(design=run.design, seeds=str(run.seed), **verdicts.ONE)
        for run in every
        if run.done
    ]
    kept = recorded.of(_away(every)).effects
    parts = [part for part in (kept, *made) if len(part)]
    if not parts:
        return NONE.effects
    rows = pd.concat(parts, ignore_index=True)
    return _in_order(rows, every, rows["seeds"].str.split().str[0])


def _away(every: Sequence[Run]) -> list[str]:
    return [run.name for run in every if not run.done]


def _in_order(table: pd.DataFrame, every: Sequence[Run], seeds: pd.Series) -> pd.DataFrame:
    """A table in the order of the runs that its rows are of."""
    order = {run.name: place for place, run in enumerate(every)}
    places = (table["design"] + "-" + seeds.astype(str)).map(order)
    return table.iloc[np.argsort(places, kind="stable")]


def evidence(designs: Mapping[str, Mapping], rows: pd.DataFrame) -> pd.DataFrame:
    """The tests of all designs over their runs.

    Args:
        designs: the content of plan.yaml.
        rows: of `rows_of`. A run of a weaker start counts if that of the usual start is there too.
    """
    tables = {key: table.drop(columns=KEYS) for key, table in rows.groupby(KEYS, sort=False)}
    parts = []
    for name, spec in designs.items():
        here = {seeds: table for (design, seeds), table in tables.items() if design == name}
        usual = spec.get("weaker_than")
        if usual:
            groups = [seeds for seeds in here if " " in seeds]
            pairs = [seeds for seeds in here if (usual, seeds) in tables]
            found = [here[seeds] for seeds in groups] + series.weaker(
                [tables[usual, seeds] for seeds in pairs], [here[seeds] for seeds in pairs]
            )
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
    over, found = evidence(designs, rows_of(own, recorded)), set()
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
    away = recorded.of(_away(every))
    rows = rows_of(every, recorded)
    files.write_text(folder / RUNS, rows.to_csv(index=False))
    made = {name: gathered(every, name) for name in GATHERED} | {PAIRS: paired(every)}
    for name, table in made.items():
        parts = [part for part in (away.tables.get(name), table) if part is not None and len(part)]
        if not parts:
            (folder / f"{name}.csv").unlink(missing_ok=True)
            continue
        whole = pd.concat(parts, ignore_index=True)
        whole = _in_order(whole, every, whole["sweep_seed"])
        files.write_text(folder / f"{name}.csv", whole.to_csv(index=False))
    notes = away.notes | {run.name: files.read_json(run.folder / DONE) for run in every if run.done}
    ordered = {run.name: notes[run.name] for run in every if run.name in notes}
    files.write_json(folder / NOTE, {"command": "make seeds", "runs": ordered})
    parts = evidence(designs, rows)
    if len(parts):
        claims = series.judged(parts)
        files.write_text(folder / "effects.csv", parts.to_csv(index=False))
        files.write_text(folder / "claims.csv", claims.to_csv(index=False))
        shown = presentation.markdown(*presentation.recorded(claims))
        files.write_text(folder / "claims.md", shown)
