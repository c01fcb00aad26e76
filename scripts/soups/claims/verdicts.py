"""The paper's claims, the tests of each claim, and the rules that give verdicts.

All of this is fixed and the same for every run. A claim has parts. Each part has an effect, which
is positive if it supports the claim, and one of these rules:

- ``greater``: supported if the interval lies above 0, and not supported if it lies below 0.
- ``no_worse``: the same against −`MARGIN`, for claims that nothing is lost.
- ``exact``: true by construction, so supported unless the effect is below 0.

An effect is inconclusive if its interval contains the bound. A claim is supported if all its
parts are supported, and not supported if one part is not supported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t as student

from soups.claims import effects as seen
from soups.claims.effects import Find, method_difference
from soups.claims.evidence import Effect, Evidence, MissingEvidence
from soups.evaluation.metric import ACCURACY
from soups.outcomes import INCONCLUSIVE, MARGIN, NOT_SUPPORTED, NOT_TESTED, SUPPORTED
from soups.roles import (
    BEST,
    DISTILLED,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    GREEDY_RANDOM,
    LEARNED,
    LEARNED_BY_LAYER,
    PLAIN,
    SOUP_OF_EMA,
    SOUP_OF_SAM,
    SOUP_OF_SWA,
    SOUP_WITH_SAM,
    UNIFORM,
)

FEWEST = 3  # the smallest number of sweeps with an interval over sweeps
SCORE = ACCURACY.name  # unit of an effect that is a difference of the metric


@dataclass(frozen=True)
class Part:
    """One test of a claim.

    Attributes:
        name: the effect in words.
        effect: the function that computes the effect.
        rule: ``greater``, ``no_worse`` or ``exact``.
        unit: `SCORE` or ``ECE`` (both are fractions), or ``rank correlation``. The table of effects
            has the name of the metric in place of `SCORE`.
    """

    name: str
    effect: Find
    rule: str = "greater"
    unit: str = SCORE


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: its number, its text, its tests, and the figure that shows it."""

    number: int
    text: str
    parts: Sequence[Part]
    figure: str


def verdict(rule: str, value: float, lo: float, hi: float) -> str:
    """The verdict on one effect."""
    if rule == "exact":
        return SUPPORTED if value >= 0 else NOT_SUPPORTED
    if not np.isfinite([value, lo, hi]).all():
        return INCONCLUSIVE
    bar = {"greater": 0.0, "no_worse": -MARGIN}[rule]
    if lo > bar:
        return SUPPORTED
    return NOT_SUPPORTED if hi < bar else INCONCLUSIVE


def joint(verdicts: Sequence[str]) -> str:
    """The verdict on a claim from the verdicts on its parts.

    A claim is inconclusive if some parts are supported and the others are not tested.
    """
    tested = [v for v in verdicts if v != NOT_TESTED]
    if not tested:
        return NOT_TESTED
    if NOT_SUPPORTED in tested:
        return NOT_SUPPORTED
    return SUPPORTED if set(verdicts) == {SUPPORTED} else INCONCLUSIVE


def _over(better: str, worse: str, measure: str = "test", rule: str = "greater") -> Part:
    """One role minus another, with a name made of the names of the roles."""
    names = {BEST: "best individual", "test": "test", "shifts_mean": "mean of shifts"}
    label = [names.get(name, name.replace("_", " ")) for name in (better, worse, measure)]
    return Part("{} − {}, {}".format(*label), method_difference(better, worse, measure), rule)


