"""The paper's released results: 72 models of CLIP ViT-B/32, two soups and an ensemble, and claims.

The release has accuracies, but does not say which images a model classified correctly. So intervals
are binomial, and those of differences are unpaired and wider than the paired ones of a run. The
module `released_tables` makes tables of them.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from soups.claims.rules import verdict
from soups.errors import UserError
from soups.mixing.select import by_score
from soups.outcomes import NOT_TESTED
from soups.roles import (
    BEST,
    ENSEMBLE,
    GREEDY,
    GREEDY_ENSEMBLE,
    GREEDY_RANDOM,
    LEARNED,
    LEARNED_BY_LAYER,
    UNIFORM,
)
from soups.roles import title as title_of

# The number of images in each set. Every published accuracy is a whole number of images.
IMAGES = {
    "ImageNet2p": 26_000,  # held out
    "ImageNet": 50_000,
    "ImageNetV2": 10_000,
    "ImageNetR": 30_000,
    "ImageNetSketch": 50_889,
    "ObjectNet": 18_574,
    "ImageNetA": 7_500,
}
RELEASED_SHIFTS = list(IMAGES)[2:]
# Columns of this workflow's tables, with the published sets whose mean each column is.
SETS_OF_MEASURES = {
    "heldout": ["ImageNet2p"],
    "test": ["ImageNet"],
    "v2": ["ImageNetV2"],
    "r": ["ImageNetR"],
    "sketch": ["ImageNetSketch"],
    "objectnet": ["ObjectNet"],
    "a": ["ImageNetA"],
    "shifts_mean": RELEASED_SHIFTS,
}
HYPERPARAMETERS = ["lr", "weight_decay", "epochs", "label_smoothing", "mixup"]
RAND_AUGMENT = ["rand_augment_magnitude", "rand_augment_operations"]
LINEAR_PROBE = "model_0"  # the initialisation, which soups may hold like any other model
# Rows of the released table that are no single models, with their roles.
ROLES_OF_SOUPS = {"uniform_soup": UNIFORM, "greedy_soup": GREEDY, "ensemble": ENSEMBLE}


def load(path: str | Path) -> pd.DataFrame:
    """The published rows by model, with ``shifts_mean`` and a row for the best individual.

    Raises:
        UserError: if a column, a soup or the initialisation is missing, or if an accuracy is not
            a whole number of its set's images.
    """
    table = pd.read_csv(path, comment="#")
    for name in ["model", *HYPERPARAMETERS, "rand_augment", "members", *IMAGES]:
        if name not in table:
            raise UserError(
                f"{path} has no column {name!r}, expected the columns of the released table"
            )
    table = table.set_index("model")
    for name in [LINEAR_PROBE, *ROLES_OF_SOUPS]:
        if name not in table.index:
            raise UserError(f"{path} has no row {name!r}, expected the rows of the released table")
    for name, n in IMAGES.items():
        images = table[name] * n
        wrong = ~(table[name].between(0, 1) & ((images - images.round()).abs() < 1e-3))
        if wrong.any():
            model = table.index[wrong][0]
            raise UserError(
                f"{path}: {model} has {name} = {table.loc[model, name]}, "
                f"expected a whole number of {n:,} images as a fraction"
            )
    table["shifts_mean"] = table[RELEASED_SHIFTS].mean(axis=1)
    table.loc[BEST] = table.loc[ranking(table)[0]]
    return table


def fine_tuned(table: pd.DataFrame) -> pd.DataFrame:
    """The fine-tuned models among `load`'s rows: those with hyperparameters."""
    return table[table["lr"].notna() & (table.index != BEST)]


def ranking(table: pd.DataFrame) -> list[str]:
    """The fine-tuned models by falling held-out accuracy."""
    return by_score(fine_tuned(table)["ImageNet2p"].to_dict())


def candidates(table: pd.DataFrame) -> pd.DataFrame:
    """The candidates of the soups: the initialisation and the fine-tuned models."""
    return pd.concat([table.loc[[LINEAR_PROBE]], fine_tuned(table)])


def members(table: pd.DataFrame, role: str) -> list[str]:
    """The members of the uniform soup, the greedy soup (in the order of adding) or the ensemble.

    The uniform soup and the ensemble have all candidates, with the initialisation among them.
    """
    if role != GREEDY:
        return list(candidates(table).index)
    row = next(name for name, its in ROLES_OF_SOUPS.items() if its == role)
    return table.loc[row, "members"].split()


def interval(row: pd.Series, sets: Sequence[str]) -> tuple[float, float, float]:
    """Mean accuracy of one model over sets, and its 95% interval (normal approximation)."""
    value = float(row[sets].astype(float).mean())
    half = norm.ppf(0.975) * np.sqrt(_variance(row, sets))
    return value, value - half, value + half


def difference(
    table: pd.DataFrame, better: str, worse: str, sets: Sequence[str]
) -> tuple[float, float, float]:
    """Mean over sets of one model's accuracy minus another's, and its 95% interval.

    The interval treats the two as tested on different images. Two models mostly err on the same
    images, so a paired interval would be narrower, but the release does not allow one.
    """
    one, two = table.loc[better], table.loc[worse]
    value = float((one[sets] - two[sets]).astype(float).mean())
    half = norm.ppf(0.975) * np.sqrt(_variance(one, sets) + _variance(two, sets))
    return value, value - half, value + half


