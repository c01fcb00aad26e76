"""Tables of the pages about recorded sweeps, with means over sweeps."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

import _library  # noqa: F401
from soups.evaluation import midpoints
from soups.evaluation.gains import MEASURES
from soups.evaluation.resampling import student
from soups.report import presentation
from soups.roles import (
    BEST,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    INITIALIZATION,
    LEARNED,
    LEARNED_BY_LAYER,
    UNIFORM,
    ZEROSHOT,
    title,
)

DESIGN = "sweeps"
# Design to its start, of sweeps that differ in nothing else.
STARTS = {
    DESIGN: "the default's",
    "weak": "pre-trained on half of the images",
    "supervised": "supervised, with a new head",
}
COMPARED = (
    (GREEDY, UNIFORM), (LEARNED, GREEDY), (LEARNED_BY_LAYER, GREEDY), (ENSEMBLE, UNIFORM),
    (ENSEMBLE, GREEDY), (GREEDY_ENSEMBLE, GREEDY),
)  # fmt: skip
SIZES = (2, 3, 4, 6, 8, 12)


def tables(folder: Path) -> dict[str, str]:
    """Name of a table to the table in Markdown.

    Args:
        folder: of the record, with methods.csv, models.csv, number_of_models.csv and pairs.csv.
    """
    names = ("methods", "models", "number_of_models", "pairs")
    every = {name: pd.read_csv(folder / f"{name}.csv") for name in names}
    read = {name: table.query(f"design == {DESIGN!r}") for name, table in every.items()}
    return {
        "sweeps": gains(read["methods"]),
        "compared": compared(read["methods"], COMPARED),
        "starts": starts(every["methods"]),
        "numbers": numbers(read["number_of_models"]),
        "ranks": ranks(read["models"]),
        "midpoints": gains_of_midpoints(read["pairs"]),
    }


def _cell(values: Iterable[float]) -> str:
    mean, low, high = student(np.array(list(values)))
    return f"{mean:+.2f}" + ("" if np.isnan(low) else f" [{low:+.2f}, {high:+.2f}]")


def _scores(methods: pd.DataFrame) -> pd.DataFrame:
    """Percent by seed, with columns (measure, method)."""
    return 100 * methods.pivot(index="sweep_seed", columns="method", values=MEASURES)


def _differences(scores: pd.DataFrame, one: str, other: str) -> list[str]:
    """Cells with the difference of two methods in each measure."""
    return [_cell(scores[measure][one] - scores[measure][other]) for measure in MEASURES]


def gains(methods: pd.DataFrame) -> str:
    """The gain of every method over the best individual model."""
    scores, rows = _scores(methods), []
    for method in [name for name in methods["method"].unique() if name != BEST]:
        cells = []
        for measure in MEASURES:
            gained = scores[measure][method] - scores[measure][BEST]
            cells.append(f"{_cell(gained)} ({(gained > 0).sum()} of {len(gained)})")
        rows.append([title(method), *cells])
    return presentation.markdown(
        ["minus the best individual, points", "test", "mean of shifts"], rows
    )


def short(methods: pd.DataFrame, shift: str) -> str:
    """Mean scores of a few methods, with their gain over the best individual model.

    Args:
        methods: the methods tables of some sweeps, with ``sweep_seed``.
        shift: the words for the mean of the shifts.
    """
    scores, rows = _scores(methods), []
    cost = methods.groupby("method")["inference_cost"].first()
    for method in (BEST, UNIFORM, GREEDY, LEARNED, ENSEMBLE):
        cells = []
        for measure in MEASURES:
            gained = scores[measure][method] - scores[measure][BEST]
            cells.append(f"{scores[measure][method].mean():.1f}")
            cells.append("" if method == BEST else _cell(gained))
        rows.append([title(method), f"{cost[method]:g}×", *cells])
    header = ["", "cost", "test (%)", "gain, points", f"{shift} (%)", "gain, points"]
    return presentation.markdown(header, rows)


def by_rate(pairs: pd.DataFrame) -> str:
    """What the midpoints of pairs gain over the mean of their ends, by learning rate.

    Args:
        pairs: the table ``pairs`` of one sweep. Its pairs are divided into thirds by the geometric
            mean of both rates.
    """
    rows = []
    for _, points in pairs.groupby(["model_1", "model_2"]):
        at = points.set_index("alpha")
        ends, middle = at.loc[[0, 1], MEASURES].mean(), at.loc[0.5]
        gained = {measure: middle[measure] - ends[measure] for measure in MEASURES}
        gained |= {f"ensemble_{m}": middle[f"ensemble_{m}"] - ends[m] for m in MEASURES}
        rows.append({"rate": (middle["lr_1"] * middle["lr_2"]) ** 0.5} | gained)
    table, shown = pd.DataFrame(rows), []
    for _, part in table.groupby(pd.qcut(table["rate"], 3)):
        means = 100 * part.drop(columns="rate").mean()
        rates = f"{part['rate'].min():.2g} to {part['rate'].max():.2g}"
        shown.append([rates, str(len(part)), *(f"{mean:+.1f}" for mean in means)])
    header = ["learning rate", "pairs", "soup, test", "soup, shifts", "ensemble, test"]
    return presentation.markdown([*header, "ensemble, shifts"], shown)


def by_heldout_size(curve: pd.DataFrame) -> str:
    """The best individual model that held-out sets of each size choose, and gains of soups over it.

    Args:
        curve: the table ``heldout_size`` of one sweep. Cells have means over the draws of a size,
            with the smallest and the largest value.
    """
    at, rows = curve.set_index(["method", "per_class", "draw"])[MEASURES].mul(100).sort_index(), []
    for size in sorted(curve["per_class"].unique()):
        cells = []
        for measure in MEASURES:
            best = at.loc[BEST].loc[size][measure]
            gained = [at.loc[name].loc[size][measure] - best for name in (GREEDY, LEARNED)]
            cells += [_range(best, ".1f"), *(_range(gain, "+.1f") for gain in gained)]
        rows.append([str(size), str(len(best)), *cells])
    header = ["images of each class", "draws"]
    for words in ("test", "shifts"):
        header += [f"best individual, {words} (%)", f"greedy − best, {words}"]
        header.append(f"learned − best, {words}")
    return presentation.markdown(header, rows)


def by_steps(runs: Iterable[tuple[int, pd.DataFrame]]) -> str:
    """Gains of learned soups over the best individual model, by their number of steps.

    Args:
        runs: numbers of steps, each with the methods tables of some sweeps.
    """
    rows = []
    for count, methods in runs:
        scores = _scores(methods)
        for method in (LEARNED, LEARNED_BY_LAYER):
            rows.append([title(method), str(count), *_differences(scores, method, BEST)])
    header = ["minus the best individual, points", "steps", "test", "mean of shifts"]
    return presentation.markdown(header, sorted(rows, key=lambda row: row[0]))


def _range(values: pd.Series, form: str) -> str:
    mean = f"{values.mean():{form}}"
    return mean if len(values) == 1 else f"{mean} ({values.min():{form}} to {values.max():{form}})"


def compared(methods: pd.DataFrame, pairs: Sequence[tuple[str, str]]) -> str:
    """Differences of two methods."""
    scores = _scores(methods)
    rows = [
        [f"{title(one)} − {title(other)}", *_differences(scores, one, other)]
        for one, other in pairs
    ]
    return presentation.markdown(["difference, points", "test", "mean of shifts"], rows)


def starts(methods: pd.DataFrame) -> str:
    """Gains over the best individual model from several starts.

    They are over all sweeps of each start, and over the shifts that all starts have.
    """
    here = {name: methods[methods["design"] == name] for name in STARTS}
    here = {name: table for name, table in here.items() if len(table)}
    shifts = [
        name
        for name in presentation.shift_names(methods)
        if all(table[name].notna().any() for table in here.values())
    ]
    rows = []
    for name, table in here.items():
        table = table.assign(shifts_mean=table[shifts].mean(axis=1))
        scores = _scores(table)
        means = scores["test"].mean()
        row = [STARTS[name], *(f"{means[one]:.1f}" for one in (ZEROSHOT, INITIALIZATION, BEST))]
        for measure in MEASURES:
            row += [
                _cell(scores[measure][one] - scores[measure][BEST]) for one in (UNIFORM, GREEDY)
            ]
        rows.append([*row, str(table["sweep_seed"].nunique())])
    sets = ("test", ", ".join(map(presentation.shift_label, shifts)))
    gains_of = [f"{title(one)}, {name}" for name in sets for one in (UNIFORM, GREEDY)]
    accuracies = [f"{one}, test (%)" for one in ("zero-shot", "linear probe", "best individual")]
    header = ["start", *accuracies, *gains_of, "sweeps"]
    return presentation.markdown(header, rows)


def numbers(curve: pd.DataFrame) -> str:
    """The gain of n models over one model, on the test set. Models come in random order."""
    means = 100 * curve.groupby(["method", "n", "sweep_seed"])["test"].mean()
    rows = []
    for n in SIZES:
        cells = [_cell(means[method, n] - means[method, 1]) for method in (BEST, UNIFORM, GREEDY)]
        rows.append([str(n), *cells])
    header = ["models", *(title(method) for method in (BEST, UNIFORM, GREEDY))]
    return presentation.markdown(header, rows)


def ranks(models: pd.DataFrame) -> str:
    """How well held-out accuracy ranks the fine-tuned models of a sweep."""
    tuned = [sweep.dropna(subset="lr") for _, sweep in models.groupby("sweep_seed")]
    lost = [100 * (s["test"].max() - s.loc[s["heldout"].idxmax(), "test"]) for s in tuned]
    found = {
        "rank correlation with the test set": [_rank(s, "test") for s in tuned],
        "rank correlation with the mean of shifts": [_rank(s, "shifts_mean") for s in tuned],
        "best test accuracy − that of the chosen model, points": lost,
    }
    rows = [[name, _cell(values)] for name, values in found.items()]
    return presentation.markdown(["held-out accuracy of the models of a sweep", "mean"], rows)


def _rank(sweep: pd.DataFrame, measure: str) -> float:
    return spearmanr(sweep["heldout"], sweep[measure]).statistic


def gains_of_midpoints(pairs: pd.DataFrame) -> str:
    """What the gain of the midpoint of two models goes with, over the pairs of a sweep."""
    found = [midpoints.correlations(sweep) for _, sweep in pairs.groupby("sweep_seed")]
    rows = [
        [name_of, *(_cell(sweep[name][part] for sweep in found) for part in (0, 1))]
        for name, name_of in midpoints.MEASURES.items()
    ]
    header = ["measure of a pair", "rank correlation with the gain", "given the other two"]
    return presentation.markdown(header, rows)