CORRELATION = "rank correlation"
CLAIMS = [
    Claim(1, "The greedy soup beats the best individual model, in distribution and under shift.",
          [_over(GREEDY, BEST), _over(GREEDY, BEST, "shifts_mean")], "scatter"),
    Claim(2, "Bad ingredients hurt the uniform soup, not the greedy one.",
          [Part("uniform without − with large learning rates, test",
                seen.bad_ingredients(UNIFORM)),
           Part("greedy with − without large learning rates, test",
                lambda e: _negative(seen.bad_ingredients(GREEDY)(e)), "no_worse")], "large_lr"),
    Claim(3, "The greedy soup is never worse than the best individual on the held-out set.",
          [Part("greedy − best individual, held-out", seen.heldout_check, "exact")],
          "greedy_trace"),
    Claim(4, "Greedy in random order is worse in distribution than in sorted order.",
          [_over(GREEDY, GREEDY_RANDOM)], "methods"),
    Claim(5, "Learned soups are about as good as greedy; by layer better in distribution.",
          [_over(LEARNED, GREEDY, rule="no_worse"), _over(LEARNED_BY_LAYER, GREEDY)],
          "methods"),
    Claim(6, "Ensembles beat soups in distribution, soups beat ensembles under shift.",
          [_over(ENSEMBLE, UNIFORM), _over(UNIFORM, ENSEMBLE, "shifts_mean"),
           _over(GREEDY_ENSEMBLE, GREEDY),
           _over(GREEDY, GREEDY_ENSEMBLE, "shifts_mean")], "methods"),
    Claim(7, "The midpoint of two models is as good as both; large learning rates have a barrier.",
          [Part("midpoint − better end, small and medium learning rates, test",
                seen.midpoint_over_ends, "no_worse"),
           Part("mean of ends − midpoint, large learning rates, test", seen.barrier)], "paths"),
    Claim(8, "The midpoint's gain grows with the angle between the two models.",
          [Part("gain with angle, test", seen.gain_and_angle, unit=CORRELATION)], "angles"),
    Claim(9, "Over pairs, soup and ensemble go together; who wins depends on the learning rate.",
          [Part("soup with ensemble, test", seen.soup_and_ensemble, unit=CORRELATION),
           Part("lead of the ensemble, large − other learning rates, test",
                seen.large_lr_favours_ensembles)], "soup_vs_ensemble"),
    Claim(10, "More ingredients do not hurt; accuracy grows with their number.",
          [Part(f"{role} soup's accuracy with n, test", seen.growth(role), unit=CORRELATION)
           for role in (UNIFORM, GREEDY)]
          + [Part(f"{role} soup of all − of half, test", seen.last_half(role), "no_worse")
             for role in (UNIFORM, GREEDY)], "number_of_models"),
    Claim(11, "Varying a single hyperparameter also gives a gain.",
          [Part(f"greedy − best, only {name} varies, test", seen.within_slice(name))
           for name in ("lr", "augment", "seed")], "slices"),
    Claim(12, "Ensembles improve calibration, soups do not.",
          [Part("ECE: best individual − ensemble, test", seen.calibration_gain(ENSEMBLE),
                unit="ECE"),
           Part("ECE: greedy − best individual, test",
                lambda e: _negative(seen.calibration_gain(GREEDY)(e)), "no_worse", "ECE")],
          "reliability"),
    Claim(13, "EMA and SWA compose with soups; with and without SAM mix to better than either.",
          [_over(SOUP_OF_EMA, PLAIN, rule="no_worse"),
           _over(SOUP_OF_SWA, PLAIN, rule="no_worse"),
           _over(SOUP_WITH_SAM, PLAIN),
           _over(SOUP_WITH_SAM, SOUP_OF_SAM)], "averaging"),
    Claim(14, "A soup is comparable to, or better than, distilling the ensemble.",
          [_over(GREEDY, DISTILLED, rule="no_worse"),
           _over(GREEDY, DISTILLED, "shifts_mean", "no_worse")], "averaging"),
    Claim(15, "Soups, and soups interpolated with θ₀, lie beyond the WiSE-FT curve of one model.",
          [Part(f"{title} beyond the curve of the best individual", seen.beyond_curve(*line))
           for title, line in (("uniform soup", (UNIFORM,)), ("greedy soup", (GREEDY,)),
                               ("the greedy soup's line", (GREEDY, True)))], "wise_ft"),
    Claim(16, "The loss gap of soup and ensemble is predicted by curvature and variance.",
          [Part("predicted with true gap, small and medium learning rates, test",
                seen.approximated_gap(large=False), unit=CORRELATION),
           Part("predicted with true gap, large learning rates, test",
                seen.approximated_gap(large=True), unit=CORRELATION)], "loss_gap"),
    Claim(17, "Soups of models of different tasks improve zero-shot accuracy on an unseen one.",
          [Part("soup of all tasks − zero-shot, unseen task, test", seen.unseen_task)], "tasks"),
    Claim(18, "With weaker pre-training the gain is smaller, and greedy still helps.",
          [Part("weaker start: greedy − best individual, test", seen.weaker_start("test")),
           Part("gain of the usual start − of the weaker one, test", seen.stronger_gain("test"))],
          "pretraining"),
    Claim(19, "The recipe carries over to text classification.",
          [Part("greedy − best individual on texts, test", seen.on_texts(GREEDY, BEST, "test")),
           Part("greedy no worse than best individual on texts, test",
                seen.on_texts(GREEDY, BEST, "test"), "no_worse"),
           Part("greedy no worse than best individual on texts, mean of shifts",
                seen.on_texts(GREEDY, BEST, "shifts_mean"), "no_worse")], "scatter"),
]  # fmt: skip


