"""The paper's released results: 72 models and two soups of CLIP ViT-B/32, as tables and claims.

The release has accuracies, but does not say which images a model classified correctly. So intervals
are binomial, and those of differences are unpaired and wider than the paired ones of a run. Rows of
the tables have the names of their roles (`Roles.named`). A table of `figures.PUBLISHED_TABLES` is a
function of the same name here. Its argument is the rows of `load`.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm

from soups.claims.verdicts import verdict
from soups.errors import UserError
from soups.evaluation import resampling
from soups.evaluation.tables import DECIMALS
from soups.mixing.select import by_score
from soups.outcomes import NOT_TESTED
from soups.roles import BASE, BEST, GREEDY, INITIALIZATION, ORACLE, SECOND_BEST, UNIFORM

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
ROLES_OF_SOUPS = {"uniform_soup": UNIFORM, "greedy_soup": GREEDY}
GREEDY_INGREDIENTS = 5  # the number in the paper; the released files do not name them
UNPAIRED = "binomial"  # the column `intervals`, which a run's methods table lacks


def load(path: str | Path) -> pd.DataFrame:
    """The published rows by model, with ``shifts_mean`` and a row for the best individual.

    Raises:
        UserError: if a column, a soup or the initialisation is missing, or if an accuracy is not
            a whole number of its set's images.
    """
    table = pd.read_csv(path)
    for name in ["model", *HYPERPARAMETERS, "rand_augment", *IMAGES]:
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


def models(table: pd.DataFrame) -> pd.DataFrame:
    """A row per candidate with the columns of a run's `models.csv`.

    RandAugment becomes two columns, which are empty for models without it. A model with no
    operations (``n0``) has a 0.
    """
    rows = candidates(table)
    out = rows[HYPERPARAMETERS].astype({"epochs": "Int64"})
    out.insert(0, "variant", np.where(out["lr"].notna(), BASE, None))
    for i, name in enumerate(RAND_AUGMENT):
        values = [rand_augment(text)[i] for text in rows["rand_augment"]]
        out[name] = pd.array(values, dtype="Int64")
    accuracies = [_accuracies(row) for _, row in rows.iterrows()]
    return out.join(pd.DataFrame(accuracies, index=rows.index)).reset_index()


def rand_augment(text: str | float) -> tuple[int | None, int | None]:
    """Magnitude and number of operations of ``rand-m9-n2``, or None twice for an empty cell."""
    if pd.isna(text):
        return None, None
    match = re.fullmatch(r"rand-m(\d+)-n(\d+)", text)
    if not match:
        raise UserError(f"rand_augment is {text!r}, expected something like 'rand-m9-n2'")
    return int(match[1]), int(match[2])


def _accuracies(row: pd.Series) -> dict[str, float]:
    """Every measure, followed by the bounds of each."""
    found = {name: interval(row, sets) for name, sets in SETS_OF_MEASURES.items()}
    out = {name: value for name, (value, _, _) in found.items()}
    for name, (_, low, high) in found.items():
        out |= {f"{name}_lo": low, f"{name}_hi": high}
    return {name: round(value, DECIMALS) for name, value in out.items()}


def _listed(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the methods table by role, with the published sets as columns."""
    best, second = ranking(table)[:2]
    out = {
        BEST: table.loc[best],
        SECOND_BEST: table.loc[second],
        **{role: table.loc[soup] for soup, role in ROLES_OF_SOUPS.items()},
        # The best of each set, chosen on that set and so for reference only.
        ORACLE: fine_tuned(table)[list(IMAGES)].max().drop("ImageNet2p"),
        INITIALIZATION: table.loc[LINEAR_PROBE],
    }
    return pd.DataFrame({name: row.reindex(list(IMAGES)) for name, row in out.items()}).T


