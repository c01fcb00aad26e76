"""Accuracies of a run beside the published ones of the same models."""

import pandas as pd

from soups.claims.published import RELEASED_SHIFTS, ROLES_OF_SOUPS, SETS_OF_MEASURES
from soups.evaluation.tables import DECIMALS
from soups.roles import ENSEMBLE, Roles

_ENSEMBLE = "ensemble"  # a kind of row


def compare(
    models: pd.DataFrame, methods: pd.DataFrame, table: pd.DataFrame, roles: Roles
) -> pd.DataFrame:
    """Accuracies of a run and the published ones, for every model, soup and set that both have.

    Models are matched by name. Soups and the ensemble are matched by role
    (`published.ROLES_OF_SOUPS`). The greedy soup is selected again in the run, so it may differ by
    more than rounding.

    Args:
        models, methods: tables of the run.
        table: the rows of `published.load`.
        roles: which row of ``methods`` plays which role.

    Returns:
        a row per ``model`` and ``measure``, with ``kind`` (model, soup or ensemble), the accuracies
        ``ours`` and ``published`` as fractions, and their ``difference``.
    """
    here = set(models) & set(SETS_OF_MEASURES)
    if not here.issuperset(n for n, sets in SETS_OF_MEASURES.items() if sets[0] in RELEASED_SHIFTS):
        here.discard("shifts_mean")  # the run's mean is over other sets
    known = models[models["test"].notna()]  # a model that is left out has no accuracies
    found = [("model", row["model"], row["model"], row) for _, row in known.iterrows()]
    released = {roles.row(role): name for name, role in ROLES_OF_SOUPS.items()}
    kinds = {roles.row(role): "soup" for role in ROLES_OF_SOUPS.values()}
    kinds[roles.row(ENSEMBLE)] = _ENSEMBLE
    found += [
        (kinds[row["method"]], row["method"], released[row["method"]], row)
        for _, row in methods.iterrows()
        if row["method"] in released
    ]
    out = []
    for kind, name, published, row in found:
        if published not in table.index:
            continue
        for measure in (name for name in SETS_OF_MEASURES if name in here):
            theirs = float(table.loc[published, SETS_OF_MEASURES[measure]].astype(float).mean())
            values = {"ours": row[measure], "published": theirs}
            values["difference"] = values["ours"] - theirs
            values = {key: round(float(value), DECIMALS) for key, value in values.items()}
            out.append({"model": name, "kind": kind, "measure": measure} | values)
    columns = ["model", "kind", "measure", "ours", "published", "difference"]
    return pd.DataFrame(out, columns=columns)
