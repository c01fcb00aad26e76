"""Evidence from many runs: the tests of several designs, each over its runs.

A design is a set of runs that differ in their sweeps alone, see experiments/evidence/plan.yaml. Its
runs share no model. A design decides some claims, and its other tests are shown beside.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from soups.claims.evidence import same_model
from soups.claims.registry import CLAIMS, Part
from soups.claims.verdicts import FEWEST, ONE, claims_table, over_sweeps
from soups.outcomes import INCONCLUSIVE, NOT_TESTED
from soups.roles import BEST, GREEDY

# Without a gain, the greedy soup is the best individual model itself. One run then says nothing
# about soups. Over runs it is an outcome of the method, and leaving it out would favour the claim.
NO_GAIN = str(same_model(GREEDY, BEST))
WEAKER = 18  # the claim about weaker starts
GAIN = "greedy − best individual, test"
# Claim and test of those that have a row for each learning rate.
AT_RATES = [(c.number, part) for c in CLAIMS for part in c.parts if "{}" in part.name]
COMMON = ("unit", "rule", "margin")  # columns that a test has in every run
COLUMNS = ["claim", "part", *COMMON, "design", "decides", "runs", "effect", "lo", "hi", "verdict"]


def design(name: str, tables: Sequence[pd.DataFrame], claims: Sequence[int]) -> pd.DataFrame:
    """The tests of one design: a row per test that at least one run made.

    Args:
        name: of the design.
        tables: the table of `verdicts.effects` of each run. Its rows stand for several runs if it
            has the columns `verdicts.ONE`.
        claims: the claims that the design decides.

    Returns:
        rows with `COLUMNS`, ``images`` and ``models`` (both summed over runs for models, the most
        for images). A test that decides one of the claims and that no run could make has a row too.
    """
    single = len(tables) == 1 and ("runs" not in tables[0] or tables[0]["runs"].max() == 1)
    tables = tables if single else [with_zeros(table) for table in tables]
    every = pd.concat(tables, ignore_index=True)
    both = every.dropna(subset="effect")
    if both.empty:
        return pd.DataFrame(columns=[*COLUMNS, "images", "models"])
    if single:
        rows = both.assign(runs=1)
    else:
        over = over_sweeps([both])
        over = over.rename(columns={f"sweeps_{key}": key for key in ("effect", "lo", "hi")})
        over = over.rename(columns={"sweeps_verdict": "verdict", "sweeps": "runs"})
        over["verdict"] = over["verdict"].replace(NOT_TESTED, INCONCLUSIVE)
        groups = both.groupby(["claim", "part"], sort=False)
        kept = groups.agg(
            **{key: (key, "first") for key in COMMON},
            decides=("decides", "max"),
            images=("images", "max"),
            models=("models", "sum"),
        )
        rows = over.merge(kept.reset_index(), on=["claim", "part"])
    rows = rows.assign(decides=_deciding(rows) & rows["claim"].isin(claims))
    rows = pd.concat([rows, _never_made(every, rows, claims)], ignore_index=True)
    return rows.assign(design=name)[[*COLUMNS, "images", "models"]]


def with_zeros(table: pd.DataFrame) -> pd.DataFrame:
    """A table of effects, where a greedy soup that is the best model has a gain of 0.

    The claim about weaker starts compares two runs, so it has no effect in one.
    """
    table = table.copy()
    same = (table["missing"] == NO_GAIN) & (table["unit"] != "ECE") & (table["claim"] != WEAKER)
    table.loc[same, ["effect", "lo", "hi"]] = 0.0
    table.loc[same, "missing"] = np.nan
    return table


def _deciding(rows: pd.DataFrame) -> pd.Series:
    """Which rows decide their claims: of a test at several learning rates, the largest alone.

    The largest rate counts that more than half of the runs have, and at least `FEWEST`. In every
    run the largest rate with two good models decides, so runs may differ in it.
    """
    runs = rows["runs"].max()
    decides = rows["decides"].astype(bool).copy()
    for number, part in AT_RATES:
        mine = rows[_at_a_rate(rows, number, part)]
        if len(mine):
            enough = mine[mine["runs"] >= max(FEWEST, runs // 2 + 1)]
            rate = (enough if len(enough) else mine)["part"].str.extract(r"rate (\S+),")[0]
            decides[mine.index] = False
            decides[rate.astype(float).idxmax()] = part.decides
    return decides


def _at_a_rate(rows: pd.DataFrame, claim: int, part: Part) -> pd.Series:
    """Which rows are of a test at a learning rate."""
    begin, end = part.name.split("{}")
    names = rows["part"].str
    return (rows["claim"] == claim) & names.startswith(begin) & names.endswith(end)


def _never_made(every: pd.DataFrame, made: pd.DataFrame, claims: Sequence[int]) -> pd.DataFrame:
    """A row for each test that should decide a claim, and that no run could make.

    Without it, the other tests alone would decide the claim.
    """
    wanted = every[every["decides"].astype(bool) & every["claim"].isin(claims)]
    known = pd.MultiIndex.from_frame(made[["claim", "part"]])
    never = ~pd.MultiIndex.from_frame(wanted[["claim", "part"]]).isin(known)
    rows = wanted[never].drop_duplicates(["claim", "part"])
    for number, part in AT_RATES:
        if _at_a_rate(made, number, part).any():
            rows = rows[(rows["claim"] != number) | (rows["part"] != part.title())]
    return rows.assign(runs=0, images=0, models=0, verdict=NOT_TESTED)


def weaker(usual: Sequence[pd.DataFrame], weak: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """The tests of the claim about weaker starts, a table per pair of runs of one sweep.

    Args:
        usual: the tables of `verdicts.effects` from the usual start.
        weak: those of the same sweeps from the weaker start.
    """
    parts = next(claim for claim in CLAIMS if claim.number == WEAKER).parts
    made = []
    for one, two in zip(usual, weak, strict=True):
        ours, theirs = (
            table[(table["claim"] == 1) & (table["part"] == GAIN)].iloc[0]
            for table in map(with_zeros, (one, two))
        )
        rows = []
        for part, value, runs in zip(
            parts,
            (theirs["effect"], ours["effect"] - theirs["effect"]),
            ([theirs], [ours, theirs]),
            strict=True,
        ):
            # A pair alone has no interval. The interval is over pairs.
            row = {"claim": WEAKER, "part": part.title(), "unit": ours["unit"], "rule": part.rule}
            row |= {"margin": part.margin.value, "decides": True, "effect": value}
            row |= {"lo": np.nan, "hi": np.nan, "verdict": INCONCLUSIVE, "missing": np.nan}
            row |= {"images": ours["images"], "models": sum(run["models"] for run in runs)}
            rows.append(row | ONE)
        made.append(pd.DataFrame(rows))
    return made


def combined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """All tests of all designs, in the order of the claims.

    Args:
        parts: the rows of `design`.
    """
    table = pd.concat([part for part in parts if len(part)], ignore_index=True)
    table = table.sort_values("claim", kind="stable").reset_index(drop=True)
    return table.round({"effect": 6, "lo": 6, "hi": 6})


def judged(parts: pd.DataFrame) -> pd.DataFrame:
    """A row per claim with its verdict, and the test that decides it, see `verdicts.claims_table`.

    Args:
        parts: the rows of `combined`.
    """
    table = claims_table(parts.assign(pairs=0), CLAIMS)
    of = parts[parts["decides"]].drop_duplicates(["claim", "part"])
    keys = of.set_index(["claim", "part"])[["design", "runs"]]
    return table.drop(columns=["pairs", "figure"]).join(keys, on=["claim", "part"])


def beside(claims: pd.DataFrame, recorded: Sequence[str | Path]) -> pd.DataFrame:
    """A table of claims, with columns ``evidence_…`` of recorded evidence, if there is any.

    Args:
        claims: the table of `verdicts.claims_table`.
        recorded: the file with the table of `judged`, or none.
    """
    if not recorded:
        return claims
    [path] = recorded
    names = ["verdict", "part", "unit", "rule", "margin", "effect", "lo", "hi", "runs", "design"]
    theirs = pd.read_csv(path).set_index("claim")[names].add_prefix("evidence_")
    made = claims.join(theirs, on="claim")
    made["evidence_verdict"] = made["evidence_verdict"].fillna(NOT_TESTED)
    return made.astype({"evidence_runs": "Int64"})
