"""What the paper's released results say of the claims: 72 models and two soups of CLIP ViT-B/32.

Only accuracies are published, not which images are right, so intervals are those of two
independent binomials: wider than the paired ones of a run.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from soups.claims import NOT_TESTED, verdict

# Images of each set; every published accuracy is a whole number of these.
IMAGES = {
    "ImageNet2p": 26_000,  # held out
    "ImageNet": 50_000,
    "ImageNetV2": 10_000,
    "ImageNetR": 30_000,
    "ImageNetSketch": 50_889,
    "ObjectNet": 18_574,
    "ImageNetA": 7_500,
}
SHIFTS = list(IMAGES)[2:]


def load(path: str | Path) -> pd.DataFrame:
    """The published rows, by model, with ``shifts_mean`` and a row for the best individual."""
    table = pd.read_csv(path).set_index("model")
    table["shifts_mean"] = table[SHIFTS].mean(axis=1)
    individual = table[table["lr"].notna()]
    table.loc["best_individual"] = individual.loc[individual["ImageNet2p"].idxmax()]
    return table


def difference(
    table: pd.DataFrame, better: str, worse: str, sets: list[str]
) -> tuple[float, float, float]:
    """Mean over sets of one model's accuracy minus another's, and its 95% interval."""
    one, two = table.loc[better, sets].astype(float), table.loc[worse, sets].astype(float)
    value = float((one - two).mean())
    images = np.array([IMAGES[name] for name in sets])
    error = np.sqrt(((one * (1 - one) + two * (1 - two)) / images).sum()) / len(sets)
    half = norm.ppf(0.975) * error
    return value, value - half, value + half


# Claim and number of its part, from 1: what is compared, in the paper's own sets.
COMPARED = {
    (1, 1): ("greedy_soup", "best_individual", ["ImageNet"], "ImageNet"),
    (1, 2): ("greedy_soup", "best_individual", SHIFTS, "mean of shifts"),
    (2, 1): ("best_individual", "uniform_soup", ["ImageNet"], "ImageNet"),
    (2, 2): ("greedy_soup", "best_individual", ["ImageNet"], "ImageNet"),
    (3, 1): ("greedy_soup", "best_individual", ["ImageNet2p"], "held-out"),
}


def columns(parts: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Columns ``published_…`` for the parts of claims that the published rows can tell of.

    Args:
        parts: see `claims.effects`.
        table: see `load`.
    """
    rows = []
    number = parts.groupby("claim").cumcount() + 1
    for claim, part, rule in zip(parts["claim"], number, parts["rule"], strict=True):
        if (claim, part) not in COMPARED:
            rows.append({"published_part": "", "published_verdict": NOT_TESTED})
            continue
        better, worse, sets, where = COMPARED[claim, part]
        value, lo, hi = difference(table, better, worse, sets)
        numbers = {"effect": round(value, 6), "lo": round(lo, 6), "hi": round(hi, 6)}
        title = f"{better} − {worse}, {where}".replace("_", " ")
        found = {"part": title, **numbers, "verdict": verdict(rule, value, lo, hi)}
        rows.append({f"published_{name}": value for name, value in found.items()})
    return pd.DataFrame(rows, index=parts.index)
