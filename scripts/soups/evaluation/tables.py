"""The tables of models, methods and tests, computed from cached logits."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from soups.errors import UserError
from soups.evaluation.metric import ACCURACY, Metric
from soups.evaluation.significance import SIGNIFICANCE, compare, holm
from soups.hyperparameters import HYPERPARAMETERS, INTEGERS
from soups.roles import BEST, ORACLE, SECOND_BEST

DECIMALS = 6
COMPARED = ("test", "shifts_mean")  # columns in which methods are tested against each other


def score_row(
    outcomes: Mapping[str, np.ndarray],
    shifts: Sequence[str],
    derived: Mapping[str, str] | None = None,
    metric: Metric = ACCURACY,
) -> dict:
    """The metric of one model, its plain mean over shifts, and 95% bootstrap bounds.

    Args:
        outcomes: set name to outcomes of one or several models, see `evaluation.metric`. The sets
            are ``test``, every shift and optionally ``heldout``.
        shifts: names of the shifts, in order. Without shifts the row has no mean over them.
        derived: name of a derived shift, such as a corruption, to the set that its images were
            derived from.
        metric: of the outcomes.
    """
    names = [name for name in ("heldout", "test", *shifts) if name in outcomes]
    scores = {name: metric.value(outcomes[name]) for name in names}
    test_lo, test_hi = metric.interval({"test": outcomes["test"]}, {})
    if not shifts:
        row = scores | {"test_lo": test_lo, "test_hi": test_hi}
        return {name: round(value, DECIMALS) for name, value in row.items()}
    shifted = {name: outcomes[name] for name in shifts}
    shifts_lo, shifts_hi = metric.interval(shifted, derived or {})
    row = scores | {
        "shifts_mean": sum(scores[name] for name in shifts) / len(shifts),
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
    """Build the table with a row per model: id, variant, hyperparameters and scores.

    Args:
        sweep: id of a fine-tuned model to its hyperparameters.
        origin: id of a fine-tuned model to its row of the sweep and its variant.
        rows: model id to its scores, see `score_row`. A model without an entry is left out of
            every choice, and its scores stay empty.
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
        ranking: the sweep's own ingredients by falling held-out score.
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


def hits(
    entry: dict, outcomes: Mapping[str, Mapping[str, np.ndarray]], metric: Metric = ACCURACY
) -> dict[str, np.ndarray]:
    """Outcomes of a row of `method_list` per set and image.

    The oracle has no held-out outcomes.

    Args:
        entry: see `method_list`.
        outcomes: model id to outcomes per set.
        metric: of the outcomes.
    """
    models = [outcomes[name] for name in entry["models"]]
    if entry["kind"] == ORACLE:
        sets = [name for name in models[0] if name != "heldout"]
        return {name: max((m[name] for m in models), key=metric.value) for name in sets}
    if len(models) == 1:
        return dict(models[0])
    return {name: metric.together([m[name] for m in models]) for name in models[0]}


def methods_table(
    listed: Sequence[dict],
    outcomes: Mapping[str, Mapping[str, np.ndarray]],
    shifts: Sequence[str],
    derived: Mapping[str, str],
    references: Sequence[str],
    metric: Metric = ACCURACY,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Build the table of methods and the table of paired tests between them.

    Args:
        listed: see `method_list`.
        outcomes: model id to outcomes per set.
        shifts, derived: see `score_row`.
        references: methods with which all others are compared.
        metric: of the outcomes.

    Returns:
        a table with a row per method, and a table with a row per method, reference and measure.
        The column ``<measure>_top`` marks methods that do not differ significantly from the best
        method of the measure. The oracle takes no part in this.
    """
    scores = {entry["method"]: hits(entry, outcomes, metric) for entry in listed}
    sizes = {name: values.shape[-1] for name, values in scores[BEST].items()}
    rows = []
    for entry in listed:
        method, ids = entry["method"], entry["models"]
        singles = ids if len(ids) > 1 and entry["kind"] != ORACLE else []
        each = [score_row(outcomes[name], shifts, derived, metric) for name in singles]
        count = np.mean([len(members) for members in entry["members"]])
        rows.append(
            {
                "method": method,
                "kind": entry["kind"],
                "ingredients": round(float(max(1, count)), 1),
                "inference_cost": round(count) if entry["kind"] == "ensemble" else 1,
                "heldout": np.nan,
                **score_row(scores[method], shifts, derived, metric),
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
    tests, measured = [], (scores, shifts, derived, metric)
    for reference in references:
        tests += _against(reference, reference, COMPARED, *measured)
    for measure in COMPARED:
        best = fair[measure].idxmax()
        against = _against(best, "best in column", [measure], *measured)
        tests += against
        top = {row["method"] for row in against if row["p"] >= SIGNIFICANCE} | {best}
        top = table["method"].isin(top) & (table["kind"] != ORACLE)
        table.insert(table.columns.get_loc("n_heldout"), f"{measure}_top", top)
    tests = pd.DataFrame(tests)
    for name in ("p", "p_holm"):
        tests[name] = tests[name].map(lambda value: float(f"{value:.4g}"))
    return table, tests.round({"difference": DECIMALS, "lo": DECIMALS, "hi": DECIMALS})


def _against(reference, title, measures, scores, shifts, derived, metric) -> list[dict]:
    """Compare every method with one, and correct the p-values for multiple comparisons."""
    rows = [
        {"method": method, "reference": reference, "as": title} | row
        for method in scores
        if method not in (reference, ORACLE)
        for row in compare(scores[method], scores[reference], shifts, derived, metric)
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
