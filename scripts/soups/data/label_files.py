"""Read files of labels as people have them: any separator, with or without header and index."""

import csv
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from soups.data.walking import ENDINGS
from soups.errors import UserError

SEPARATORS = ("\t", ";", ",", "|")
KAGGLE = "predictionstring"  # ImageNet's column of labels, in which boxes follow the class
# Titles of columns, in lower case without spaces and underscores. The first title found decides
# which column holds the classes, so a name is preferred to a number.
IMAGES = (
    "imageid", "image", "images", "imagename", "imagepath", "imagefile", "img", "imgname",
    "imgpath", "file", "filename", "filenames", "filepath", "path", "paths", "name", "id", "fname",
)  # fmt: skip
LABELS = (
    KAGGLE, "classname", "labelname", "categoryname", "label", "labels", "class", "classes",
    "category", "target", "y", "classid", "labelid", "categoryid", "classindex", "species", "breed",
)  # fmt: skip


class Names:
    """The images of a folder, found by their names as files of labels write them.

    Args:
        here: paths below the folder.
    """

    def __init__(self, here: Sequence[str]) -> None:
        self._paths = {composed(path): path for path in here}
        self._stems = _unique((composed(os.path.splitext(path)[0]), path) for path in here)
        bases = [composed(path.rpartition("/")[2]) for path in here]
        self._bases = _unique(zip(bases, here, strict=True))
        self._base_stems = _unique(
            (os.path.splitext(base)[0], path) for base, path in zip(bases, here, strict=True)
        )
        self.ending = os.path.splitext(here[0])[1] if here else ".JPEG"

    def find(self, cell: str) -> str | None:
        """Return the path of an image, or None if the folder does not have it.

        The cell may have backslashes, leading folders that lie above the folder of the images, or
        no ending.
        """
        name = plain(cell)
        while name:
            if (path := self._paths.get(name) or self._stems.get(name)) is not None:
                return path
            _, slash, rest = name.partition("/")
            if not slash:
                return self._bases.get(name) or self._base_stems.get(name)
            name = rest
        return None

    def missing(self, cell: str) -> str:
        """Return the name of an image that the folder does not have, with an ending."""
        name = plain(cell)
        return name if is_image_name(name) else name + self.ending


def _unique(pairs) -> dict[str, str]:
    """Return the pairs whose key occurs once."""
    pairs = list(pairs)
    count = Counter(key for key, _ in pairs)
    return {key: path for key, path in pairs if count[key] == 1}


def composed(name: str) -> str:
    """Return the composed Unicode form of a name (NFC), in which names are compared.

    macOS stores "é" as two characters and Linux as one, and both show the same name.
    """
    return unicodedata.normalize("NFC", name)


def plain(cell: str) -> str:
    """Return a path as Linux writes it."""
    name = composed(cell.strip()).replace("\\", "/")
    return re.sub(r"^([A-Za-z]:)?(\./|/)*", "", name)


def is_image_name(cell: str) -> bool:
    """Return whether a cell ends like the name of an image."""
    return os.path.splitext(cell.strip())[1].lower() in ENDINGS


def read(file: Path, here: Sequence[str]) -> tuple[list[tuple[str, str]] | list[str], bool]:
    """Read a file of labels.

    Args:
        file: the file.
        here: the images of the folder.

    Returns:
        pairs of an image as the file names it and its label, or labels alone in the order of the
        images, and whether the file names images.

    Raises:
        UserError: if the file is no text, or if it does not say which label an image has.
    """
    rows = _rows(file, _text(file), here)
    width = max((len(row) for row in rows), default=0)
    if width < 2:
        cells = [row[0] for row in rows]
        if len(cells) == len(here) + 1 and _title(cells[0]) in LABELS:
            cells = cells[1:]
        return cells, False
    short = next((row for row in rows if len(row) < 2), None)
    if short:
        raise UserError(f"{file}: a line holds only {short[0]!r}, expected an image and its class")
    rows = [row + [""] * (width - len(row)) for row in rows]
    names = Names(here)
    image = _image_column(rows, names)
    title = _header(rows, image, names)
    body = rows[1:] if title else rows
    label = _label_column(file, title, body, image)
    pairs = [(row[image].strip(), row[label].strip()) for row in body]
    if title and title[label] == KAGGLE:
        pairs = [(name, cell.split()[0]) for name, cell in pairs if cell]
    pairs = [(name, cell) for name, cell in pairs if cell and name]
    if pairs and all(re.fullmatch(r"\d+\.0", cell) for _, cell in pairs):  # pandas' numbers
        pairs = [(name, cell[:-2]) for name, cell in pairs]
    return pairs, True


