"""Tables for people: percent, one decimal, with intervals."""

import pandas as pd

TITLES = {
    "best_individual": "best individual model",
    "second_best": "second-best model",
    "uniform": "uniform soup",
    "greedy": "greedy soup",
    "greedy_random": "greedy soup, random order",
    "greedy_pruned": "greedy soup, pruned",
    "learned": "learned soup",
    "learned_by_block": "learned soup, by block",
    "learned_by_layer": "learned soup, by layer",
    "greedy_wise_ft": "greedy soup, WiSE-FT",
    "model_stock": "Model Stock",
    "task_arithmetic": "task arithmetic",
    "ties": "TIES",
    "median": "median of weights",
    "trimmed_mean": "trimmed mean of weights",
    "ensemble": "ensemble",
    "probability_ensemble": "ensemble, probabilities",
    "greedy_ensemble": "greedy ensemble",
    "greedy_soup_ensemble": "ensemble of the greedy soup",
    "oracle": "oracle: best model of each set",
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


TOP = "•"  # not significantly different from the best of the column


def title(method: str) -> str:
    """What a row of the methods table is called."""
    return TITLES.get(method, method.replace("_", " "))


def methods(
    table: pd.DataFrame, shifts: bool = False, digits: int = 1
) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a methods table, `TOP` after what is level with the best.

    Args:
        table: `methods.csv`.
        shifts: one more column for each shift.
        digits: of a percentage, after the point.
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
            title(row["method"]),
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
        [title(method)]
        + [
            _points(*part.set_index("measure").loc[name, ["difference", "lo", "hi"]])
            for name in measures
        ]
        for method, part in table.groupby("method", sort=False)
    ]
    return [f"minus the {title(reference)}", *measures.values()], rows


def _points(value: float, low: float, high: float) -> str:
    return f"{100 * value:+.2f} [{100 * low:+.2f}, {100 * high:+.2f}]"


def data(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `data.csv`."""
    rows = [[str(cell) if pd.notna(cell) else "" for cell in row] for row in table.to_numpy()]
    return [name.replace("_", " ") for name in table], rows


def real(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `real.csv`, in percent."""
    rows = [
        [title(method), f"{_percent(value)} [{_percent(low)}, {_percent(high)}]", f"{n:,}"]
        for method, value, low, high, n in table.itertuples(index=False)
    ]
    return ["method", "test, ReaL labels", "n"], rows


def calibration(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `calibration.csv`, test set only; ECE in percent."""
    test = table[table["set"] == "test"]
    header = ["method", "temperature"]
    for name in ("ECE (%)", "NLL (nats)", "Brier"):
        header += [name, f"{name.split()[0]}, scaled"]
    rows = [
        [
            title(row["method"]),
            f"{row['temperature']:.2f}",
            *(_percent(row[name]) for name in ("ece", "ece_scaled")),
            *(f"{row[name]:.3f}" for name in ("nll", "nll_scaled", "brier", "brier_scaled")),
        ]
        for _, row in test.iterrows()
    ]
    return header, rows


def claims(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `claims.csv`: each claim with its verdicts and the effect that decides."""
    further = {"sweeps_verdict": "over sweeps", "published_verdict": "published"}
    further = {name: title for name, title in further.items() if name in table}
    header = ["claim", "verdict", *further.values(), "decided by", "effect", "n", "figure"]
    rows = [
        [
            f"{row['claim']}. {row['text']}",
            row["verdict"],
            *(row[name].replace("not tested", "–") for name in further),
            "outside this workflow" if pd.isna(row["part"]) else row["part"],
            effect(row),
            sizes(row),
            "" if pd.isna(row["figure"]) else row["figure"].replace("_", " "),
        ]
        for _, row in table.iterrows()
    ]
    return header, rows


def effects(table: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Header and rows of `effects.csv`: every test of every claim."""
    header = ["test", "claim", "rule", "effect", "n", "verdict"]
    sweeps, printed = "sweeps_effect" in table, "published_effect" in table
    header += ["over sweeps"] if sweeps else []
    header += ["published"]
    rows = []
    for _, row in table.iterrows():
        cells = [row["part"], str(row["claim"]), row["rule"].replace("_", " ")]
        why = f", no {row['missing']}" if isinstance(row["missing"], str) else ""
        cells += [effect(row), sizes(row), row["verdict"] + why]
        cells += [effect(row, "sweeps_") + _several(row)] if sweeps else []
        told = printed and not pd.isna(row["published_effect"])
        cells += [f"{row['published_part']}: {effect(row, 'published_')}" if told else ""]
        rows.append(cells)
    return header, rows


def effect(row: pd.Series, prefix: str = "") -> str:
    """An effect with its interval; accuracies and ECE in points."""
    value, low, high = (row[f"{prefix}{name}"] for name in ("effect", "lo", "hi"))
    if pd.isna(value):
        return ""
    scale, digits = (1, 2) if row["unit"] == "rank correlation" else (100, 1)
    text = f"{scale * value + 0.0:+.{digits}f}"
    if pd.isna(low) or low == high:
        return text
    return f"{text} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def sizes(row: pd.Series) -> str:
    """How many images, models and pairs an effect comes from."""
    counts = {name: row[name] for name in ("images", "models", "pairs")}
    return ", ".join(f"{int(n):,} {name}" for name, n in counts.items() if pd.notna(n) and n)


def _several(row: pd.Series) -> str:
    return f", {int(row['sweeps'])} sweeps" if row["sweeps"] else ""


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


def _percent(value: float, digits: int = 1) -> str:
    return "" if pd.isna(value) else f"{100 * value:.{digits}f}"


def _interval(row: pd.Series, name: str, digits: int = 1) -> str:
    """Value and interval, or the standard deviation over orders where there are several."""
    low, high = (_percent(row[f"{name}_{end}"], digits) for end in ("lo", "hi"))
    sd = row.get(f"{name}_sd")  # published results have no orders
    spread = f"[{low}, {high}]" if pd.isna(sd) else f"(sd {100 * sd:.2f})".center(len(low) * 2 + 4)
    mark = f" {TOP}" if row[f"{name}_top"] else "\N{NO-BREAK SPACE}" * 2  # as wide, in HTML too
    return f"{_percent(row[name], digits)} {spread}{mark}"


def markdown(header: list[str], rows: list[list[str]]) -> str:
    """The table for a README."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
