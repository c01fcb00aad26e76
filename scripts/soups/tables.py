"""The tables: one row per model, one row per method, from cached logits alone."""

from collections.abc import Mapping, Sequence

import pandas as pd

from soups.metrics import bootstrap_mean

# Accuracies of one model: set name to fraction.
Accuracies = Mapping[str, float]


def accuracy_row(accuracy: Accuracies, counts: Mapping[str, int], shifts: Sequence[str]) -> dict:
    """One model's accuracies, the plain mean over shifts, and 95% bootstrap bounds.

    Args:
        accuracy: of ``heldout``, ``test`` and every shift.
        counts: images per set, same keys.
        shifts: the shifts' names, in order.
    """
    values = [accuracy[shift] for shift in shifts]
    test_lo, test_hi = bootstrap_mean([accuracy["test"]], [counts["test"]])
    shifts_lo, shifts_hi = bootstrap_mean(values, [counts[shift] for shift in shifts])
    return {
        "heldout": accuracy["heldout"],
        "test": accuracy["test"],
        **dict(zip(shifts, values, strict=True)),
        "shifts_mean": sum(values) / len(values),
        "test_lo": test_lo,
        "test_hi": test_hi,
        "shifts_mean_lo": shifts_lo,
        "shifts_mean_hi": shifts_hi,
    }


def models_table(
    sweep: Mapping[str, Mapping], rows: Mapping[str, dict], starts: Sequence[str]
) -> pd.DataFrame:
    """One row per model: id, hyperparameters (empty for starting points), accuracies."""
    models = [{"model": name, **sweep.get(name, {}), **rows[name]} for name in [*starts, *sweep]]
    hyperparameters = list(next(iter(sweep.values())))
    order = ["model", *hyperparameters, *next(iter(rows.values()))]
    return pd.DataFrame(models)[order]


def methods_table(
    ranking: Sequence[str],
    rows: Mapping[str, dict],
    recipes: Mapping[str, dict],
    starts: Sequence[str],
    counts: Mapping[str, int],
) -> pd.DataFrame:
    """One row per method, in the paper's order.

    Args:
        ranking: ingredients by falling held-out accuracy.
        rows: model id to its `accuracy_row`.
        recipes: soup id to its recipe.
        starts: starting points, listed last.
        counts: images per set.
    """
    members = {"best_individual": [ranking[0]]}
    if len(ranking) > 1:
        members["second_best"] = [ranking[1]]
    models = {method: names[0] for method, names in members.items()}
    for soup, recipe in recipes.items():
        members[soup] = [name for name, weight in recipe["coefficients"].items() if weight]
        models[soup] = soup
    for start in reversed(starts):
        members[start], models[start] = [start], start
    sizes = {
        "n_heldout": counts["heldout"],
        "n_test": counts["test"],
        "n_shifts": sum(n for name, n in counts.items() if name not in ("heldout", "test")),
    }
    return pd.DataFrame(
        {
            "method": method,
            "ingredients": len(names),
            "inference_cost": 1,
            **rows[models[method]],
            **sizes,
            "members": " ".join(names),
        }
        for method, names in members.items()
    )


def trace_table(recipe: dict) -> pd.DataFrame:
    """The greedy trace: a row per candidate, in the order tried."""
    table = pd.DataFrame(recipe["selection"]["trace"])
    table.insert(0, "step", range(1, len(table) + 1))
    return table
