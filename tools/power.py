"""Simulate how often every test of a claim gives a right, a false, or no verdict.

python tools/power.py

The rules are those of the library. The spreads are measured: the standard error over images, and
the standard deviation between sweeps, are from a recorded run and its sweeps. The tool writes
results/recorded/power.csv and the table in docs/claims.md. It takes seconds, and the seed is fixed.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from docs_tables import rewritten
from scipy.stats import norm

import _library  # noqa: F401
from soups import files
from soups.claims.registry import CLAIMS, ECE, SCORE, Part
from soups.claims.rules import decide
from soups.evaluation.resampling import half_width
from soups.outcomes import CONTRADICTED, INCONCLUSIVE, NO_DIFFERENCE, SUPPORTED
from soups.report import presentation

ROOT = Path(__file__).resolve().parents[1]
MEASURED = ROOT / "results" / "recorded" / "ablations" / "effects.csv"
WRITTEN = ROOT / "results" / "recorded" / "power.csv"
PAGE = ROOT / "docs" / "claims.md"
SEED, DRAWS = 0, 20_000
PLAN = ROOT / "experiments" / "evidence" / "plan.yaml"
TEST, SHIFTS = 20_000, 10_000  # images of `make seeds`
PART = 5_000  # images of all shifts on its curves
# Two sweeps share the test images. Their errors on these images have this correlation, measured as
# that of the per-image differences of two disjoint halves of a sweep.
SHARED = 0.07
# Tests without a recorded row: that of a similar test, or a standard error that is assumed.
LIKE = {
    "weaker start: greedy − best individual, test": "greedy − best individual, test",
    "greedy − best, models with EMA, test": "greedy − best, only seed varies, test",
    "greedy − best, models with SWA, test": "greedy − best, only seed varies, test",
}
ASSUMED = {
    "greedy − uniform, test": (0.0027, 5000),
    "mean of ends − midpoint, both at the largest learning rate, test": (0.0026, 1000),
    "lead of the ensemble with the learning rate, small and medium, test": (0.255, 1000),
    "slope of true on predicted gap, small and medium learning rates, test": (0.3, 1000),
    "slope of true on predicted gap, large learning rates, test": (0.3, 1000),
}
TRUTHS = ("no effect", "half the margin", "the paper's effect")


@dataclass(frozen=True)
class Spread:
    """How an effect varies.

    Attributes:
        error: standard error over images, or over images and models.
        images: the number of images that the error is for.
        between: standard deviation of the true effect between sweeps.
        by_images: whether more images make the error smaller. Correlations over pairs depend on
            the number of models instead.
    """

    error: float
    images: int
    between: float
    by_images: bool

    def at(self, images: int) -> float:
        """The standard error with another number of images."""
        return self.error * (self.images / images) ** 0.5 if self.by_images else self.error


def spreads(parts: list[Part], measured: pd.DataFrame) -> dict[str, Spread]:
    """The spread of every part, by its title.

    Args:
        parts: of all claims.
        measured: effects of a recorded run, with the columns of `verdicts.over_sweeps`.
    """
    rows = measured.set_index("part")
    found, unknown = {}, []
    for part in parts:
        name = LIKE.get(part.title(), part.title())
        by_images = part.unit in (SCORE, ECE)
        if name in rows.index and rows.loc[name, "hi"] > rows.loc[name, "lo"]:
            row = rows.loc[name]
            error, images = (row["hi"] - row["lo"]) / 2 / norm.ppf(0.975), int(row["images"])
            between = _between(row, error)
        else:
            (error, images), between = ASSUMED[name], np.nan
        found[part.title()] = Spread(error, images, between, by_images)
        unknown += [part] if np.isnan(between) else []
    for part in unknown:
        known = [
            found[other.title()].between
            for other in parts
            if other.unit == part.unit and other not in unknown
        ]
        spread, between = found[part.title()], float(np.median(known)) if known else 0.0
        found[part.title()] = Spread(spread.error, spread.images, between, spread.by_images)
    return found


def _between(row: pd.Series, error: float) -> float:
    """The standard deviation between sweeps beyond the error over images, or NaN."""
    if not row["sweeps_hi"] > row["sweeps_lo"]:
        return np.nan
    n = row["sweeps"]
    half = (row["sweeps_hi"] - row["sweeps_lo"]) / 2
    deviation = half / half_width(n)
    return max(deviation**2 - (1 - SHARED) * error**2, 0) ** 0.5


def truths(part: Part) -> dict[str, tuple[float, set[str], set[str]]]:
    """Each true effect, with its right verdicts and its false verdicts.

    Half of the margin is no difference, and its sign is right as well. For "no worse" the true
    effects are losses. A test without a number in the paper has twice its margin for it.
    """
    margin = part.margin.value
    if part.rule == "within":
        cases = (0.0, {CONTRADICTED}), (1 / margin, set()), (1.0, {SUPPORTED})
        false = {SUPPORTED}, {SUPPORTED}, {CONTRADICTED}
    elif part.rule == "no_worse":
        cases = (0.0, {SUPPORTED}), (-margin / 2, {SUPPORTED}), (-2 * margin, {CONTRADICTED})
        false = {CONTRADICTED}, {CONTRADICTED}, {SUPPORTED}
    else:
        cases = (0.0, {NO_DIFFERENCE}), (margin / 2, {NO_DIFFERENCE}), (2 * margin, {SUPPORTED})
        false = {SUPPORTED, CONTRADICTED}, {CONTRADICTED}, {NO_DIFFERENCE, CONTRADICTED}
    return {
        name: (value, right, wrong)
        for name, (value, right), wrong in zip(TRUTHS, cases, false, strict=True)
    }


def one_run(true: float, spread: Spread, images: int, rng) -> tuple[np.ndarray, ...]:
    """Effects of single sweeps with their 95% intervals over images."""
    error = spread.at(images)
    value = true + spread.between * rng.normal(size=DRAWS) + error * rng.normal(size=DRAWS)
    half = norm.ppf(0.975) * error
    return value, value - half, value + half


def sweeps_of(true: float, spread: Spread, images: int, rng, number: int) -> np.ndarray:
    """Effects of several sweeps on the same test images, shape (draws, number)."""
    error, shape = spread.at(images), (DRAWS, number)
    noise = SHARED**0.5 * rng.normal(size=(DRAWS, 1)) + (1 - SHARED) ** 0.5 * rng.normal(size=shape)
    return true + spread.between * rng.normal(size=shape) + error * noise


def over_sweeps(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means over sweeps with Student's 95% intervals, as in `verdicts.over_sweeps`."""
    sweeps, mean = values.shape[1], values.mean(1)
    half = half_width(sweeps) * values.std(1, ddof=1)
    return mean, mean - half, mean + half


