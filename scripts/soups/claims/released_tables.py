"""The paper's released results as tables of a run: see `soups.claims.published`.

Rows of the tables have the names of their roles (`Roles.named`). A table of
`figures.PUBLISHED_TABLES` is a function of the same name here. Its argument is the rows of
`published.load`.
"""

import numpy as np
import pandas as pd
from scipy.stats import t as student

from soups.claims.published import (
    HYPERPARAMETERS,
    IMAGES,
    LINEAR_PROBE,
    RAND_AUGMENT,
    ROLES_OF_SOUPS,
    SETS_OF_MEASURES,
    candidates,
    difference,
    fine_tuned,
    interval,
    members,
    rand_augment,
    ranking,
)
from soups.evaluation import resampling
from soups.evaluation.tables import DECIMALS
from soups.mixing.select import by_score
from soups.roles import (
    BASE,
    BEST,
    ENSEMBLE,
    GREEDY,
    INITIALIZATION,
    ORACLE,
    SECOND_BEST,
    UNIFORM,
)

UNPAIRED = "binomial"  # the column `intervals`, which a run's methods table lacks


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
    unpaired interval that includes 0. The oracle is left out of that comparison.
    """
    rows, ranked = _listed(table), ranking(table)
    about = {  # kind, members
        BEST: ("model", ranked[:1]),
        SECOND_BEST: ("model", ranked[1:2]),
        UNIFORM: ("soup", members(table, UNIFORM)),
        GREEDY: ("soup", members(table, GREEDY)),
        ENSEMBLE: ("ensemble", members(table, ENSEMBLE)),
        ORACLE: ("oracle", []),
        INITIALIZATION: ("start", [LINEAR_PROBE]),
    }
    out = []
    for method, row in rows.iterrows():
        kind, names = about[method]
        number = max(1, len(names))  # the oracle is one model, but another on each set
        start = {
            "method": method,
            "kind": kind,
            "ingredients": number,
            "inference_cost": number if kind == "ensemble" else 1,
        }
        out.append(start | _accuracies(row) | {"members": " ".join(names)})
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

    The order is by falling held-out accuracy.

    Returns:
        ``rank`` from 1; ``kept``, whether the soup kept the model; ``ingredients``, the number of
        models in the soup after the trial; and the columns of `models` up to the accuracies,
        without intervals.
    """
    rows = models(table)
    order = by_score(rows.set_index("model")["heldout"].to_dict())
    columns = [name for name in rows if not name.endswith(("_lo", "_hi"))]
    out = rows.set_index("model").loc[order].reset_index()[columns]
    out.insert(0, "rank", range(1, len(out) + 1))
    out.insert(1, "kept", out["model"].isin(members(table, GREEDY)))
    out.insert(2, "ingredients", out["kept"].cumsum())
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


def pipelines(table: pd.DataFrame) -> pd.DataFrame:
    """What timm's training transforms change, compared with CLIP's own preprocessing.

    A least-squares fit explains an accuracy by log lr (to the third power), epochs, mixup, label
    smoothing, log weight decay, and the pipeline. Models with RandAugment have timm's random
    crops and flips as well, even if they have no operation (``n0``).

    Returns:
        a row per ``operations`` (0 to 2) and ``measure``: the ``difference`` of timm's transforms
        with this number of operations minus CLIP's preprocessing, Student's 95% interval ``lo``,
        ``hi``, and the numbers of models of both kinds, ``models`` and ``plain``.
    """
    rows = fine_tuned(table)
    operations = np.array([rand_augment(text)[1] for text in rows["rand_augment"]], float)
    rate, decay = (np.log10(rows[name].to_numpy(float)) for name in ("lr", "weight_decay"))
    rate = rate - rate.mean()
    numbers = sorted(set(operations[np.isfinite(operations)].astype(int)))
    kinds = np.array([operations == number for number in numbers], float)
    others = rows[["epochs", "mixup", "label_smoothing"]].to_numpy(float).T
    controls = np.stack([np.ones(len(rows)), rate, rate**2, rate**3, decay, *others])
    x = np.concatenate([kinds, controls]).T
    spread, free = np.linalg.inv(x.T @ x), len(rows) - x.shape[1]
    out = []
    for measure, sets in SETS_OF_MEASURES.items():
        y = rows[sets].mean(axis=1).to_numpy(float)
        fitted = spread @ x.T @ y
        error = ((y - x @ fitted) ** 2).sum() / free
        for i, number in enumerate(numbers):
            half = student.ppf(0.975, free) * (spread[i, i] * error) ** 0.5
            bounds = {"difference": fitted[i], "lo": fitted[i] - half, "hi": fitted[i] + half}
            bounds = {key: round(float(value), DECIMALS) for key, value in bounds.items()}
            counts = {"models": int(kinds[i].sum()), "plain": int(np.isnan(operations).sum())}
            out.append({"operations": number, "measure": measure} | bounds | counts)
    return pd.DataFrame(out).sort_values("operations", kind="stable")