@lru_cache(maxsize=32)
def _decoded(file: Path, size: int, time: int) -> str | None:
    content = file.read_bytes()
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _text(file: Path) -> str:
    found = file.stat()
    text = _decoded(file, found.st_size, found.st_mtime_ns)
    if text is None:
        raise UserError(
            f"{file}: the file is not text, expected one label per line, in UTF-8 or UTF-16"
        )
    return text


def _rows(file: Path, text: str, here: Sequence[str]) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    sample = lines[:50]
    for separator in SEPARATORS:
        if sample and all(separator in line for line in sample):
            return _filled(csv.reader(lines, delimiter=separator, skipinitialspace=True))
    if any("," in line for line in lines):
        return _filled(csv.reader(lines, skipinitialspace=True))
    known = {composed(name) for name in here}
    return [_words(line, known) for line in lines]


def _filled(rows) -> list[list[str]]:
    """Rows with a cell that is not empty, without the columns on the right that are empty."""
    out = [cells for row in rows if any(cells := [cell.strip() for cell in row])]
    while (width := max(map(len, out), default=0)) and not any(
        row[-1] for row in out if len(row) == width
    ):
        out = [row[:-1] if len(row) == width else row for row in out]
    return out


def _words(line: str, known: set[str]) -> list[str]:
    """Split a line at spaces. The name of an image may hold spaces or stand in quotes."""
    if line.lstrip().startswith('"'):
        return [cell for cell in next(csv.reader([line.strip()], delimiter=" ")) if cell]
    words = line.split()
    for end in range(len(words) - 1, 1, -1):
        if composed(" ".join(words[:end])) in known:
            return [" ".join(words[:end]), *words[end:]]
    return words


def _image_column(rows: list[list[str]], names: Names) -> int:
    """The column with most images of the folder. Of two, the one with endings is taken."""
    sample = rows[:1000]

    def fits(column: int) -> tuple[int, int]:
        cells = [row[column] for row in sample]
        return sum(names.find(c) is not None for c in cells), sum(map(is_image_name, cells))

    columns = range(len(rows[0]))
    best = max(columns, key=lambda column: (*fits(column), -column))
    if fits(best) == (0, 0):
        titles = [_title(cell) for cell in rows[0]]
        return next((titles.index(known) for known in IMAGES if known in titles), 0)
    return best


def _title(cell: str) -> str:
    return re.sub(r"[\s_-]", "", cell.lower())


def _header(rows: list[list[str]], image: int, names: Names) -> list[str] | None:
    """Titles of the columns, or None if the first line is an image."""
    first = rows[0]
    if is_image_name(first[image]) or names.find(first[image]) is not None:
        return None
    titles = [_title(cell) for cell in first]
    if titles[image] in IMAGES or set(titles) & set(LABELS):
        return titles
    found = any(names.find(row[image]) is not None for row in rows[1:50])
    # An image that is missing has a name like those of the others, and a title does not.
    like = any(_shape(row[image]) == _shape(first[image]) for row in rows[1:50])
    return titles if found and not like else None


def _shape(cell: str) -> str:
    return re.sub(r"\d+", "0", cell)


def _label_column(file: Path, title: list[str] | None, body: list[list[str]], image: int) -> int:
    every = [c for c in range(len(body[0]) if body else 2) if c != image]
    if title:
        for known in LABELS:
            for column in every:
                if title[column] == known:
                    return column
    others = [column for column in every if not _index(body, column)] or every
    if title:
        _check_one_hot(file, title, body, others)
        if len(others) > 1 and any(title[column] for column in others):
            raise UserError(
                f"{file}: the columns are {', '.join(map(repr, title))}, expected one of them to "
                "be called label or class"
            )
    return others[0]


def _index(body: list[list[str]], column: int) -> bool:
    """Whether a column counts the lines, as pandas writes it in front of the others."""
    cells = [row[column] for row in body]
    return len(cells) > 1 and any(
        cells == [str(start + i) for i in range(len(cells))] for start in (0, 1)
    )


def _check_one_hot(file: Path, title: list[str], body: list[list[str]], others: list[int]) -> None:
    cells = {row[column] for row in body for column in others}
    if len(others) > 1 and cells <= {"0", "1", "0.0", "1.0", "", "True", "False"}:
        raise UserError(
            f"{file}: the columns {title[others[0]]!r} and {title[others[1]]!r} hold 0 and 1 alone "
            "as in a one-hot table, expected one column with the class of each image"
        )
