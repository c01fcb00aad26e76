"""The tables: one row per model, one row per method, from cached logits alone."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from soups.metrics import bootstrap_mean, by_images
from soups.sweep import INTEGERS

DECIMALS = 6


def accuracy_row(
    right: Mapping[str, np.ndarray], shifts: Sequence[str], derived: Mapping[str, str] | None = None
) -> dict:
    """One model's accuracies, the plain mean over shifts, and 95% bootstrap bounds.

    Args:
        right: for ``heldout``, ``test`` and every shift, bool per image.
        shifts: the shifts' names, in order.
        derived: shift to the set its images were derived from, for corruptions.
    """
    accuracy = {name: float(right[name].mean()) for name in ("heldout", "test", *shifts)}
    test_lo, test_hi = bootstrap_mean([right["test"]])
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
    sweep: Mapping[str, Mapping], rows: Mapping[str, dict], starts: Sequence[str]
) -> pd.DataFrame:
    """One row per model: id, hyperparameters (empty for starting points), accuracies."""
    models = [{"model": name, **sweep.get(name, {}), **rows[name]} for name in [*starts, *sweep]]
    hyperparameters = list(next(iter(sweep.values())))
    order = ["model", *hyperparameters, *next(iter(rows.values()))]
    table = pd.DataFrame(models)[order]
    # Starting points have no hyperparameters; whole numbers stay whole beside the gap.
    whole = [name for name in INTEGERS if name in table]
    return table.astype(dict.fromkeys(whole, "Int64"))


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
    table = pd.DataFrame(recipe["selection"]["trace"]).round(DECIMALS)
    table.insert(0, "step", range(1, len(table) + 1))
    return table
