"""The content of the report page, from the tables, the figures and the configuration of a run.

The reader's own data comes first: the examples, the methods, the greedy soup and its weights. The
paper's claims follow in a folded section. The template, rules/captions/page.html, has the layout.
"""

import base64
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pandas as pd
import yaml
from jinja2 import Environment, StrictUndefined
from PIL import Image

from soups import files, outcomes
from soups.hyperparameters import START
from soups.outcomes import (
    CHECKED,
    CONTRADICTED,
    INCONCLUSIVE,
    NO_DIFFERENCE,
    NOT_TESTED,
    SUPPORTED,
)
from soups.report import doctor, presentation
from soups.report.words import USUAL, Words
from soups.roles import BEST, GREEDY, Roles, title

# Figures have 300 dots per inch. At this scale their letters are about as large as the text.
DOTS_PER_PIXEL = 2.3
FOLDED = 480  # height in pixels from which the contact sheet is folded
SHEET = "contact_sheet"
FIRST = "scatter"  # follows the methods table
FOREST = "forest"  # opens the section on claims


# What a claim needs if it was not tested: the column `missing` of effects.csv in the words of the
# configuration. A test compares this with all texts that the column can have.
TABLES = {
    "slices": "slices of the sweep (curves.slices)",
    "tasks": "models of several tasks (curves.tasks)",
    "number_of_models": "soups of the first n models (curves.number_of_models)",
    "wise_ft": "lines to the start (curves.wise_ft)",
    "paths": "paths between models (curves.paths)",
}
OTHERS = {
    "pairs of models": "pairs of models (curves.pairs or curves.paths)",
    "an experiment with weaker pre-training": "an experiment from a weaker start (claims.weaker)",
    "a run on texts": "a run on texts (data.source)",
}


@dataclass(frozen=True)
class Picture:
    """A figure as the page embeds it.

    Attributes:
        name: of the figure, and of its anchor.
        caption: see `experiment.figures.Figure`.
        path: of the PNG file.
        number: in the order of the page, or None for the contact sheet.
    """

    name: str
    caption: str
    path: str | Path
    number: int | None = None

    @property
    def data(self) -> str:
        return base64.b64encode(Path(self.path).read_bytes()).decode()

    @property
    def size(self) -> tuple[int, int]:
        """Width and height on the page, in pixels."""
        with Image.open(self.path) as image:
            return round(image.width / DOTS_PER_PIXEL), round(image.height / DOTS_PER_PIXEL)

    @property
    def folded(self) -> bool:
        return self.size[1] > FOLDED

    @property
    def alt(self) -> str:
        """The first sentence of the caption, without its full stop."""
        return self.caption.split(". ")[0].rstrip(".")


@dataclass(frozen=True)
class Soup:
    """The greedy soup: its recipe, and where its weights lie."""

    recipe: Mapping
    weights: str

    @classmethod
    def read(cls, recipes: Sequence[str | Path], weights: Sequence[str]) -> "Soup | None":
        """Return the soup of a recipe's file, or None if no soup plays the role.

        Args:
            recipes: the file of the recipe, or none.
            weights: the file of the weights, or none.
        """
        soups = [
            cls(files.read_json(recipe), path)
            for recipe, path in zip(recipes, weights, strict=True)
        ]
        return soups[0] if soups else None

    @property
    def trace(self) -> list[Mapping]:
        """The candidates in the order of the trials, or none if no greedy method made the soup."""
        steps = self.recipe["selection"].get("trace", [])
        return steps if all("accepted" in step for step in steps) else []

    @property
    def used(self) -> list[str]:
        """The ingredients, and the start, that have a coefficient other than 0."""
        return [
            name
            for name, weight in self.recipe["coefficients"].items()
            if (any(weight.values()) if isinstance(weight, Mapping) else weight)
        ]

    @property
    def members(self) -> list[str]:
        """The ingredients in the order in which they were added, without the start."""
        held = [name for name in self.used if name not in START.values()]
        order = [step["candidate"] for step in self.trace]
        return sorted(held, key=lambda m: order.index(m) if m in order else len(order))

    @property
    def coefficients(self) -> dict[str, float] | None:
        """One coefficient per member, or None if they are equal or differ between tensors."""
        weights = [self.recipe["coefficients"][name] for name in self.members]
        if any(isinstance(weight, Mapping) for weight in weights) or len(set(weights)) == 1:
            return None
        return dict(zip(self.members, weights, strict=True))


