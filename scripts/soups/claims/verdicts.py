"""Tables of the verdicts on the paper's claims: `registry` has the claims, `rules` the rules."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from soups.claims.evidence import Effect, Evidence, MissingEvidence
from soups.claims.registry import CLAIMS, SCORE, Claim, Part
from soups.claims.rules import WEAKEST, bounds, joint, verdict
from soups.evaluation.resampling import pooled
from soups.outcomes import INCONCLUSIVE, NOT_TESTED

NOTHING = Effect(np.nan, np.nan, np.nan, 0, 0)
# A row may stand for several sweeps: `runs` is their number, `effect` the mean over them, and
# `spread` the standard deviation of the effect of one sweep. These are the values of a single one.
ONE = {"runs": 1, "spread": 0.0}
FEWEST = 3  # the smallest number of sweeps with an interval over sweeps


def effects(evidence: Evidence, claims: Sequence[Claim] = tuple(CLAIMS)) -> pd.DataFrame:
    """A row per part of a claim: effect, interval, n, verdict, and what is missing for a test."""
    rows = [
        {"claim": claim.number} | row
        for claim in claims
        for part in claim.parts
        for row in _tests(part, evidence)
    ]
    return pd.DataFrame(rows).round({"effect": 6, "lo": 6, "hi": 6})


def _tests(part: Part, evidence: Evidence) -> list[dict]:
    """The rows of one part: one, or one for each of its effects."""
    try:
        found = part.effect(evidence)
    except MissingEvidence as error:
        return [_row(part, evidence, part.title(), NOTHING, NOT_TESTED, str(error))]
    several = {part.title(): found} if isinstance(found, Effect) else {}
    if not several:
        several = {part.title(which): effect for which, effect in found.items()}
    rows = []
    for name, effect in several.items():
        bounded = effect.value, effect.lo, effect.hi
        decided, missing = verdict(part.rule, part.margin.value, *bounded), ""
        others = (way(evidence) for way in part.ways.values())
        if any(
            verdict(part.rule, part.margin.value, other.value, other.lo, other.hi) != decided
            for other in others
        ):
            decided, missing = INCONCLUSIVE, f"the same verdict with {' and '.join(part.ways)}"
        rows.append(_row(part, evidence, name, effect, decided, missing))
    for row in rows[:-1]:
        row["decides"] = False
    return rows


def _row(
    part: Part, evidence: Evidence, name: str, effect: Effect, decided: str, missing: str = ""
) -> dict:
    return {
        "part": name.replace(SCORE, evidence.metric.name),
        "unit": evidence.metric.name if part.unit == SCORE else part.unit,
        "rule": part.rule,
        "margin": part.margin.value,
        "decides": part.decides,
        "effect": effect.value,
        "lo": effect.lo,
        "hi": effect.hi,
        "images": effect.images,
        "models": effect.models,
        "pairs": effect.pairs,
        "verdict": decided,
        "missing": missing,
    }


def over_sweeps(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The same effects in several sweeps: their mean, Student's 95% interval, and a verdict.

    Args:
        tables: the table of `effects` of each sweep. A row of a table with columns `ONE` may stand
            for several sweeps.

    Returns:
        a row per part with columns ``claim``, ``part``, ``sweeps`` (the number that tested it),
        ``sweeps_effect``, ``sweeps_lo``, ``sweeps_hi`` and ``sweeps_verdict``. The interval needs
        `FEWEST` sweeps, and sweeps whose models are not all the same.
    """
    every = pd.concat([table if "runs" in table else table.assign(**ONE) for table in tables])
    rows = []
    for (claim, part), group in every.groupby(["claim", "part"], sort=False):
        known = group.dropna(subset="effect")
        same = known["effect"].nunique() == 1 and (known["spread"] == 0).all()
        if same and known["effect"].iloc[0]:
            # Equal effects are from the same models, so they count as one sweep. An effect of
            # exactly 0 is an exception: a soup that never takes a bad ingredient loses nothing.
            known = known[:1].assign(runs=1)
        values, sizes, spreads = known[["effect", "runs", "spread"]].to_numpy().T
        mean, low, high = pooled(values, sizes, spreads)
        sweeps = int(sizes.sum())
        if sweeps < FEWEST:
            low = high = np.nan
        lowest = values.min() if sweeps else np.nan
        rule, margin = group["rule"].iloc[0], group["margin"].iloc[0]
        value = lowest if rule == "exact" else mean
        decided = verdict(rule, margin, value, low, high)
        rows.append(
            {
                "claim": claim,
                "part": part,
                "sweeps": sweeps,
                "sweeps_effect": mean,
                "sweeps_lo": low,
                "sweeps_hi": high,
                "sweeps_verdict": decided if sweeps >= FEWEST else NOT_TESTED,
            }
        )
    return pd.DataFrame(rows).round({f"sweeps_{name}": 6 for name in ("effect", "lo", "hi")})


def _support(parts: pd.DataFrame) -> pd.Series:
    """The distance of the interval from what contradicts the claim, in widths of the interval."""
    low, high = np.transpose(list(map(bounds, parts["rule"], parts["margin"])))
    usual = parts["rule"] == "greater"
    above = parts["lo"] - np.where(usual, 0.0, low)
    below = np.where(parts["rule"] == "within", high - parts["hi"], np.inf)
    width = (parts["hi"] - parts["lo"]).clip(lower=1e-9)
    return (np.minimum(above, below) / width).fillna(-np.inf)


def claims_table(parts: pd.DataFrame, claims: Sequence[Claim] = tuple(CLAIMS)) -> pd.DataFrame:
    """A row per claim, with the part that is furthest from being supported.

    Only parts that decide count. The column ``verdicts`` has the number of parts by verdict.

    Args:
        parts: the table of `effects`, which may have the columns of `over_sweeps` and
            `published.columns`.
        claims: the rows, in order.
    """
    further = [name for name in ("sweeps_verdict", "published_verdict") if name in parts]
    rows, whole = [], ["images", "models", "pairs"]
    for claim in claims:
        mine = parts[(parts["claim"] == claim.number) & parts["decides"]]
        row = {"claim": claim.number, "text": claim.text, "verdict": joint(list(mine["verdict"]))}
        row |= {name: joint(list(mine[name].fillna(NOT_TESTED))) for name in further}
        names = ["part", "unit", "rule", "margin", "effect", "lo", "hi", *whole]
        row |= dict.fromkeys(names, np.nan)
        if len(mine):
            worst = min(mine["verdict"], key=WEAKEST.index)
            decides = mine.loc[_support(mine[mine["verdict"] == worst]).idxmin()]
            row |= {name: decides[name] for name in names}
        counts = {name: int((mine["verdict"] == name).sum()) for name in reversed(WEAKEST)}
        told = ", ".join(f"{n} {name}" for name, n in counts.items() if n)
        row |= {"parts": len(mine), "verdicts": told, "figure": claim.figure}
        rows.append(row)
    return pd.DataFrame(rows).astype(dict.fromkeys(whole, "Int64"))
