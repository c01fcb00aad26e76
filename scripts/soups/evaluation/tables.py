"""The tables of models, methods and tests, computed from the correctness of cached logits."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from soups.errors import UserError
from soups.evaluation.metrics import bootstrap_mean, by_images
from soups.evaluation.significance import SIGNIFICANCE, compare, holm
from soups.hyperparameters import HYPERPARAMETERS, INTEGERS
from soups.roles import BEST, ORACLE, SECOND_BEST

DECIMALS = 6
COMPARED = ("test", "shifts_mean")  # columns in which methods are tested against each other


def accuracy_row(
    right: Mapping[str, np.ndarray], shifts: Sequence[str], derived: Mapping[str, str] | None = None
) -> dict:
    """Accuracies of one model, their plain mean over shifts, and 95% bootstrap bounds.

    Args:
        right: set name to a score for each image: right or wrong, or the mean of these over
            several models. The sets are ``test``, every shift and optionally ``heldout``.
        shifts: names of the shifts, in order. Without shifts the row has no mean over them.
        derived: name of a derived shift, such as a corruption, to the set that its images were
            derived from.
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
    """Build the table with a row per model: id, variant, hyperparameters and accuracies.

    Args:
        sweep: id of a fine-tuned model to its hyperparameters.
        origin: id of a fine-tuned model to its row of the sweep and its variant.
        rows: model id to its accuracies, see `accuracy_row`. A model without an entry is left out
            of every choice, and its accuracies stay empty.
        starts: ids of the starting points, which come first and have no hyperparameters.
    """
    models = [
        {"model": name, "variant": origin.get(name, (None, None))[1], **_had(sweep.get(name, {}))}
        | rows.get(name, {})
        for name in [*starts, *sweep]
    ]
    hyperparameters = list(next(iter(sweep.values())))
    order = ["model", "variant", *hyperparameters, *next(iter(rows.values()))]
    table = pd.DataFrame(models)[order]
    # Starting points leave gaps, beside which only this type keeps integers as integers.
    whole = [name for name in hyperparameters if _is_whole(name, sweep)]
    return table.astype(dict.fromkeys(whole, "Int64"))


def _is_whole(name: str, sweep: Mapping[str, Mapping]) -> bool:
    """Whether all values of a hyperparameter are whole numbers.

    The columns of ready-made models may have any names, and gaps.
    """
    values = [row[name] for row in sweep.values() if row.get(name) is not None]
    known = name in INTEGERS or name not in HYPERPARAMETERS
    return known and bool(values) and all(isinstance(value, int) for value in values)


def _had(row: Mapping) -> dict:
    """The hyperparameters of a model. An untrained model has only ``epochs``, which is 0."""
    return {"epochs": 0} if row.get("epochs") == 0 else dict(row)


def method_list(
    ranking: Sequence[str],
    soups: Mapping[str, dict],
    ensembles: Mapping[str, Sequence[str]],
    starts: Sequence[str],
) -> list[dict]:
    """List the rows of the methods table in the paper's order.

    Args:
        ranking: the sweep's own ingredients by falling held-out accuracy.
        soups: soup id to its ``row`` and its ``members``.
        ensembles: ensemble id to its members.
        starts: starting points, which are listed last.

    Returns:
        a dictionary per row. ``method`` is the name of the row. ``kind`` is model, soup,
        ensemble, oracle or start. ``models`` lists the ids of the models whose mean the row
        reports. For the oracle, it lists all ingredients, of which the oracle takes the best on
        each set. ``members`` has a list of ingredients for each of these models. The oracle has
        one empty list, because its member differs from set to set.

    Raises:
        UserError: if ``ranking`` is empty.
    """
    if not ranking:
        raise UserError(
            "all ingredients of the sweep without variants are left out, expected at least one, "
            "of which the tables name the best"
        )
    listed = [(BEST, "model", ranking[:1], [ranking[:1]])]
    if len(ranking) > 1:
        listed.append((SECOND_BEST, "model", ranking[1:2], [ranking[1:2]]))
    for row in dict.fromkeys(soup["row"] for soup in soups.values()):
        ids = [name for name, soup in soups.items() if soup["row"] == row]
        listed.append((row, "soup", ids, [soups[name]["members"] for name in ids]))
    for name, members in ensembles.items():
        listed.append((name, "ensemble", [name], [members]))
    # The kind of the oracle has the same name as its row.
    listed.append((ORACLE, ORACLE, list(ranking), [[]]))
    for start in reversed(starts):
        listed.append((start, "start", [start], [[start]]))
    keys = ("method", "kind", "models", "members")
    return [dict(zip(keys, row, strict=True)) for row in listed]