def render(
    template: str,
    *,
    name: str,
    folder: str,
    run: Mapping,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Picture],
    roles: Roles,
    soup: Soup | None,
    config: Mapping,
    by_chance: tuple[float, float],
    words: Words = USUAL,
) -> str:
    """Return the page as HTML.

    Args:
        template: in Jinja's language. Every value is escaped.
        name: of the experiment.
        folder, run: see `facts`.
        tables: methods, models, significance, calibration, claims and effects, and data and real
            if the run has them.
        figures: see `pictures`.
        roles: which row plays which role.
        soup: the greedy soup, if there is one.
        config: the configuration of the run.
        by_chance: numbers of claims that chance alone would support and contradict.
        words: for the metric and the examples.
    """
    methods, calibrated = tables["methods"], tables["calibration"]
    calibrated = calibrated[calibrated["set"] == "test"].merge(methods[["method", "kind"]])
    result, warnings = headline(tables, roles, soup, words)
    judged, untested, verdicts = claims(tables["claims"], tables["effects"], figures, words)
    grids = {
        "methods": presentation.methods(methods, shifts=True, roles=roles),
        "calibration": presentation.calibration(tables["calibration"], roles),
        **judged,
    }
    if soup:
        grids["members"] = members(soup, tables["models"])
    if "data" in tables:
        grids["data"] = presentation.data(tables["data"])
    examined, alone = "doctor" in tables, bool(soup) and len(soup.used) == 1
    if examined:
        grids["doctor"] = doctor.grid(tables["doctor"])
        warnings += doctor.warnings(tables["doctor_summary"], alone)
    if "real" in tables:
        grids["real"] = presentation.real(tables["real"], roles)
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    return page.from_string(template).render(
        name=name,
        facts=facts(folder, run),
        result=result,
        warnings=warnings,
        tables=grids,
        looks={"methods": looks(methods, roles), "calibration": looks(calibrated, roles)},
        figures=figures,
        first=FIRST,
        forest=FOREST,
        sheet=SHEET,
        doctor=doctor.NAME,
        examined=doctor.sentences(tables["doctor_summary"], alone) if examined else [],
        links={label(figure): figure.name for figure in figures.values()},
        n={key: f"{methods[f'n_{key}'].iloc[0]:,}" for key in ("heldout", "test", "shifts")},
        over_orders="test_sd" in methods and bool(methods["test_sd"].notna().any()),
        soup=soup,
        chosen=chosen(soup, words) if soup else "",
        prediction=prediction(soup.weights, words) if soup else "",
        words=words,
        top=presentation.TOP,
        verdicts=verdicts,
        outcomes=outcomes,
        untested=untested,
        by_chance=by_chance,
        settings=settings(config),
    )


def looks(methods: pd.DataFrame, roles: Roles) -> list[str]:
    """CSS classes of rows: where a kind begins, and the rows of two roles, which have a tint.

    Args:
        methods: a table with the columns method and kind of `methods.csv`.
        roles: which row plays which role.
    """
    tints = {BEST: "best", roles.row(GREEDY): "greedy"}
    begins = methods["kind"] != methods["kind"].shift()
    return [
        f"{'begins ' if begin else ''}{tints.get(name, '')}".strip()
        for name, begin in zip(methods["method"], begins, strict=True)
    ]


def pictures(figures: Iterable[tuple[str, str, str | Path]]) -> dict[str, Picture]:
    """Figures in the order of the page, numbered.

    Args:
        figures: name, caption and PNG file of each.
    """
    found = {name: (name, caption, path) for name, caption, path in figures}
    order = [name for name in (SHEET, FIRST) if name in found]
    order += sorted((name for name in found if name not in order), key=FOREST.__eq__)
    numbers = {name: i for i, name in enumerate((n for n in order if n != SHEET), start=1)}
    return {name: Picture(*found[name], numbers.get(name)) for name in order}


def facts(folder: str, run: Mapping) -> list[tuple[str, str, bool]]:
    """Label and value of every fact that identifies the run, and whether the value is code.

    Args:
        folder: ``results/<name>``.
        run: the plan of the run, see `jobs.runs.begin`. A key that it lacks is left out.
    """
    known = [("Folder", folder, True)]
    if run.get("begun"):
        known.append(("Last run", moment(run["begun"]), False))
    if run.get("command"):
        known.append(("Command", run["command"], True))
    if run.get("commit"):
        known.append(("Git commit", run["commit"], True))
    return known


