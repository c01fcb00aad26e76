"""The tables: one row per model, one row per method, from cached logits alone."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from soups.evaluation.metrics import bootstrap_mean, by_images
from soups.evaluation.significance import LEVEL, compare, holm
from soups.hyperparameters import INTEGERS

DECIMALS = 6
MEASURES = ("test", "shifts_mean")


def accuracy_row(
    right: Mapping[str, np.ndarray], shifts: Sequence[str], derived: Mapping[str, str] | None = None
) -> dict:
    """One model's accuracies, the plain mean over shifts, and 95% bootstrap bounds.

    Args:
        right: for ``test``, every shift and perhaps ``heldout``, a score per image: right or
            wrong, or the mean of that over several models.
        shifts: the shifts' names, in order; without any there is no mean of them.
        derived: shift to the set its images were derived from, for corruptions.
    """
    accuracy = {
        name: float(right[name].mean()) for name in ("heldout", "test", *shifts) if name in right
    }
    test_lo, test_hi = bootstrap_mean([right["test"]])
    if not shifts:
        row = accuracy | {"test_lo": test_lo, "test_hi": test_hi}
        return {name: round(value, DECIMALS) for name, value in row.items()}
    groups = by_images({name: right[name] for name in shifts}, derived or {})
    shifts_lo, shifts_hi = bootstrap_mean(*groups)
    row = accuracy | {
        "shifts_mean": sum(accuracy[name] for name in shifts) / len(shifts),
        "test_lo": test_lo,
        "test_hi": test_hi,
        "shifts_mean_lo": shifts_lo,
        "shifts_mean_hi": shifts_hi,
    }
    return {name: round(value, DECIMALS) for name, value in row.items()}


def models_table(
    sweep: Mapping[str, Mapping],
    origin: Mapping[str, tuple[str, str]],
    rows: Mapping[str, dict],
    starts: Sequence[str],
) -> pd.DataFrame:
    """One row per model: id, variant and hyperparameters (empty for starts), accuracies."""
    models = [
        {"model": name, "variant": origin.get(name, (None, None))[1], **_had(sweep.get(name, {}))}
        | rows[name]
        for name in [*starts, *sweep]
    ]
    hyperparameters = list(next(iter(sweep.values())))
    order = ["model", "variant", *hyperparameters, *next(iter(rows.values()))]
    table = pd.DataFrame(models)[order]
    # Starting points have no hyperparameters; whole numbers stay whole beside the gap.
    whole = [name for name in INTEGERS if name in table]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _had(row: Mapping) -> dict:
    """Hyperparameters that a model had: one that was not trained has none."""
    return {"epochs": 0} if row.get("epochs") == 0 else dict(row)


def method_list(
    ranking: Sequence[str],
    soups: Mapping[str, dict],
    ensembles: Mapping[str, Sequence[str]],
    starts: Sequence[str],
) -> list[dict]:
    """What the rows of the methods table stand for, in the paper's order.

    Args:
        ranking: the sweep's own ingredients by falling held-out accuracy.
        soups: soup id to its ``row`` and its ``members``.
        ensembles: ensemble id to its members.
        starts: starting points, listed last.

    Returns:
        per row ``method``; ``kind``: model, soup, ensemble, oracle or start; ``models``: ids of
        those whose mean it is (all ingredients for the oracle, which takes the best on each
        set); and ``members``, a list for each of these (the oracle's differ from set to set).
    """
    listed = [("best_individual", "model", ranking[:1], [ranking[:1]])]
    if len(ranking) > 1:
        listed.append(("second_best", "model", ranking[1:2], [ranking[1:2]]))
    for row in dict.fromkeys(soup["row"] for soup in soups.values()):
        ids = [name for name, soup in soups.items() if soup["row"] == row]
        listed.append((row, "soup", ids, [soups[name]["members"] for name in ids]))
    for name, members in ensembles.items():
        listed.append((name, "ensemble", [name], [members]))
    listed.append(("oracle", "oracle", list(ranking), [[]]))
    for start in reversed(starts):
        listed.append((start, "start", [start], [[start]]))
    keys = ("method", "kind", "models", "members")
    return [dict(zip(keys, row, strict=True)) for row in listed]


def hits(entry: dict, right: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Scores per set and image of a row of `method_list`; the oracle has no held-out ones."""
    models = [right[name] for name in entry["models"]]
    if entry["kind"] == "oracle":
        sets = [name for name in models[0] if name != "heldout"]
        return {name: max((m[name] for m in models), key=np.mean) for name in sets}
    if len(models) == 1:
        return dict(models[0])
    return {name: np.mean([m[name] for m in models], axis=0) for name in models[0]}


def methods_table(
    listed: Sequence[dict],
    right: Mapping[str, Mapping[str, np.ndarray]],
    shifts: Sequence[str],
    derived: Mapping[str, str],
    references: Sequence[str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The methods and the paired tests between them.

    Args:
        listed: see `method_list`.
        references: methods that all others are compared with.
        right: model id to scores per set and image.
        shifts, derived: see `accuracy_row`.

    Returns:
        a row per method, and a row per method, reference and measure. Methods that do not
        differ from the best one of a column (oracles apart) are marked in ``<column>_top``.
    """
    scores = {entry["method"]: hits(entry, right) for entry in listed}
    sizes = {name: len(values) for name, values in scores["best_individual"].items()}
    rows = []
    for entry in listed:
        method, ids = entry["method"], entry["models"]
        several = len(ids) > 1 and entry["kind"] != "oracle"
        each = [accuracy_row(right[name], shifts, derived) for name in ids] if several else []
        count = np.mean([len(members) for members in entry["members"]])
        rows.append(
            {
                "method": method,
                "kind": entry["kind"],
                "ingredients": round(float(max(1, count)), 1),
                "inference_cost": round(count) if entry["kind"] == "ensemble" else 1,
                "heldout": np.nan,
                **accuracy_row(scores[method], shifts, derived),
                **{
                    f"{name}_sd": round(
                        float(np.std([row[name] for row in each], ddof=1)), DECIMALS
                    )
                    if each
                    else np.nan
                    for name in MEASURES
                },
                "n_heldout": sizes["heldout"],
                "n_test": sizes["test"],
                "n_shifts": sum(sizes[name] for name in shifts),
                "members": " | ".join(" ".join(members) for members in entry["members"]),
            }
        )
    table = pd.DataFrame(rows)
    fair = table[table["kind"] != "oracle"].set_index("method")
    tests = []
    for reference in references:
        tests += _against(reference, reference, MEASURES, scores, shifts, derived)
    for measure in MEASURES:
        best = fair[measure].idxmax()
        against = _against(best, "best in column", [measure], scores, shifts, derived)
        tests += against
        level = {row["method"] for row in against if row["p"] >= LEVEL} | {best}
        level = table["method"].isin(level) & (table["kind"] != "oracle")
        table.insert(table.columns.get_loc("n_heldout"), f"{measure}_top", level)
    tests = pd.DataFrame(tests)
    for name in ("p", "p_holm"):
        tests[name] = tests[name].map(lambda value: float(f"{value:.4g}"))
    return table, tests.round({"difference": DECIMALS, "lo": DECIMALS, "hi": DECIMALS})


def _against(reference, title, measures, scores, shifts, derived) -> list[dict]:
    """Every method against one, corrected for their number."""
    rows = [
        {"method": method, "reference": reference, "as": title} | row
        for method in scores
        if method not in (reference, "oracle")
        for row in compare(scores[method], scores[reference], shifts, derived)
        if row["measure"] in measures
    ]
    for measure in measures:
        mine = [row for row in rows if row["measure"] == measure]
        for row, corrected in zip(mine, holm([row["p"] for row in mine]), strict=True):
            row["p_holm"] = corrected
    return rows


def trace_table(recipe: dict) -> pd.DataFrame:
    """The greedy trace: a row per candidate, in the order tried."""
    table = pd.DataFrame(recipe["selection"]["trace"]).round(DECIMALS)
    table.insert(0, "step", range(1, len(table) + 1))
    return table