def _variance(row: pd.Series, sets: Sequence[str]) -> float:
    accuracy = row[sets].astype(float)
    images = np.array([IMAGES[name] for name in sets])
    return float((accuracy * (1 - accuracy) / images).sum()) / len(sets) ** 2


def rand_augment(text: str | float) -> tuple[int | None, int | None]:
    """Magnitude and number of operations of ``rand-m9-n2``, or None twice for an empty cell."""
    if pd.isna(text):
        return None, None
    match = re.fullmatch(r"rand-m(\d+)-n(\d+)", text)
    if not match:
        raise UserError(f"rand_augment is {text!r}, expected something like 'rand-m9-n2'")
    return int(match[1]), int(match[2])


# Claim and part (from 1): two released rows, the sets of the comparison, and their name.
COMPARED = {
    (1, 1): ("greedy_soup", BEST, ["ImageNet"], "ImageNet"),
    (1, 2): ("greedy_soup", BEST, RELEASED_SHIFTS, "mean of shifts"),
    (2, 1): ("greedy_soup", "uniform_soup", ["ImageNet"], "ImageNet"),
    (3, 1): ("greedy_soup", BEST, ["ImageNet2p"], "held-out"),
    (6, 1): ("ensemble", "uniform_soup", ["ImageNet"], "ImageNet"),
    (6, 2): ("uniform_soup", "ensemble", RELEASED_SHIFTS, "mean of shifts"),
}
# The same for methods without released accuracies, by the table in the paper's text.
COMPARED_IN_PAPER = {
    (4, 1): (GREEDY, GREEDY_RANDOM, "ImageNet"),
    (5, 1): (LEARNED, GREEDY, "ImageNet"),
    (5, 2): (LEARNED_BY_LAYER, GREEDY, "ImageNet"),
    (6, 3): (GREEDY_ENSEMBLE, GREEDY, "ImageNet"),
    (6, 4): (GREEDY, GREEDY_ENSEMBLE, "shifts_mean"),
}


def load_paper(path: str | Path) -> pd.DataFrame:
    """The paper's own table: accuracies as fractions, with a row per role.

    Raises:
        UserError: if a column or a row is missing that a claim needs.
    """
    table = pd.read_csv(path, comment="#")
    if "method" not in table:
        raise UserError(f"{path} has no column 'method', expected the columns of the paper's table")
    table = table.set_index("method") / 100
    for better, worse, column in COMPARED_IN_PAPER.values():
        missing = [name for name in (better, worse) if name not in table.index]
        missing += [column] if column not in table else []
        if missing:
            raise UserError(f"{path} has no {missing[0]!r}, expected the paper's table")
    return table


def difference_in_paper(
    paper: pd.DataFrame, better: str, worse: str, column: str
) -> tuple[float, float, float]:
    """One row of the paper's table minus another, and its 95% interval as in `difference`.

    The paper gives the mean of the shifts alone. Their variances are then at most 1/(4n), which
    is what the interval assumes.
    """
    one, two = (float(paper.loc[name, column]) for name in (better, worse))
    if column == "shifts_mean":
        bound = sum(0.25 / IMAGES[name] for name in RELEASED_SHIFTS)
        variance = 2 * bound / len(RELEASED_SHIFTS) ** 2
    else:
        variance = (one * (1 - one) + two * (1 - two)) / IMAGES[column]
    half = norm.ppf(0.975) * variance**0.5
    return one - two, one - two - half, one - two + half


def columns(parts: pd.DataFrame, table: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """Columns ``published_…`` for the parts of claims that published numbers can test.

    Args:
        parts: the table of `verdicts.effects`.
        table: the rows of `load`.
        paper: the rows of `load_paper`.
    """
    rows = []
    number = parts.groupby("claim").cumcount() + 1
    rules = zip(parts["rule"], parts["margin"], strict=True)
    for key, (rule, margin) in zip(zip(parts["claim"], number, strict=True), rules, strict=True):
        if key in COMPARED:
            better, worse, sets, where = COMPARED[key]
            value, lo, hi = difference(table, better, worse, sets)
            title = f"{better} − {worse}, {where}".replace("_", " ")
        elif key in COMPARED_IN_PAPER:
            better, worse, column = COMPARED_IN_PAPER[key]
            value, lo, hi = difference_in_paper(paper, better, worse, column)
            where = column.replace("shifts_mean", "mean of shifts")
            names = [title_of(name).lower() for name in (better, worse)]
            title = "{} − {}, {}, paper's table".format(*names, where)
        else:
            rows.append({"published_part": "", "published_verdict": NOT_TESTED})
            continue
        numbers = {"effect": round(value, 6), "lo": round(lo, 6), "hi": round(hi, 6)}
        found = {"part": title, **numbers, "verdict": verdict(rule, margin, value, lo, hi)}
        rows.append({f"published_{name}": value for name, value in found.items()})
    return pd.DataFrame(rows, index=parts.index)
