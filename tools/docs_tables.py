"""Rewrite the tables and the figure of docs/ that come from registries and records: make docs"""

import re
import textwrap
from pathlib import Path

import _sweeps
import pandas as pd
import yaml
from _evidence import OVERLAYS

import _library  # noqa: F401
from soups import files
from soups.claims import series
from soups.claims.registry import CLAIMS
from soups.experiment.figures import FIGURES
from soups.experiment.registry import ENSEMBLE_METHODS, SOUP_METHODS, Method
from soups.report import presentation, small, style
from soups.report.figures.claims import forest
from soups.report.words import USUAL
from soups.roles import BEST, GREEDY, RECALIBRATED, UNIFORM
from soups.training.schedule import steps

ROOT = Path(__file__).resolve().parents[1]
DOCS, RECORDED = ROOT / "docs", ROOT / "results" / "recorded"
EVIDENCE = RECORDED / "evidence"
NO_RUN = "No run is recorded yet.\n"


def main() -> None:
    for path, tables in pages().items():
        path.write_text(rewritten(path.read_text(encoding="utf-8"), tables), encoding="utf-8")
    style.use()
    style.save(forest(beside()), [EVIDENCE / "forest.png"])


def pages() -> dict[Path, dict[str, str]]:
    """Page to its tables, where the key of a table is the name of its markers."""
    return {
        ROOT / "README.md": {"photographs": readme()},
        DOCS / "methods.md": {
            "methods": methods(SOUP_METHODS.values(), "soup"),
            "ensembles": methods(ENSEMBLE_METHODS.values(), "ensemble"),
        },
        DOCS / "figures-and-claims.md": {"figures": figures()},
        DOCS / "results.md": _sweeps.tables(EVIDENCE),
        DOCS / "photographs.md": {
            **photographs("pacs"),
            "pacs_pairs": pairs_of_models("pacs"),
            "pacs_steps": steps_of_learned("pacs"),
            **photographs("clothing"),
            "cifar10_lite": gains("cifar10_lite"),
            "cifar10_lite_sizes": sizes_of_heldout("cifar10_lite"),
            "small": study("small"),
            "small_world": study("small_world"),
        },
        DOCS / "claims.md": {
            "margins": margins(),
            "designs": designs(),
            "evidence": evidence(),
            "default": default(),
        },
    }


def readme() -> str:
    """Scores and gains over the recorded sweeps on PACS."""
    methods = recorded_sweeps("pacs")
    if methods is None:
        return NO_RUN
    seeds = sorted(methods["sweep_seed"].unique().tolist())
    if len(seeds) == 1:
        told = f"It has the sweep of seed {seeds[0]}, and one sweep has no interval over sweeps."
    else:
        named = f"{', '.join(map(str, seeds[:-1]))} and {seeds[-1]}"
        told = f"It has means over the sweeps of seeds {named}, with 95% intervals over sweeps."
        told += " The sweeps share their images and the linear probe that they start from."
    told = f"The table compares soups with the best single model. {told}"
    return f"{textwrap.fill(told, 104)}\n\n{_sweeps.short(methods, 'sketches')}"


def recorded_sweeps(name: str) -> pd.DataFrame | None:
    """The methods tables of the recorded sweeps of an experiment, or None if there are none.

    Args:
        name: of the experiment, whose record has a folder for each sweep, named by its seed.
    """
    paths = sorted((RECORDED / name).glob("*/methods.csv"))
    sweeps = [pd.read_csv(path).assign(sweep_seed=int(path.parent.name)) for path in paths]
    return pd.concat(sweeps) if sweeps else None


def gains(name: str) -> str:
    """Gains over the recorded sweeps of an experiment."""
    methods = recorded_sweeps(name)
    return NO_RUN if methods is None else _sweeps.gains(methods)


def photographs(name: str) -> dict[str, str]:
    """Gains of an experiment with photographs, and what recalibration changes."""
    methods = recorded_sweeps(name)
    if methods is None:
        return dict.fromkeys((name, f"{name}_recalibrated"), NO_RUN)
    again = [(RECALIBRATED, BEST)]
    for soup in (UNIFORM, GREEDY):
        again += [(f"{soup}_recalibrated", soup), (f"{soup}_recalibrated", RECALIBRATED)]
    return {
        name: _sweeps.gains(methods),
        f"{name}_recalibrated": _sweeps.compared(methods, again),
    }


def pairs_of_models(name: str) -> str:
    """Gains of the midpoints of pairs in the first recorded sweep, by learning rate."""
    path = RECORDED / name / "0" / "pairs.csv"
    if not path.is_file():
        return NO_RUN
    pairs = pd.read_csv(path)
    return _sweeps.by_rate(pairs[pairs["differ"] == "several"])