def methods(table: pd.DataFrame) -> pd.DataFrame:
    """A row per published method with the columns of a run's `methods.csv`.

    The column ``intervals`` has the kind of the intervals, and there are no columns ``_sd``. The
    columns ``<measure>_top`` mark methods whose difference from the best of the column has an
    unpaired interval that includes 0. The oracle is left out of that comparison. ``members`` is
    empty for the greedy soup, whose ingredients were not released.
    """
    rows, pool, ranked = _listed(table), list(candidates(table).index), ranking(table)
    about = {  # kind, ingredients, members
        BEST: ("model", 1, ranked[:1]),
        SECOND_BEST: ("model", 1, ranked[1:2]),
        UNIFORM: ("soup", len(pool), pool),
        GREEDY: ("soup", GREEDY_INGREDIENTS, []),
        ORACLE: ("oracle", 1, []),
        INITIALIZATION: ("start", 1, [LINEAR_PROBE]),
    }
    out = []
    for method, row in rows.iterrows():
        kind, ingredients, members = about[method]
        start = {
            "method": method, "kind": kind, "ingredients": ingredients, "inference_cost": 1,
        }  # fmt: skip
        out.append(start | _accuracies(row) | {"members": " ".join(members)})
    out = pd.DataFrame(out)
    fair = rows.drop(index=ORACLE)
    for measure in ("test", "shifts_mean"):
        sets = SETS_OF_MEASURES[measure]
        best = fair[sets].mean(axis=1).astype(float).idxmax()
        level = [m for m in fair.index if difference(rows, best, m, sets)[1] <= 0]
        out.insert(out.columns.get_loc("members"), f"{measure}_top", out["method"].isin(level))
    sizes = {name: sum(IMAGES[s] for s in sets) for name, sets in SETS_OF_MEASURES.items()}
    sizes["shifts"] = sizes.pop("shifts_mean")
    for name, n in sizes.items():
        out.insert(out.columns.get_loc("members"), f"n_{name}", n)
    out.insert(out.columns.get_loc("members"), "intervals", UNPAIRED)
    return out


def differences(table: pd.DataFrame) -> pd.DataFrame:
    """Every method but the oracle minus the best individual model, see `difference`.

    The oracle is left out, because on some sets it is the best individual model itself.
    """
    rows = _listed(table)
    out = []
    for method in rows.index.drop([BEST, ORACLE]):
        for measure, sets in SETS_OF_MEASURES.items():
            values = difference(rows, method, BEST, sets)
            bounds = dict(zip(("difference", "lo", "hi"), values, strict=True))
            bounds = {name: round(value, DECIMALS) for name, value in bounds.items()}
            n = sum(IMAGES[name] for name in sets)
            out.append(
                {"method": method, "reference": BEST, "measure": measure}
                | bounds | {"n": n}
            )  # fmt: skip
    return pd.DataFrame(out)


def greedy_order(table: pd.DataFrame) -> pd.DataFrame:
    """The models in the order in which the greedy soup tries them (paper, Recipe 1).

    The order is by falling held-out accuracy. The release does not say which models were kept.

    Returns:
        ``rank`` from 1, and the columns of `models` up to the accuracies, without intervals.
    """
    rows = models(table)
    order = by_score(rows.set_index("model")["heldout"].to_dict())
    columns = [name for name in rows if not name.endswith(("_lo", "_hi"))]
    out = rows.set_index("model").loc[order].reset_index()[columns]
    out.insert(0, "rank", range(1, len(out) + 1))
    return out


def rank_correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Spearman's correlation of accuracies with held-out accuracy and with hyperparameters.

    Returns:
        a row per ``of`` (``heldout`` or a hyperparameter) and ``with`` (another measure):
        ``correlation`` with its 95% interval ``lo``, ``hi`` (bootstrap over models), and the
        number of ``models`` that have a value.
    """
    pool, rows = models(table), []
    for name in ["heldout", *HYPERPARAMETERS, *RAND_AUGMENT]:
        known = pool[pool[name].notna()]
        drawn = np.concatenate(list(resampling.counts(len(known), [0])), axis=1)
        for measure in [m for m in SETS_OF_MEASURES if m != name]:
            x, y = (known[column].to_numpy(float)[:, None] for column in (name, measure))
            shape = (len(known), drawn.shape[1])
            columns = resampling.rank_correlation(
                np.broadcast_to(x, shape), np.broadcast_to(y, shape), drawn
            )
            bounds = resampling.interval(columns)
            values = dict(zip(("correlation", "lo", "hi"), bounds, strict=True))
            values = {key: round(value, DECIMALS) for key, value in values.items()}
            rows.append({"of": name, "with": measure, **values, "models": len(known)})
    return pd.DataFrame(rows)


# Claim and part (from 1): two released rows, the sets of the comparison, and their name.
COMPARED = {
    (1, 1): ("greedy_soup", BEST, ["ImageNet"], "ImageNet"),
    (1, 2): ("greedy_soup", BEST, RELEASED_SHIFTS, "mean of shifts"),
    (2, 1): (BEST, "uniform_soup", ["ImageNet"], "ImageNet"),
    (2, 2): ("greedy_soup", BEST, ["ImageNet"], "ImageNet"),
    (3, 1): ("greedy_soup", BEST, ["ImageNet2p"], "held-out"),
}


def columns(parts: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Columns ``published_…`` for the parts of claims that the published rows can test.

    Args:
        parts: the table of `verdicts.effects`.
        table: the rows of `load`.
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