def hits(entry: dict, right: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Scores of a row of `method_list` per set and image.

    The oracle has no held-out scores.

    Args:
        entry: see `method_list`.
        right: model id to scores per set and image.
    """
    models = [right[name] for name in entry["models"]]
    if entry["kind"] == ORACLE:
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
    """Build the table of methods and the table of paired tests between them.

    Args:
        listed: see `method_list`.
        right: model id to scores per set and image.
        shifts, derived: see `accuracy_row`.
        references: methods with which all others are compared.

    Returns:
        a table with a row per method, and a table with a row per method, reference and measure.
        The column ``<measure>_top`` marks methods that do not differ significantly from the best
        method of the measure. The oracle takes no part in this.
    """
    scores = {entry["method"]: hits(entry, right) for entry in listed}
    sizes = {name: len(values) for name, values in scores[BEST].items()}
    rows = []
    for entry in listed:
        method, ids = entry["method"], entry["models"]
        several = len(ids) > 1 and entry["kind"] != ORACLE
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
                    for name in COMPARED
                },
                "n_heldout": sizes["heldout"],
                "n_test": sizes["test"],
                "n_shifts": sum(sizes[name] for name in shifts),
                "members": " | ".join(" ".join(members) for members in entry["members"]),
            }
        )
    table = pd.DataFrame(rows)
    fair = table[table["kind"] != ORACLE].set_index("method")
    tests = []
    for reference in references:
        tests += _against(reference, reference, COMPARED, scores, shifts, derived)
    for measure in COMPARED:
        best = fair[measure].idxmax()
        against = _against(best, "best in column", [measure], scores, shifts, derived)
        tests += against
        top = {row["method"] for row in against if row["p"] >= SIGNIFICANCE} | {best}
        top = table["method"].isin(top) & (table["kind"] != ORACLE)
        table.insert(table.columns.get_loc("n_heldout"), f"{measure}_top", top)
    tests = pd.DataFrame(tests)
    for name in ("p", "p_holm"):
        tests[name] = tests[name].map(lambda value: float(f"{value:.4g}"))
    return table, tests.round({"difference": DECIMALS, "lo": DECIMALS, "hi": DECIMALS})


def _against(reference, title, measures, scores, shifts, derived) -> list[dict]:
    """Compare every method with one, and correct the p-values for multiple comparisons."""
    rows = [
        {"method": method, "reference": reference, "as": title} | row
        for method in scores
        if method not in (reference, ORACLE)
        for row in compare(scores[method], scores[reference], shifts, derived)
        if row["measure"] in measures
    ]
    for measure in measures:
        mine = [row for row in rows if row["measure"] == measure]
        for row, corrected in zip(mine, holm([row["p"] for row in mine]), strict=True):
            row["p_holm"] = corrected
    return rows


def trace_table(recipe: dict) -> pd.DataFrame:
    """Build the table of a greedy trace: a row per candidate, in the order of the trials."""
    table = pd.DataFrame(recipe["selection"]["trace"]).round(DECIMALS)
    table.insert(0, "step", range(1, len(table) + 1))
    return table
