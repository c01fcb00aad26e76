"""Tables as people read them: percent with one decimal, and intervals."""

import pandas as pd

from soups.outcomes import NOT_TESTED
from soups.report.words import USUAL, Words
from soups.roles import Roles

# Rows by the names of their roles, for tables that come without a configuration.
NAMED = Roles.named()

SHIFT_LABELS = {
    "v2": "V2",
    "r": "R",
    "sketch": "Sketch",
    "objectnet": "ObjectNet",
    "a": "A",
}

UNSCALED = ("rank correlation", "slope")  # units of effects that are not in points

TOP = "•"  # marks what does not differ significantly from the best of the column


def methods(
    table: pd.DataFrame, shifts: bool = False, digits: int = 1, roles: Roles = NAMED
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a methods table, with `TOP` after values level with the best.

    Args:
        table: `methods.csv`.
        shifts: add a column for each shift.
        digits: of a percentage, after the point.
        roles: for the titles of rows.
    """
    names = shift_names(table) if shifts else []
    header = [
        "method",
        "models",
        "cost",
        "held-out",
        "test",
        "mean of shifts",
        *map(shift_label, names),
    ]
    rows = [
        [
            roles.title(row["method"]),
            f"{row['ingredients']:g}",
            f"{row['inference_cost']}×",
            _percent(row["heldout"], digits),
            _interval(row, "test", digits),
            _interval(row, "shifts_mean", digits),
            *(_percent(row[name], digits) for name in names),
        ]
        for _, row in table.iterrows()
    ]
    return header, rows


def differences(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the published `differences.csv`, in percentage points."""
    measures = {"heldout": "held-out", "test": "test", "shifts_mean": "mean of shifts"}
    [reference] = table["reference"].unique()
    rows = [
        [NAMED.title(method)]
        + [
            _points(*part.set_index("measure").loc[name, ["difference", "lo", "hi"]])
            for name in measures
        ]
        for method, part in table.groupby("method", sort=False)
    ]
    return [f"minus the {NAMED.title(reference)}", *measures.values()], rows


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def data(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `data.csv`."""
    rows = [[str(cell) if pd.notna(cell) else "" for cell in row] for row in table.to_numpy()]
    return [name.replace("_", " ") for name in table], rows


def real(table: pd.DataFrame, roles: Roles = NAMED) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `real.csv`, in percent."""
    rows = [
        [roles.title(method), f"{_percent(value)} [{_percent(low)}, {_percent(high)}]", f"{n:,}"]
        for method, value, low, high, n in table.itertuples(index=False)
    ]
    return ["method", "test, ReaL labels", "n"], rows


def calibration(table: pd.DataFrame, roles: Roles = NAMED) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `calibration.csv` on the test set, with ECE in percent."""
    test = table[table["set"] == "test"]
    header = ["method", "temperature"]
    for name in ("ECE (%)", "NLL (nats)", "Brier"):
        header += [name, f"{name.split()[0]}, scaled"]
    rows = [
        [
            roles.title(row["method"]),
            f"{row['temperature']:.2f}",
            *(_percent(row[name]) for name in ("ece", "ece_scaled")),
            *(f"{row[name]:.3f}" for name in ("nll", "nll_scaled", "brier", "brier_scaled")),
        ]
        for _, row in test.iterrows()
    ]
    return header, rows


def claims(table: pd.DataFrame, words: Words = USUAL) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `claims.csv`: each claim with its verdicts and the deciding effect."""
    further = {
        "sweeps_verdict": "over sweeps",
        "published_verdict": "published",
        "evidence_verdict": "recorded evidence",
    }
    further = {name: title for name, title in further.items() if name in table}
    header = ["claim", "verdict", *further.values(), "decided by", "effect", "n", "figure"]
    rows = [
        [
            f"{row['claim']}. {row['text']}",
            row["verdict"],
            *(row[name].replace(NOT_TESTED, "–") for name in further),
            "" if pd.isna(row["part"]) else row["part"],
            effect(row),
            sizes(row, words),
            "" if pd.isna(row["figure"]) else row["figure"].replace("_", " "),
        ]
        for _, row in table.iterrows()
    ]
    return header, rows


def recorded(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of recorded evidence: each claim with its verdict and the deciding effect."""
    header = ["claim", "verdict", "decided by", "effect", "design", "n"]
    rows = [
        [
            f"{row['claim']}. {row['text']}",
            row["verdict"],
            "" if pd.isna(row["part"]) else row["part"],
            "" if pd.isna(row["part"]) else effect(row, decimals=2),
            "" if pd.isna(row["design"]) else str(row["design"]),
            "" if pd.isna(row["runs"]) else _runs(int(row["runs"]), sizes(row)),
        ]
        for _, row in table.iterrows()
    ]
    return header, rows


def _runs(number: int, rest: str) -> str:
    if not number:
        return "no run could make it"
    counted = f"{number} run{'s' if number > 1 else ''}"
    return f"{counted}, {rest}" if rest else counted


def effects(table: pd.DataFrame, words: Words = USUAL) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `effects.csv`: every test of every claim."""
    header = ["test", "claim", "rule", "margin", "effect", "n", "verdict"]
    sweeps, printed = "sweeps_effect" in table, "published_effect" in table
    header += ["over sweeps"] if sweeps else []
    header += ["published"]
    rows = []
    for _, row in table.iterrows():
        beside = "" if row.get("decides", True) else ", beside"
        cells = [row["part"], str(row["claim"]), row["rule"].replace("_", " ") + beside]
        cells += [margin(row)]
        why = f", needs {row['missing']}" if isinstance(row["missing"], str) else ""
        cells += [effect(row), sizes(row, words), row["verdict"] + why]
        cells += [effect(row, "sweeps_") + _several(row)] if sweeps else []
        told = printed and not pd.isna(row["published_effect"])
        cells += [f"{row['published_part']}: {effect(row, 'published_')}" if told else ""]
        rows.append(cells)
    return header, rows


def margin(row: pd.Series) -> str:
    """The margin of a test in the unit of its effect, or nothing for tests without one."""
    value = row.get("margin")
    if pd.isna(value) or row["rule"] == "exact":
        return ""
    if row["rule"] == "within":
        return f"{1 / value:g} to {value:g}"
    return f"{value:.2f}" if row["unit"] in UNSCALED else f"{100 * value:.2f}"


def effect(row: pd.Series, prefix: str = "", decimals: int = 1) -> str:
    """An effect with its interval, in points. Correlations and slopes have two decimals."""
    value, low, high = (row[f"{prefix}{name}"] for name in ("effect", "lo", "hi"))
    if pd.isna(value):
        return ""
    scale, digits = (1, 2) if row["unit"] in UNSCALED else (100, decimals)
    text = f"{scale * value + 0.0:+.{digits}f}"
    if pd.isna(low) or low == high:
        return text
    return f"{text} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def sizes(row: pd.Series, words: Words = USUAL) -> str:
    """The numbers of examples, models and pairs behind an effect."""
    counts = {words.examples: row["images"]} | {
        name: row[name] for name in ("models", "pairs") if name in row
    }
    return ", ".join(f"{int(n):,} {name}" for name, n in counts.items() if pd.notna(n) and n)


def _several(row: pd.Series) -> str:
    return f", {int(row['sweeps'])} sweeps" if row["sweeps"] else ""


def shift_label(name: str) -> str:
    """The label of a shift in figures and printed tables."""
    return SHIFT_LABELS.get(name, name.replace("_", " "))


def shift_names(table: pd.DataFrame) -> list[str]:
    """The shifts of a methods table: the columns between ``test`` and ``shifts_mean``."""
    columns = list(table.columns)
    return columns[columns.index("test") + 1 : columns.index("shifts_mean")]


def text(header: list[str], rows: list[list[str]]) -> str:
    """A plain-text table. The first column is left-aligned, and the others are right-aligned."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in [header, ["-" * width for width in widths], *rows]
    ]
    return "\n".join(lines)


def _percent(value: float, digits: int = 1) -> str:
    return "" if pd.isna(value) else f"{100 * value:.{digits}f}"


def _interval(row: pd.Series, name: str, digits: int = 1) -> str:
    """Value and interval. Means over orders have their standard deviation instead."""
    low, high = (_percent(row[f"{name}_{end}"], digits) for end in ("lo", "hi"))
    sd = row.get(f"{name}_sd")  # published results lack this column
    spread = f"[{low}, {high}]" if pd.isna(sd) else f"(sd {100 * sd:.2f})".center(len(low) * 2 + 4)
    mark = f" {TOP}" if row[f"{name}_top"] else "\N{NO-BREAK SPACE}" * 2  # as wide, also in HTML
    return f"{_percent(row[name], digits)} {spread}{mark}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
