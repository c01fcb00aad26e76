"""Read a set of texts: check every line, keep a random subset, and report what was found.

A record of a set is a dictionary with ``text``, perhaps ``second``, ``label`` (the name of a
class), and ``from`` (the file and line, such as "train.tsv:12").
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from soups.errors import UserError
from soups.text import formats, hub
from soups.text.settings import columns_of
from soups.text.source import files_of

SHOWN = 20  # labels that one message lists at most


def read(origin: Mapping, name: str) -> tuple[list[dict], int]:
    """Read a set.

    Args:
        origin: where the texts of the set are, see `source.Texts.origin`.
        name: of the set.

    Returns:
        records in the order of the files, and the number of texts before ``limit``.

    Raises:
        UserError: one sentence, with the file and the line.
    """
    found = list(_records(origin))
    kept = _limited(origin, name, found)
    _check_classes(origin, name, kept)
    return kept, len(found)


def write_lines(records: Iterable[Mapping]) -> str:
    """Return records as JSON lines."""
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def read_lines(path: str | Path) -> list[dict]:
    """Read what `write_lines` wrote."""
    with open(path, encoding="utf-8", newline="\n") as file:
        return [json.loads(line) for line in file]


def report(origin: Mapping, name: str, records: list[dict], found: int) -> dict:
    """Return the report of a set, as it is written to JSON.

    Args:
        origin, name: see `read`.
        records, found: what `read` returned.
    """
    counts = Counter(record["label"] for record in records)
    lengths = [len(record["text"]) + len(record.get("second", "")) for record in records]
    return {
        "set": name,
        "classes": {label: counts[label] for label in _names(origin) if counts[label]},
        "texts": len(records),
        "in_files": found,
        "texts_each": 2 if "second" in records[0] else 1,
        "longest": max(lengths),
        "files": _sources(origin),
    }


def _names(origin: Mapping) -> list[str]:
    """Names of the classes in the order of their labels."""
    return list(dict.fromkeys(origin["classes"].values()))


def _sources(origin: Mapping) -> list[str]:
    """Names of the files as the configuration has them, or the name of the set on the hub."""
    return [hub.name_of(origin)] if "hub" in origin else origin["files"]


def _records(origin: Mapping) -> Iterator[dict]:
    classes, columns = origin["classes"], columns_of(origin)
    for file, source, row in _rows(origin, columns):
        cells = [(cell or "").strip() for cell in row.cells]
        label = cells.pop()
        for cell, column in zip(cells, columns, strict=False):
            if not cell:
                raise UserError(
                    f"{file}, {row.where}: the text in column {column!r} is empty, expected a text "
                    "in every line"
                )
        if label not in classes:
            values = list(classes)
            more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
            raise UserError(
                f"{file}, {row.where}: the label is {label!r}, expected one of "
                f"{', '.join(values[:SHOWN])}{more}, the classes of the training set "
                "by name or number"
            )
        texts = dict(zip(("text", "second"), cells, strict=False))
        yield texts | {"label": classes[label], "from": f"{source}{row.place}"}


def _rows(origin: Mapping, columns: list) -> Iterator[tuple[str, str, formats.Row]]:
    """Yield the name of each row's file in messages, its name in records, and the row."""
    sources = _sources(origin)
    if "hub" in origin:
        yield from ((sources[0], sources[0], row) for row in hub.rows(origin, columns))
        return
    for path, source in zip(files_of(origin, origin), sources, strict=True):
        found = formats.rows(path, columns, origin["quotes"], origin["header"])
        yield from ((str(path), source, row) for row in found)


def _limited(origin: Mapping, name: str, records: list[dict]) -> list[dict]:
    """Return a random subset of ``limit`` records in their order, or all of them."""
    limit = origin["limit"] or len(records)
    if limit >= len(records):
        return records
    rng = np.random.default_rng([origin["seed"], zlib.crc32(name.encode())])
    return [records[i] for i in np.sort(rng.permutation(len(records))[:limit])]


def _check_classes(origin: Mapping, name: str, records: list[dict]) -> None:
    """Check that training texts have all classes, and others at least two."""
    within = f"{name} ({', '.join(_sources(origin))})"
    have = {record["label"] for record in records}
    if not have:
        raise UserError(f"{within} has no text, expected texts of at least two classes")
    if len(have) < 2:
        raise UserError(
            f"{within} has texts of class {min(have)!r} alone, expected at least two classes"
        )
    lacking = [label for label in _names(origin) if label not in have]
    if name == "train" and lacking:
        raise UserError(
            f"{within} has no text of class {lacking[0]!r}, expected texts of all classes"
            + (
                f", which {len(records)} texts chosen by data.text.limit lack"
                * bool(origin["limit"])
            )
        )