def moment(iso: str) -> str:
    """An ISO 8601 moment for readers, such as "2026-11-26 13:01 UTC+00:00"."""
    return datetime.fromisoformat(iso).strftime("%Y-%m-%d %H:%M %Z")


def headline(
    tables: Mapping[str, pd.DataFrame], roles: Roles, soup: Soup | None, words: Words = USUAL
) -> tuple[str, list[str]]:
    """The metric of the greedy soup in a sentence or two, and warnings.

    Args:
        tables: methods and significance.
        roles: which row plays which role.
        soup: the greedy soup, if there is one.
        words: for the metric and the examples.
    """
    methods = tables["methods"].set_index("method")
    few = words.few(int(methods["n_heldout"].iloc[0]))
    warnings = [few] if few else []
    row = roles.row(GREEDY)
    if soup is None or row not in methods.index:
        return "", warnings
    places = {"test": "on the test set", "shifts_mean": "on the mean of the shifts"}
    places = {name: place for name, place in places.items() if name in methods}
    greedy = methods.loc[row]
    has = [f"{words.number(percent(greedy[name]))} {place}" for name, place in places.items()]
    text = f"The greedy soup has {words.of_numbers(has)}."
    best = methods.loc[BEST, "members"]
    if soup.used == [best]:
        return text, [same_model(soup, words), *warnings]
    gains = {name: gain(tables["significance"], row, name) for name in places}
    if all(gains.values()):
        than = [
            f"{difference} points ({low} to {high}) {places[name]}"
            for name, (difference, low, high) in gains.items()
        ]
        than = " and ".join(than).replace("(", "(95% interval ", 1)
        text += f" Compared with the best individual model, {best}, this is {than}."
    if len(soup.members) == 1:
        warnings.insert(0, f"The greedy soup holds one model, {soup.members[0]}.")
    return text, warnings


def same_model(soup: Soup, words: Words) -> str:
    """The sentence for a greedy soup that is the best individual model itself."""
    [member] = soup.members
    why = "It was the only candidate."
    if len(soup.trace) > 1:
        why = f"Every other candidate would have lowered the held-out {words.quantity}."
    return (
        f"The greedy soup is the best individual model itself, {member}. {why} The two rows of "
        "the methods table are the same model, and figures show one on top of the other."
    )


def gain(significance: pd.DataFrame, row: str, measure: str) -> tuple[str, str, str] | None:
    """A row minus the best individual model and the bounds, in points, or None if unknown."""
    for one, two, sign in ((row, BEST, 1), (BEST, row, -1)):
        found = significance[
            (significance["method"] == one)
            & (significance["reference"] == two)
            & (significance["measure"] == measure)
        ]
        if len(found):
            test = found.iloc[0]
            low, high = sorted((sign * test["lo"], sign * test["hi"]))
            return points(sign * test["difference"]), points(low), points(high)
    return None