def decided(part: Part, values: np.ndarray, first: int) -> np.ndarray:
    """The verdicts of a design that gets its further runs where the first ones are inconclusive.

    Args:
        part: the test.
        values: effects of all runs, shape (draws, runs).
        first: the number of runs without the further ones.
    """
    rule, margin = part.rule, part.margin.value
    found = decide(rule, margin, *over_sweeps(values[:, :first]))
    return np.where(found == INCONCLUSIVE, decide(rule, margin, *over_sweeps(values)), found)


def images_of_seeds(claim: int, part: Part, spread: Spread) -> int:
    """The number of images of a test in `make seeds`, where curves are on all images."""
    if claim == 17:  # the classes of one task
        return 4 * spread.images
    if claim == 15:  # both planes
        return TEST + PART
    return SHIFTS if "mean of shifts" in part.name else TEST


def runs_of_seeds() -> tuple[dict[int, int], dict[int, int]]:
    """Claim to the number of runs of the design that decides it, and the same with further runs."""
    designs = yaml.safe_load(PLAN.read_text(encoding="utf-8")).values()
    first = {claim: len(spec["seeds"]) for spec in designs for claim in spec["claims"]}
    more = {claim: len(spec.get("more", [])) for spec in designs for claim in spec["claims"]}
    return first, {claim: first[claim] + number for claim, number in more.items()}


