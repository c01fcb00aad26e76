"""Texts without labels, for predictions: in files of any form, or from the standard input."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from torch import nn

from soups.errors import UserError
from soups.models.forward import forward
from soups.text import formats, tables
from soups.text.tokenizing import encoded
from soups.text.tokens import Tokens

STDIN = "-"
LINES = ".txt"  # ending of files with a text a line
COLUMNS = ("text", "second")  # of the other files, and of the table
BLOCK = 1000  # texts between two steps of the progress bar
Found = list[tuple[str, list[str | None]]]  # the origin of each example, and its texts


class GivenTexts:
    """Texts for predictions, see `problems.Problem.given`.

    Args:
        card: of the model, see `text.card`.
        found: the origin of each example, such as "texts.tsv:12", and its one or two texts.
    """

    def __init__(self, card: Mapping, found: Found) -> None:
        self._card = card
        names = COLUMNS[: 1 + card["pair"]]
        self.columns = ("from", *names)
        self._texts = [[(text or "").strip() for text in texts] for _, texts in found]
        self.rows = [
            {"from": origin} | dict(zip(names, texts, strict=True))
            for (origin, _), texts in zip(found, self._texts, strict=True)
        ]
        self.cut = 0

    @classmethod
    def of(cls, card: Mapping, places: Sequence[str], columns: str | None) -> "GivenTexts":
        """Read files.

        Args:
            card: of the model.
            places: files, or `STDIN`.
            columns: the option ``--columns``, or None.

        Raises:
            UserError: if there is no text, or if a file cannot be read.
        """
        asked = None if columns is None else _columns(columns, card["pair"])
        found = [row for place in places for row in _read(str(place), asked, card["pair"])]
        if not found:
            raise UserError(
                f"there is no text{f' in {places[0]}' if places else ''}, expected files of texts, "
                f"or {STDIN} for the standard input"
            )
        return cls(card, found)

    @property
    def remark(self) -> str:
        """A sentence about texts that were cut, or ""."""
        count = "1 text was" if self.cut == 1 else f"{self.cut} texts were"
        return f"{count} cut to {self._card['max_length']} tokens" if self.cut else ""

    def logits(
        self, model: nn.Module, threads: int = 1
    ) -> Iterator[list[tuple[np.ndarray | None, str]]]:
        """Compute logits block by block.

        Args:
            model: the classifier, in evaluation mode on its device.
            threads: unused, because the tokenizer has threads of its own.

        Yields:
            a list with an entry per example, in order: float32 logits of shape (classes,) and "",
            or None and the reason if a text is empty.
        """
        for start in range(0, len(self._texts), BLOCK):
            block = self._texts[start : start + BLOCK]
            out: list = [(None, self._reason(start + i)) for i in range(len(block))]
            good = [i for i, (_, reason) in enumerate(out) if not reason]
            if good:
                pair = self._card["pair"]
                texts = [tuple(block[i]) if pair else block[i][0] for i in good]
                made = encoded(self._card, texts)
                self.cut += int(made.cut.sum())
                logits = forward(model, Held(made.rows), exact=True).numpy()
                for i, values in zip(good, logits, strict=True):
                    out[i] = values, ""
            yield out

    def _reason(self, row: int) -> str:
        """Why an example cannot be classified, or ""."""
        empty = [name for name, text in self.rows[row].items() if not text]
        if not empty:
            return ""
        return f"{self.rows[row]['from']}: the column {empty[0]!r} is empty, expected a text"


class Held(Tokens):
    """Token ids in memory.

    Args:
        rows: see `text.tokenizing.Encoded`.
    """

    def __init__(self, rows: np.ndarray) -> None:
        self._rows = rows


def _columns(given: str, pair: bool) -> list[str | int]:
    """The columns that the option ``--columns`` names, all of them as numbers or as names."""
    names = [name.strip() for name in given.split(",")]
    if len(names) != 1 + pair or not all(names):
        many = "two columns with a comma between them, because the model takes two texts"
        raise UserError(
            f"--columns is {given!r}, expected "
            f"{many if pair else 'one column, because the model takes one text'}"
        )
    if not all(name.isdecimal() for name in names):
        return names
    if "0" in names:
        raise UserError(f"--columns is {given!r}, expected names, or numbers from 1")
    return [int(name) for name in names]


def _read(place: str, asked: list[str | int] | None, pair: bool) -> Found:
    if place == STDIN:
        return _lines(STDIN, tables.decoded(sys.stdin.buffer.read(), "standard input"), pair)
    path = Path(place)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise UserError(f"{place}: {what}, expected a file of texts")
    if path.suffix.lower() == LINES and asked is None:
        return _lines(place, tables.text_of(path), pair)
    columns = asked or list(COLUMNS[: 1 + pair])
    header = not isinstance(columns[0], int)
    try:
        formats.check(path, columns, None, header)
    except UserError as error:
        hint = "" if asked else f" (--columns names the {'columns' if pair else 'column'})"
        raise UserError(f"{error}{hint}") from None
    rows = formats.rows(path, columns, None, header)
    return [(f"{place}{row.place}", row.cells) for row in rows]


def _lines(place: str, text: str, pair: bool) -> Found:
    """Texts of a file with a text a line, or with two texts and a tab between them."""
    found: Found = []
    for number, line in tables.lines(text.split("\n")):
        texts = line.split("\t") if pair else [line]
        if len(texts) != 1 + pair:
            raise UserError(
                f"{place}, line {number}: there are {len(texts)} texts, expected two texts with a "
                "tab between them, because the model takes two texts"
            )
        found.append((f"{place}:{number}", texts))
    return found
