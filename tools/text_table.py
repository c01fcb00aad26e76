"""Print the results on GLUE from recorded runs, and the verdict on the claim about texts.

python tools/text_table.py
python tools/text_table.py --page docs/text.md

A run of a task is a folder results/recorded/glue/<task> or <task>-<seed>, as tools/record.py makes
it. With `--page`, the two tables replace those between the markers of a page.
"""

import argparse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from docs_tables import rewritten

import _library  # noqa: F401
from soups.claims import registry, verdicts
from soups.errors import UserError
from soups.outcomes import NOT_TESTED
from soups.report import presentation
from soups.report.words import Words
from soups.roles import BEST, ENSEMBLE, GREEDY, LEARNED, TITLES, UNIFORM

ROOT = Path(__file__).resolve().parents[1]
RECORDED = ROOT / "results" / "recorded" / "glue"
PUBLISHED = ROOT / "experiments" / "published" / "text.csv"
SHOWN = (BEST, UNIFORM, GREEDY, LEARNED, ENSEMBLE)
CLAIM = 19
CLAIM_HEADER = [
    "over", "greedy − best individual, test (points)", "gain", "no loss",
    "greedy − best individual, mean of shifts (points)", "no loss",
]  # fmt: skip
NEEDED = ("methods", "effects")


@dataclass(frozen=True)
class Run:
    """The tables of one sweep on one task.

    Attributes:
        task: name of the task.
        seed: what follows the task in the folder's name, or "".
        methods, effects: the tables.
    """

    task: str
    seed: str
    methods: pd.DataFrame
    effects: pd.DataFrame

    @classmethod
    def read(cls, folder: Path) -> "Run":
        """Read a folder of the records.

        Raises:
            UserError: if a table is missing.
        """
        for name in NEEDED:
            if not (folder / f"{name}.csv").is_file():
                raise UserError(f"{folder} has no {name}.csv, expected a record of tools/record.py")
        task, _, seed = folder.name.partition("-")
        return cls(task, seed, *(pd.read_csv(folder / f"{name}.csv") for name in NEEDED))

    @property
    def words(self) -> Words:
        """The words for the metric, which is the unit of the claim about texts."""
        [metric] = set(self.tests["unit"])
        return Words(metric, "text")

    @property
    def tests(self) -> pd.DataFrame:
        """The effects of the claim about texts."""
        return self.effects[self.effects["claim"] == CLAIM]


def read(folder: Path) -> list[Run]:
    """All runs in a folder, by task in the order of the paper's table.

    Raises:
        UserError: if there is none.
    """
    runs = [Run.read(path) for path in folder.glob("*") if path.is_dir()]
    if not runs:
        raise UserError(f"{folder} has no folders, expected a recorded run for each task")
    order = list(dict.fromkeys(published()["task"]))
    place = {task: i for i, task in enumerate(order)}
    return sorted(runs, key=lambda run: (place.get(run.task, len(order)), run.task, run.seed))


def published() -> pd.DataFrame:
    """The paper's table: the best individual model and the greedy soup, times 100."""
    return pd.read_csv(PUBLISHED, comment="#")


def results(runs: Iterable[Run]) -> str:
    """A row per run: the methods on the test set, and the paper's numbers."""
    paper = published()
    header = ["task", "sweep", "n", *(TITLES[role] for role in SHOWN), "in the paper"]
    rows: list[list[str]] = []
    shown = set()
    for run in runs:
        table = run.methods.set_index("method")
        told = "; ".join(
            f"{row.model}: {row.best_individual} → {row.greedy}"
            for row in paper[paper["task"] == run.task].itertuples()
        )
        cells = [f"{run.task}, {run.words.quantity}", run.seed or "0"]
        cells += [f"{table['n_test'].iloc[0]:,}"]
        cells += [value(table.loc[role]) if role in table.index else "" for role in SHOWN]
        rows.append([*cells, "" if run.task in shown else told])
        shown.add(run.task)
    return presentation.markdown(header, rows)


def value(row: pd.Series) -> str:
    """A method's metric on the test set times 100, with its interval."""
    number, low, high = (f"{100 * row[f'test{end}']:.1f}" for end in ("", "_lo", "_hi"))
    return f"{number} [{low}, {high}]"


def claim(runs: Iterable[Run]) -> str:
    """A row per task with the claim's effects over its sweeps, and one over the tasks.

    Sweeps of a task share its test set. So the last row is over the means of tasks.
    """
    tasks: dict[str, list[pd.DataFrame]] = {}
    for run in runs:
        tasks.setdefault(run.task, []).append(run.tests)
    judged = {task: over_sweeps(tables) for task, tables in tasks.items()}
    rows = [cells(f"{task}, {count(tasks[task], 'sweep')}", judged[task]) for task in tasks]
    rows.append(cells(count(tasks, "task"), over_tasks(judged, next(iter(tasks.values()))[0])))
    return presentation.markdown(CLAIM_HEADER, rows)


def over_sweeps(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """The tests of one task over its sweeps. A single sweep keeps its interval over texts."""
    table = verdicts.over_sweeps(tables)
    if len(tables) == 1:
        for name in ("effect", "lo", "hi", "verdict"):
            table[f"sweeps_{name}"] = tables[0][name].to_numpy()
    return table


def over_tasks(judged: Mapping[str, pd.DataFrame], tests: pd.DataFrame) -> pd.DataFrame:
    """The verdicts over tasks, each with the mean of its sweeps.

    Args:
        judged: task to the table of `over_sweeps`.
        tests: effects of any run, for the rules.
    """
    rules = tests[["claim", "part", "rule", "margin"]]
    means = [rules.merge(table, on=["claim", "part"]) for table in judged.values()]
    return verdicts.over_sweeps([mean.assign(effect=mean["sweeps_effect"]) for mean in means])


def cells(over: str, judged: pd.DataFrame) -> list[str]:
    """The cells of a row of the claim's table, from the verdicts on its three parts."""
    gain, no_loss, shifted = judged.to_dict("records")
    return [over, effect(gain), verdict(gain), verdict(no_loss), effect(shifted), verdict(shifted)]


def effect(row: Mapping) -> str:
    numbers = {name: row[f"sweeps_{name}"] for name in ("effect", "lo", "hi")}
    return presentation.effect(pd.Series({**numbers, "unit": registry.SCORE}))


def verdict(row: Mapping) -> str:
    if row["sweeps_verdict"] == NOT_TESTED:
        return f"{NOT_TESTED} (fewer than {verdicts.FEWEST})"
    return row["sweeps_verdict"]


def count(things, name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=RECORDED)
    parser.add_argument("--page", type=Path, help="write the tables between the page's markers")
    chosen = parser.parse_args(arguments)
    runs = read(chosen.folder)
    tables = {"glue": results(runs), "claim": claim(runs)}
    if chosen.page:
        text = chosen.page.read_text(encoding="utf-8")
        chosen.page.write_text(rewritten(text, tables), encoding="utf-8")
    else:
        print(*tables.values(), sep="\n", end="")


if __name__ == "__main__":
    try:
        main()
    except (UserError, OSError, ValueError) as error:
        raise SystemExit(f"error: {error}") from None