def steps_of_learned(name: str) -> str:
    """What more steps change in learned soups, over the recorded sweeps of an experiment."""
    default, runs = SOUP_METHODS["learned"].options, []
    more = yaml.safe_load((ROOT / "experiments" / "learned_steps.yaml").read_text(encoding="utf-8"))
    for record, options in ((name, default), (f"{name}_steps", default | more["soups"]["learned"])):
        sweeps = recorded_sweeps(record)
        if sweeps is None:
            return NO_RUN
        runs.append((steps(int(sweeps["n_heldout"].iloc[0]), options)[1], sweeps))
    return _sweeps.by_steps(runs)


def sizes_of_heldout(name: str) -> str:
    """What smaller held-out sets choose in the first recorded sweep."""
    path = RECORDED / name / "0" / "heldout_size.csv"
    return _sweeps.by_heldout_size(pd.read_csv(path)) if path.is_file() else NO_RUN


def study(name: str) -> str:
    """The recorded small-data study, on photographs or on the drawn world."""
    paths = [RECORDED / name / f"{table}.csv" for table in ("summary", "trend")]
    if not all(path.is_file() for path in paths):
        return NO_RUN
    return small.markdown(*map(pd.read_csv, paths)) + "\n"


def rewritten(text: str, tables: dict[str, str]) -> str:
    """The text of a page with new tables between their markers.

    Args:
        text: the page.
        tables: name of the markers to the table.

    Raises:
        ValueError: if the page lacks the markers of a table.
    """
    for name, table in tables.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        if not pattern.search(text):
            raise ValueError(f"the page has no markers {begin} and {end}")
        text = pattern.sub(lambda _, whole=f"{begin}\n{table}{end}": whole, text)
    return text


def methods(registered, kind: str) -> str:
    """A row for each method, with its options and their defaults."""
    rows = [[f"`{m.name}`", m.about, ", ".join(options(m))] for m in registered]
    return presentation.markdown([f"`method` of {kind}", "what it does", "options (default)"], rows)


def options(method: Method) -> list[str]:
    """The options of a method with their defaults. A list is shown by its first and last value."""
    shown = []
    for name, default in method.options.items():
        if isinstance(default, list):
            shown.append(f"`{name}` ({default[0]:g} to {default[-1]:g})")
        elif default is None:
            shown.append(f"`{name}`")
        else:
            shown.append(f"`{name}` ({default})")
    return shown


def figures() -> str:
    """A row for each figure, with the first sentence of its caption and its tables."""
    rows = []
    for figure in FIGURES:
        tables = dict.fromkeys([*figure.tables.values(), *figure.any_of.values()])
        first = re.split(r"(?<=\.) ", USUAL.fill(figure.caption))[0]
        rows.append([f"`{figure.name}`", first, ", ".join(f"`{table}`" for table in tables)])
    return presentation.markdown(["figure", "shows", "tables"], rows)


def margins() -> str:
    """A row for each test of each claim, with its rule and its margin."""
    rows = []
    for claim in CLAIMS:
        for part in claim.parts:
            numbers = {"rule": part.rule, "unit": part.unit, "margin": part.margin.value}
            paper = part.margin.paper
            told = "" if paper is None else f"{100 * paper:+.2f}"
            rule = part.rule.replace("_", " ") + ("" if part.decides else ", beside")
            shown = presentation.margin(pd.Series(numbers))
            rows.append([str(claim.number), part.title(), rule, told, part.margin.source, shown])
    header = ["claim", "test", "rule", "paper's effect", "source of the margin", "margin"]
    return presentation.markdown(header, rows)


def designs() -> str:
    """The designs of the evidence run: their runs, and how long these took."""
    plan = yaml.safe_load((ROOT / OVERLAYS / "plan.yaml").read_text(encoding="utf-8"))
    made = files.read_json(EVIDENCE / "record.json")["runs"]
    rows = []
    for name, spec in plan.items():
        further = len(spec.get("more", []))
        seeds = [*spec["seeds"], *spec.get("more", [])]
        took = [made[run]["minutes"] for seed in seeds if (run := f"{name}-{seed}") in made]
        planned = f"{len(spec['seeds'])}" + (f" + {further}" if further else "")
        claims = ", ".join(map(str, spec["claims"])) or "beside"
        mean = f"{sum(took) / len(took):.1f}" if took else "–"
        rows.append([name, claims, planned, str(len(took)), f"{spec['minutes']:.1f}", mean])
    header = ["design", "claims", "runs", "made", "minutes expected", "minutes taken"]
    return presentation.markdown(header, rows)


def evidence() -> str:
    """The verdicts of the recorded evidence, see `make seeds`."""
    claims = pd.read_csv(EVIDENCE / "claims.csv")
    return presentation.markdown(*presentation.recorded(claims))


def default() -> str:
    """The verdicts of the recorded default run, beside those of the evidence and the paper."""
    return presentation.markdown(*presentation.claims(beside()))


def beside() -> pd.DataFrame:
    """The claims of the recorded default run, with the recorded evidence of today."""
    claims = pd.read_csv(RECORDED / "miniature" / "claims.csv")
    alone = claims.drop(columns=[name for name in claims if name.startswith("evidence_")])
    return series.beside(alone, [EVIDENCE / "claims.csv"])


if __name__ == "__main__":
    main()
