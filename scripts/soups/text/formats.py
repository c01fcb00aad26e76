"""Files of texts by their ending: tables (.csv, .tsv, .txt), JSON lines, and Parquet.

Every reader yields the cells of the columns that are asked for, as text. It says where they are:
in which line, counted from 1, or in which row of a Parquet file, counted from 0.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from soups.errors import UserError, near
from soups.text import tables
from soups.text.tables import Layout

JSON = (".jsonl", ".json", ".ndjson")
PARQUET = (".parquet",)
ENDINGS = (*tables.ENDINGS, *JSON, *PARQUET)
Column = str | int
_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can hold one of a pair alone


class Row(NamedTuple):
    """One example of a file.

    Attributes:
        place: behind the name of the file, such as ":12" for line 12 or "[11]" for row 11.
        where: the same in a sentence, such as "line 12".
        cells: the cells of the columns, as text; None for a missing value.
    """

    place: str
    where: str
    cells: list[str | None]


def rows(path: Path, columns: Sequence[Column], quotes: bool | None, header: bool) -> Iterator[Row]:
    """Yield the rows of a file.

    Args:
        path: the file.
        columns: names of columns, or their numbers from 1 if the file has no header.
        quotes: whether cells of a table may stand in quotation marks; None: by the ending.
        header: whether a table has one.

    Raises:
        UserError: one sentence with the file and the line.
    """
    ending = path.suffix.lower()
    if ending in JSON:
        yield from _json_lines(path, columns)
    elif ending in PARQUET:
        yield from _parquet(path, columns)
    else:
        yield from _table(path, columns, Layout.of(path, quotes, header))


def check(path: Path, columns: Sequence[Column], quotes: bool | None, header: bool) -> None:
    """Check the ending of a file, and that its first line has the columns.

    Raises:
        UserError: see above.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise UserError(f"{path}: the ending is {ending!r}, expected one of {', '.join(ENDINGS)}")
    if ending in JSON:
        next(_json_lines(path, columns, whole=False), None)
    elif ending in PARQUET:
        _positions(path, columns, _schema(path).names)
    else:
        layout = Layout.of(path, quotes, header)
        _positions(path, columns, tables.first_row(path, layout), header)


def as_text(cell) -> str | None:
    """Return a cell of a Parquet file or a JSON line as text; None if it has no value.

    Raises:
        TypeError: if the cell is a list or the like.
    """
    if cell is None or cell != cell:  # a missing number is not a number
        return None
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool | int | float):
        return json.dumps(cell)
    raise TypeError(type(cell).__name__)


def texts_of(cells: Sequence, columns: Sequence[Column], where: str) -> list[str | None]:
    """Return cells as text.

    Raises:
        UserError: if a cell is a list or the like.
    """
    made = []
    for cell, column in zip(cells, columns, strict=True):
        try:
            made.append(as_text(cell))
        except TypeError as error:
            raise UserError(
                f"{where}: column {column!r} holds {error}, expected text or a number"
            ) from None
    return made


def _positions(
    where: Path | str, columns: Sequence[Column], names: Sequence[str], header: bool = True
) -> list[int]:
    """Return the positions of columns.

    Args:
        where: the file, for messages.
        columns: see `rows`.
        names: cells of the first line.
        header: whether these are names.
    """
    made = []
    for column in columns:
        if not header:
            if column > len(names):
                raise UserError(
                    f"{where}: there is no column {column}, expected a number from 1 to "
                    f"{len(names)}"
                )
            made.append(column - 1)
            continue
        if (count := list(names).count(column)) > 1:
            raise UserError(
                f"{where}: there are {count} columns {column!r}, expected one of this name"
            )
        if not count:
            raise UserError(
                f"{where}: there is no column {column!r}, expected one of "
                f"{', '.join(names)}{_divided(names) or near(str(column), names)}"
            )
        made.append(list(names).index(column))
    return made


def _divided(names: Sequence[str]) -> str:
    """A hint if the one column of a file holds another sign between its cells."""
    sign = next((sign for sign in ";\t,|" if len(names) == 1 and sign in names[0]), "")
    if not sign:
        return ""
    return f"; cells are divided by {sign!r} there, expected ',' in .csv files and tabs in others"


def _table(path: Path, columns: Sequence[Column], layout: Layout) -> Iterator[Row]:
    positions = None
    for number, cells in tables.cells(path, tables.text_of(path), layout):
        if positions is None:
            positions = _positions(path, columns, cells, layout.header)
            if layout.header:
                continue
        yield Row(f":{number}", f"line {number}", [cells[at] for at in positions])


def _json_lines(path: Path, columns: Sequence[Column], whole: bool = True) -> Iterator[Row]:
    if whole:
        yield from _records(path, io.StringIO(tables.text_of(path), newline="\n"), columns)
        return
    with tables.opened(path, newline="\n") as file:
        yield from _records(path, file, columns)


def _records(path: Path, source: Iterable[str], columns: Sequence[Column]) -> Iterator[Row]:
    for number, line in tables.lines(source):
        where = f"{path}, line {number}"
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # also of numbers with thousands of digits
            raise UserError(
                f"{where}: not valid JSON ({error}), expected one object per line"
            ) from None
        if not isinstance(record, dict):
            raise UserError(f"{where}: the line holds no JSON object, expected one object per line")
        _positions(where, columns, list(record))
        cells = texts_of([record[column] for column in columns], columns, where)
        for cell, column in zip(cells, columns, strict=True):
            if cell and not cell.isascii() and (half := _SURROGATE.search(cell)):
                raise UserError(
                    f"{where}: column {column!r} holds {half[0]!a}, half of a character, "
                    "expected text that UTF-8 can encode"
                )
        yield Row(f":{number}", f"line {number}", cells)


def _file(path: Path):
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            f"{path}: the texts are in a Parquet file, expected the package pyarrow, which "
            "`make text` installs (python -m pip install -r envs/requirements-text.txt)"
        ) from None
    try:
        return parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise UserError(f"{path}: not a readable Parquet file ({error})") from error


def _schema(path: Path):
    return _file(path).schema_arrow


def _parquet(path: Path, columns: Sequence[Column]) -> Iterator[Row]:
    file = _file(path)
    _positions(path, columns, file.schema_arrow.names)
    number = 0
    for batch in file.iter_batches(columns=list(columns)):
        # The order of the columns is that of the file.
        table = [batch.column(batch.schema.get_field_index(name)).to_pylist() for name in columns]
        for cells in zip(*table, strict=True):
            where = f"row {number}"
            yield Row(f"[{number}]", where, texts_of(cells, columns, f"{path}, {where}"))
            number += 1
