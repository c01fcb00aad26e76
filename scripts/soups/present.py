"""Tables for people: percent, one decimal, with intervals."""

import pandas as pd

TITLES = {
    "best_individual": "best individual model",
    "second_best": "second-best model",
    "uniform": "uniform soup",
    "greedy": "greedy soup",
    "initialization": "initialisation (linear probe)",
    "zeroshot": "zero-shot",
}

SHIFT_LABELS = {
    "v2": "V2",
    "r": "R",
    "sketch": "Sketch",
    "objectnet": "ObjectNet",
    "a": "A",
}


def methods(table: pd.DataFrame, shifts: bool = False) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a methods table.

    Args:
        table: `methods.csv`.
        shifts: one more column for each shift.
    """
    names = shift_names(table) if shifts else []
    header = [
        "method",
        "models",
        "cost",
        "held-out",
        "test",
        *map(shift_label, names),
        "mean of shifts",
    ]
    rows = [
        [
            TITLES.get(row["method"], row["method"]),
            str(row["ingredients"]),
            f"{row['inference_cost']}×",
            _percent(row["heldout"]),
            _interval(row, "test"),
            *(_percent(row[name]) for name in names),
            _interval(row, "shifts_mean"),
        ]
        for _, row in table.iterrows()
    ]
    return header, rows


def shift_label(name: str) -> str:
    """What a shift is called in figures and printed tables."""
    return SHIFT_LABELS.get(name, name.replace("_", " "))


def shift_names(table: pd.DataFrame) -> list[str]:
    """The shifts of a methods table: the columns between ``test`` and ``shifts_mean``."""
    columns = list(table.columns)
    return columns[columns.index("test") + 1 : columns.index("shifts_mean")]


def text(header: list[str], rows: list[list[str]]) -> str:
    """A plain-text table, first column left, others right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [header, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(row: pd.Series, name: str) -> str:
    low, high = _percent(row[f"{name}_lo"]), _percent(row[f"{name}_hi"])
    return f"{_percent(row[name])} [{low}, {high}]"
