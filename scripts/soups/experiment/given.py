"""Tables of models (``sweep.table``): read a CSV, and check the names of models."""

import csv
import re
from collections.abc import Container, Iterator
from pathlib import Path

from soups.errors import UserError
from soups.hyperparameters import START, to_number
from soups.roles import BEST, ORACLE, SECOND_BEST

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
# Names that no ingredient, soup or ensemble may have: the starts, rows that every methods table
# has, and words that a CSV reader takes for a missing value.
RESERVED = (*START.values(), BEST, SECOND_BEST, ORACLE)
RESERVED += ("NA", "NULL", "null", "None", "nan", "NaN")


def lines(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Read a table.

    Yields:
        number of the line in the file, and column to text without spaces at its ends.

    Raises:
        UserError: if the file does not exist or is not a table with one name per column.
    """
    if not Path(path).is_file():
        raise UserError(f"sweep.table is {path!r}, expected an existing CSV of hyperparameters")
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            read = [line for line in csv.reader(handle) if line]
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text, expected a CSV with commas") from None
    header = [name.strip() for name in read[0]] if read else []
    if len(set(header)) < len(header) or ";" in "".join(header):
        raise UserError(f"{path}: row 1 is {read[0]}, expected different names and commas")
    for number, line in enumerate(read[1:], start=2):
        if len(line) != len(header):
            raise UserError(
                f"{path}: row {number} has {len(line)} values, expected {len(header)} as in row 1"
            )
        yield number, {key: value.strip() for key, value in zip(header, line, strict=True)}


def named(path: str, number: int, name: str, rows: Container[str]) -> str:
    """Return the name of a model in a row of a table, after a check.

    Args:
        path, number: the table and the row's number, for messages.
        name: the name.
        rows: names of the rows before.

    Raises:
        UserError: if the name is invalid or occurs twice.
    """
    if not NAME.fullmatch(name) or name in RESERVED:
        raise UserError(
            f"{path}: row {number} has the model {name!r}, expected a name of letters, digits, "
            f"_ and -, and none of {', '.join(RESERVED)}"
        )
    if name in rows:
        raise UserError(f"{path}: model {name!r} occurs twice, expected one row per model")
    return name


def rows(path: str) -> dict[str, dict]:
    """The rows of a table of ready-made models, with any columns.

    Returns:
        model to its columns, see `values`.

    Raises:
        UserError: for an invalid table, or one without the column ``model``.
    """
    out: dict[str, dict] = {}
    for number, row in with_model(path):
        out[named(path, number, row.pop("model"), out)] = row
    return values(out)


def with_model(path: str) -> Iterator[tuple[int, dict[str, str]]]:
    """As `lines`, for a table that must have the column ``model``.

    Raises:
        UserError: if it has no such column.
    """
    for number, row in lines(path):
        if "model" not in row:
            raise UserError(
                f"{path} has the columns {', '.join(row)}, expected a column 'model' with the "
                "names or files of the models"
            )
        yield number, row


def values(rows: dict[str, dict]) -> dict[str, dict]:
    """Convert the text of a table.

    A column whose cells are all numbers becomes a column of numbers, and any other one keeps its
    text. An empty cell becomes None.
    """
    columns = list(next(iter(rows.values()), {}))
    read = {name: _column([row[name] for row in rows.values()]) for name in columns}
    return {
        model: {name: read[name][i] for name in columns} for i, model in enumerate(rows)
    }  # fmt: skip


def _column(cells: list[str]) -> list:
    try:
        return [to_number(cell) if cell else None for cell in cells]
    except ValueError:
        return [cell or None for cell in cells]