def _negative(effect: Effect) -> Effect:
    both = {"images": effect.images, "models": effect.models, "pairs": effect.pairs}
    return Effect(0.0 - effect.value, 0.0 - effect.hi, 0.0 - effect.lo, **both)


def effects(evidence: Evidence, claims: Sequence[Claim] = tuple(CLAIMS)) -> pd.DataFrame:
    """A row per part of a claim: effect, interval, n, verdict, and what is missing for a test."""
    rows = []
    for claim in claims:
        for part in claim.parts:
            unit = evidence.metric.name if part.unit == SCORE else part.unit
            name = part.name.replace(SCORE, evidence.metric.name)
            row = {"claim": claim.number, "part": name, "unit": unit, "rule": part.rule}
            try:
                found, missing = part.effect(evidence), ""
                decided = verdict(part.rule, found.value, found.lo, found.hi)
            except MissingEvidence as error:
                found, missing = Effect(np.nan, np.nan, np.nan, 0, 0), str(error)
                decided = NOT_TESTED
            numbers = {"effect": found.value, "lo": found.lo, "hi": found.hi}
            counts = {"images": found.images, "models": found.models, "pairs": found.pairs}
            rows.append(row | numbers | counts | {"verdict": decided, "missing": missing})
    return pd.DataFrame(rows).round({"effect": 6, "lo": 6, "hi": 6})


def over_sweeps(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The same effects in several sweeps: their mean, Student's 95% interval, and a verdict.

    Args:
        tables: the table of `effects` of each sweep.

    Returns:
        a row per part with columns ``claim``, ``part``, ``sweeps`` (the number that tested it),
        ``sweeps_effect``, ``sweeps_lo``, ``sweeps_hi`` and ``sweeps_verdict``. The interval needs
        `FEWEST` sweeps, and sweeps whose models are not all the same.
    """
    rows = []
    for (claim, part), group in pd.concat(tables).groupby(["claim", "part"], sort=False):
        values = group["effect"].dropna().to_numpy()
        if len(set(values)) == 1 and values[0]:
            # Equal effects are from the same models, so they count as one sweep. An effect of
            # exactly 0 is an exception: a soup that never takes a bad ingredient loses nothing.
            values = values[:1]
        mean = values.mean() if len(values) else np.nan
        half = np.nan
        if len(values) >= FEWEST:
            half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
        lowest = values.min() if len(values) else np.nan
        rule = group["rule"].iloc[0]
        decided = verdict(rule, lowest if rule == "exact" else mean, mean - half, mean + half)
        rows.append(
            {
                "claim": claim,
                "part": part,
                "sweeps": len(values),
                "sweeps_effect": mean,
                "sweeps_lo": mean - half,
                "sweeps_hi": mean + half,
                "sweeps_verdict": decided if len(values) >= FEWEST else NOT_TESTED,
            }
        )
    return pd.DataFrame(rows).round({f"sweeps_{name}": 6 for name in ("effect", "lo", "hi")})


def _support(parts: pd.DataFrame) -> pd.Series:
    """The distance of the lower bound above the rule's bound, in widths of the interval."""
    bar = parts["rule"].map({"greater": 0.0, "no_worse": -MARGIN, "exact": 0.0})
    return ((parts["lo"] - bar) / (parts["hi"] - parts["lo"]).clip(lower=1e-9)).fillna(-np.inf)


def claims_table(parts: pd.DataFrame, claims: Sequence[Claim] = tuple(CLAIMS)) -> pd.DataFrame:
    """A row per claim, with the part that decides: the one furthest from being supported.

    Args:
        parts: the table of `effects`, which may have the columns of `over_sweeps` and
            `published.columns`.
        claims: the rows, in order.
    """
    order = [NOT_SUPPORTED, INCONCLUSIVE, NOT_TESTED, SUPPORTED]
    further = [name for name in ("sweeps_verdict", "published_verdict") if name in parts]
    rows = []
    for claim in claims:
        mine = parts[parts["claim"] == claim.number]
        row = {"claim": claim.number, "text": claim.text, "verdict": joint(list(mine["verdict"]))}
        row |= {name: joint(list(mine[name].fillna(NOT_TESTED))) for name in further}
        if len(mine):
            worst = min(mine["verdict"], key=order.index)
            decides = mine.loc[_support(mine[mine["verdict"] == worst]).idxmin()]
            names = ("part", "unit", "rule", "effect", "lo", "hi", "images", "models", "pairs")
            row |= {name: decides[name] for name in names}
        row |= {"parts": len(mine), "figure": claim.figure}
        rows.append(row)
    whole = ["images", "models", "pairs"]
    return pd.DataFrame(rows).astype(dict.fromkeys(whole, "Int64"))
