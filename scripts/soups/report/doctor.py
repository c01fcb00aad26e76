"""The doctor's findings for the report page, from doctor.csv and doctor_summary.csv."""

import pandas as pd

from soups.outcomes import FINE, GREEDY_SOUP, TODO, UNIFORM_SOUP

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


def sentences(summary: pd.DataFrame) -> list[str]:
    """The findings about all models and soups, in the order of the table."""
    return list(summary["text"])


def warnings(summary: pd.DataFrame) -> list[str]:
    """Findings about soups that call for action, with what to do, for the head of the page."""
    todo = list(summary["text"][summary["about"] == TODO])
    if not todo:
        return []
    why = summary["text"][summary["about"].isin([UNIFORM_SOUP, GREEDY_SOUP])]
    return [" ".join([*why, "What to do:", *todo])]


def _points(share: float | None) -> str:
    """A fraction in percent or points with one digit, "" if it is unknown."""
    if share is None or pd.isna(share):
        return ""
    return f"{round(100 * share, 1) + 0.0:.1f}".replace("-", "\N{MINUS SIGN}")
