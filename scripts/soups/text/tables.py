"""Files of comma- or tab-separated values, in which every mistake is an error with its line."""

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from soups.errors import UserError

_LONGEST_CELL = 2**31 - 1  # characters; the default of the csv module is 131,072
ENDINGS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}  # of a file's name, to what divides its cells


@dataclass(frozen=True)
class Layout:
    """How the cells of a file are written.

    Attributes:
        delimiter: what divides the cells of a line.
        quotes: whether cells may stand in quotation marks. Such a cell may have several lines.
        header: whether the first line has the names of the columns.
    """

    delimiter: str
    quotes: bool
    header: bool

    @classmethod
    def of(cls, path: Path, quotes: bool | None, header: bool) -> "Layout":
        """The layout of a file by its ending. ``quotes`` None is true for .csv, else false."""
        delimiter = ENDINGS[path.suffix.lower()]
        return cls(delimiter, delimiter == "," if quotes is None else quotes, header)

    @property
    def newline(self) -> str:
        """How `open` divides lines. The csv module wants line breaks within cells as they are."""
        return "" if self.quotes else "\n"


def text_of(path: Path) -> str:
    """Return the text of a UTF-8 file without its byte order mark.

    Raises:
        UserError: see `decoded`.
    """
    return decoded(path.read_bytes(), path)


def decoded(content: bytes, place: Path | str) -> str:
    """Return the text of UTF-8 bytes without their byte order mark.

    Args:
        content: all bytes of a file.
        place: the file, for messages.

    Raises:
        UserError: with the position of the first byte that is not UTF-8.
    """
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = error.start + (3 if content.startswith(b"\xef\xbb\xbf") else 0)
        raise UserError(
            f"{place}, line {content[:at].count(10) + 1}: byte {at} is {content[at]:#04x}, which "
            "is not UTF-8, expected text in UTF-8"
        ) from None


@contextmanager
def opened(path: Path, newline: str) -> Iterator[TextIO]:
    """A context with an open UTF-8 file, of which only the beginning is read.

    Raises:
        UserError: as from `text_of`.
    """
    try:
        with open(path, encoding="utf-8-sig", newline=newline) as file:
            yield file
    except UnicodeDecodeError:
        text_of(path)
        raise


def lines(source: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not blank. Lines end with LF or CR LF."""
    for number, line in enumerate(source, 1):
        if line.strip():
            yield number, line.rstrip("\r\n")


def cells(path: Path, text: str, layout: Layout) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the cells of each line, the header included.

    Raises:
        UserError: if a line has another number of cells than the first one, or if quotation marks
            are not closed.
    """
    rows = _rows(path, io.StringIO(text, newline=layout.newline), layout)
    width = None
    for number, row in rows:
        width = width or len(row)
        if len(row) != width:
            hint = ", and quotes: true if cells stand in quotation marks"
            raise UserError(
                f"{path}, line {number}: there are {len(row)} columns, expected {width} as in the "
                f"first line{'' if layout.quotes else hint}"
            )
        yield number, row


def first_row(path: Path, layout: Layout) -> list[str]:
    """Return the cells of the first line, without reading the whole file.

    Raises:
        UserError: if the file is empty.
    """
    with opened(path, layout.newline) as file:
        row = next(_rows(path, file, layout), None)
    if row is None:
        wanted = "the names of the columns" if layout.header else "texts and their labels"
        raise UserError(f"{path}: the file is empty, expected {wanted}")
    return row[1]


def _rows(path: Path, source: Iterable[str], layout: Layout) -> Iterator[tuple[int, list[str]]]:
    if layout.quotes:
        yield from _quoted(path, source, layout)
        return
    for number, line in lines(source):
        yield number, line.split(layout.delimiter)


def _quoted(path: Path, source: Iterable[str], layout: Layout) -> Iterator[tuple[int, list[str]]]:
    limit = csv.field_size_limit(_LONGEST_CELL)
    reader = csv.reader(source, delimiter=layout.delimiter, strict=True)
    start = 1
    try:
        for row in reader:
            if row:  # the csv module gives an empty row for a blank line
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}, line {start}: the quotation marks do not fit ({error}), expected cells in "
            "closed quotation marks, or quotes: false if they are part of the texts"
        ) from None
    finally:
        csv.field_size_limit(limit)
