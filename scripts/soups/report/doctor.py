"""The doctor's findings for the report page, from doctor.csv and doctor_summary.csv."""

import pandas as pd

from soups.outcomes import ALONE, COLLAPSED, FINE, TODO

NAME = "doctor"  # of the table and of the figure


def grid(doctor: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the table, models that are not fine first."""
    rows = []
    order = doctor.assign(_fine=doctor["verdict"] == FINE).sort_values("_fine", kind="stable")
    for row in order.to_dict("records"):
        advice = "" if pd.isna(row["advice"]) else f" {row['advice']}"
        rows.append(
            [
                row["model"],
                row["verdict"],
                _points(row.get("heldout")),
                _points(row.get("barrier")),
                f"{row['reason']}{advice}",
            ]
        )
    return ["model", "verdict", "held-out", "barrier", "reason and advice"], rows


def sentences(summary: pd.DataFrame, alone: bool) -> list[str]:
    """The findings about all models and soups, in the order of the table.

    Args:
        summary: the table.
        alone: whether the greedy soup holds one model.
    """
    return list(summary["text"][alone | (summary["about"] != ALONE)])


def warnings(summary: pd.DataFrame, alone: bool) -> list[str]:
    """Findings about soups that call for action, with what to do, for the head of the page.

    The arguments are those of `sentences`.
    """
    why = summary["text"][summary["about"].isin([COLLAPSED, *([ALONE] if alone else [])])]
    todo = list(summary["text"][summary["about"] == TODO])
    return [" ".join([*why, "What to do:", *todo])] if todo and len(why) else []


def _points(share: float | None) -> str:
    """A fraction in percent or points with one digit, "" if it is unknown."""
    if share is None or pd.isna(share):
        return ""
    return f"{round(100 * share, 1) + 0.0:.1f}".replace("-", "\N{MINUS SIGN}")