def simulate(measured: pd.DataFrame) -> pd.DataFrame:
    """A row per claim about images, part that decides, design and true effect."""
    tests = [
        (claim.number, part)
        for claim in CLAIMS
        if claim.number != 19
        for part in claim.parts
        if part.decides and part.rule != "exact"
    ]
    known = spreads([part for _, part in tests], measured)
    rng, rows = np.random.default_rng(SEED), []
    planned, twice = runs_of_seeds()
    for claim, part in tests:
        spread = known[part.title()]
        images = {"one run": spread.images, "make seeds": images_of_seeds(claim, part, spread)}
        sweeps = {"one run": 1, "make seeds": planned[claim]}
        for design, count in images.items():
            for name, (true, right, false) in truths(part).items():
                if sweeps[design] == 1:
                    run = one_run(true, spread, count, rng)
                    found = decide(part.rule, part.margin.value, *run)
                else:
                    values = sweeps_of(true, spread, count, rng, twice[claim])
                    found = decided(part, values, planned[claim])
                every = (SUPPORTED, NO_DIFFERENCE, CONTRADICTED, INCONCLUSIVE)
                shares = {verdict: (found == verdict).mean() for verdict in every}
                row = {"claim": claim, "part": part.title(), "rule": part.rule, "unit": part.unit}
                row |= {"margin": part.margin.value, "design": design, "images": count}
                row |= {"sweeps": sweeps[design], "error": spread.at(count)}
                row |= {"between": spread.between}
                row |= {"truth": name, "effect": true} | shares
                row |= {"right": np.isin(found, list(right)).mean() if right else np.nan}
                rows.append(row | {"false": np.isin(found, list(false)).mean()})
    return pd.DataFrame(rows).round(5)


def page(table: pd.DataFrame) -> str:
    """The table of the page: a row per test, with three columns for each design."""
    header = ["claim", "test", "margin"]
    designs = list(dict.fromkeys(table["design"]))
    for design in designs:
        header += [f"{design}: right at no effect", "at the paper's", "false at most"]
    rows = []
    for (claim, part), mine in table.groupby(["claim", "part"], sort=False):
        cells = [str(claim), part, presentation.margin(mine.iloc[0])]
        for design in designs:
            of = mine[mine["design"] == design].set_index("truth")
            shares = [of.loc[TRUTHS[0], "right"], of.loc[TRUTHS[2], "right"], of["false"].max()]
            cells += [_percent(share) for share in shares]
        rows.append(cells)
    return presentation.markdown(header, rows) + "\n" + expected(table)


def expected(table: pd.DataFrame) -> str:
    """The sentences about false verdicts in a whole table of claims."""
    told = []
    for design, mine in table.groupby("design", sort=False):
        none = mine[mine["truth"] == TRUTHS[0]]
        paper = mine[mine["truth"] == TRUTHS[2]]
        told.append(
            f"In a table of {design}, {none['false'].sum():.1f} of {len(none)} verdicts are false "
            f"on average if no effect exists, and {paper['false'].sum():.1f} if every effect is "
            "the paper's."
        )
    return textwrap.fill(" ".join(told), 106) + "\n"


def _percent(share: float) -> str:
    return "" if np.isnan(share) else f"{100 * share:.0f}%"


def main() -> None:
    table = simulate(pd.read_csv(MEASURED))
    files.write_text(WRITTEN, table.to_csv(index=False))
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(rewritten(text, {"power": page(table)}), encoding="utf-8")


if __name__ == "__main__":
    main()
