"""Accuracies of a run beside the published ones of the same models."""

import pandas as pd

from soups.claims.published import MEASURES, SHIFTS, SOUPS
from soups.evaluation.tables import DECIMALS


def compare(models: pd.DataFrame, methods: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Ours and theirs, for every model, soup and set that both have.

    Models are matched by name, soups by `published.SOUPS`. The greedy soup may differ by more
    than rounding: it is chosen here again.

    Args:
        models, methods: a run's tables.
        table: see `published.load`.

    Returns:
        a row per ``model`` and ``measure``: ``kind`` (model or soup), accuracies ``ours`` and
        ``published`` as fractions, and ``difference``.
    """
    here = set(models) & set(MEASURES)
    if not here.issuperset(name for name, sets in MEASURES.items() if sets[0] in SHIFTS):
        here.discard("shifts_mean")  # a mean over other sets
    found = [("model", row["model"], row["model"], row) for _, row in models.iterrows()]
    names = {ours: theirs for theirs, ours in SOUPS.items()}
    found += [
        ("soup", row["method"], names[row["method"]], row)
        for _, row in methods.iterrows()
        if row["method"] in names
    ]
    out = []
    for kind, name, published, row in found:
        if published not in table.index:
            continue
        for measure in (name for name in MEASURES if name in here):
            theirs = float(table.loc[published, MEASURES[measure]].astype(float).mean())
            values = {"ours": row[measure], "published": theirs}
            values["difference"] = values["ours"] - theirs
            values = {key: round(float(value), DECIMALS) for key, value in values.items()}
            out.append({"model": name, "kind": kind, "measure": measure} | values)
    columns = ["model", "kind", "measure", "ours", "published", "difference"]
    return pd.DataFrame(out, columns=columns)