def members(soup: Soup, models: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the greedy soup's members, in the order in which they were added.

    Args:
        soup: the greedy soup.
        models: `models.csv`.
    """
    table = models.set_index("model")
    steps = {step["candidate"]: step["with"] for step in soup.trace}
    varying = varies(table, list(steps) or soup.members)
    header = ["member", "held-out alone"]
    header += ["soup so far"] if steps else []
    header += ["coefficient"] if soup.coefficients else []
    header += [name.replace("_", " ") for name in varying]
    rows = []
    for name in soup.members:
        known = table.loc[name] if name in table.index else pd.Series(dtype=object)
        cells = [name, percent(known.get("heldout"))]
        cells += [percent(steps.get(name))] if steps else []
        cells += [f"{soup.coefficients[name]:.3g}"] if soup.coefficients else []
        rows.append(cells + [value(known.get(key)) for key in varying])
    return header, rows


def varies(table: pd.DataFrame, candidates: Sequence[str]) -> list[str]:
    """Hyperparameters that differ between some candidates, the seed last.

    Args:
        table: `models.csv`, with models as its index.
        candidates: ids of models.
    """
    columns = list(table.columns)
    start, stop = columns.index("variant") + 1, columns.index("heldout")
    rows = table.loc[[name for name in candidates if name in table.index]]
    names = [name for name in columns[start:stop] if rows[name].nunique() > 1]
    return sorted(names, key=lambda name: name == "seed")


def prediction(weights: str, words: Words = USUAL) -> str:
    """The command that predicts the classes of examples with a file of weights."""
    soup = shlex.quote(weights)
    return f"python tools/predict.py {soup} {words.unlabelled} --out predictions.csv"


def chosen(soup: Soup, words: Words = USUAL) -> str:
    """How a greedy method chose the members, or "" if another method made the soup."""
    if not soup.trace:
        return ""
    if len(soup.trace) == 1:
        return "It holds the only candidate."
    return (
        f"It holds {len(soup.members):,} of {len(soup.trace):,} candidates. They were tried one "
        f"after the other, and each was kept if the held-out {words.quantity} of the soup did not "
        "fall."
    )


def claims(
    table: pd.DataFrame,
    effects: pd.DataFrame,
    figures: Mapping[str, Picture],
    words: Words = USUAL,
) -> tuple[dict, list[tuple[str, str]], str]:
    """The claims that were tested, those that were not, and a summary.

    Args:
        table: `claims.csv`.
        effects: `effects.csv`.
        figures: see `pictures`.
        words: for the examples.

    Returns:
        header and rows of ``claims`` and ``effects`` for the claims that were tested. Every other
        claim with the evidence that it needs. The numbers of verdicts in words.
    """
    verdicts = [name for name in ("verdict", "sweeps_verdict") if name in table]
    is_tested = (table[verdicts].fillna(NOT_TESTED) != NOT_TESTED).any(axis=1)
    tested = table[is_tested]
    header, rows = presentation.claims(tested, words)
    for cells, name in zip(rows, tested["figure"], strict=True):
        cells[-1] = label(figures[name]) if name in figures else ""
    tests = effects[effects["claim"].isin(tested["claim"])]
    tests = tests.assign(missing=tests["missing"].map(in_words, na_action="ignore"))
    shown = {"claims": (header, rows), "effects": presentation.effects(tests, words)}
    for titles, cells in shown.values():
        _keep_counts_together(cells, titles.index("n"))
    others = [
        (f"{row['claim']}. {row['text']}", need(effects[effects["claim"] == row["claim"]]))
        for _, row in table[~is_tested].iterrows()
    ]
    order = (SUPPORTED, CHECKED, NO_DIFFERENCE, CONTRADICTED, INCONCLUSIVE)
    counts = {name: (tested["verdict"] == name).sum() for name in order}
    told = [f"{count} {name}" for name, count in counts.items() if count]
    return shown, others, ", ".join([f"{len(tested)} of {len(table)} tested", *told])


def _keep_counts_together(rows: list[list[str]], column: int) -> None:
    """Let lines break between counts such as "500 images, 2 models", but not within one."""
    for row in rows:
        counts = row[column].split(", ")
        row[column] = ", ".join(count.replace(" ", "\N{NO-BREAK SPACE}") for count in counts)


def need(effects: pd.DataFrame) -> str:
    """A sentence about the evidence that the tests of a claim lacked."""
    *some, last = dict.fromkeys(in_words(missing) for missing in effects["missing"].dropna())
    return f"It needs {', '.join(some)}{' and ' if some else ''}{last}."


def in_words(missing: str) -> str:
    """A text of the column ``missing`` of `effects.csv` in the words of the configuration."""
    kind, _, name = missing.partition(" ")
    if kind in ("table", "curve"):
        return TABLES.get(name, missing)
    if kind == "method":
        return f"the {title(name)}"
    if kind == "slice":
        return f"a slice {name} (curves.slices)"
    if kind == "line":
        return f"a {missing} (curves.wise_ft)"
    if kind == "calibration":
        return f"the {missing}"
    if " compared with " in missing:
        return f"{missing} (compare_with)"
    return OTHERS.get(missing, missing)


def label(figure: Picture) -> str:
    return f"Figure {figure.number}"


def settings(config: Mapping) -> str:
    """The configuration as YAML, with short lists and sections on one line."""
    plain = json.loads(json.dumps(config))  # without references between equal sections
    return yaml.safe_dump(
        plain, sort_keys=False, default_flow_style=None, allow_unicode=True, width=100
    )


def percent(share: float | None) -> str:
    return "" if share is None or pd.isna(share) else f"{100 * share:.1f}"


def points(difference: float) -> str:
    """A difference of accuracies in points, with its sign."""
    return f"{round(100 * difference, 1) + 0.0:+.1f}".replace("-", "−")


def value(cell) -> str:
    """The value of a hyperparameter."""
    if cell is None or pd.isna(cell):
        return ""
    if isinstance(cell, str):
        return cell
    return str(int(cell)) if float(cell).is_integer() else f"{cell:.3g}"
