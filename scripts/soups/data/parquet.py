"""Image sets in Parquet files, as Hugging Face's hub stores them: images as bytes, and labels.

A split of such a set lies in files such as ``data/train-00000-of-00002.parquet``. An image has the
path ``data/train-00000-of-00002.parquet[17]``: its file, and its row there counted from 0.
"""

import json
import re
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from threading import Lock

import numpy as np

from soups.errors import UserError

NAMES = ("label", "labels", "class", "target", "category")  # of the column of classes
_ROW = re.compile(r"(.*\.parquet)\[(\d+)\]", re.DOTALL)


def _library(path: Path):
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            f"{path}: the images are in Parquet files, which need the package pyarrow: "
            "pip install -r envs/requirements-parquet.txt"
        ) from None
    return parquet


def is_row(path: str) -> bool:
    """Return whether the path of an image is a row of a Parquet file."""
    return path.endswith("]") and _ROW.fullmatch(path) is not None


def files(folder: str | Path, split: str) -> list[Path]:
    """Return the files of a split in order.

    Raises:
        UserError: if the folder has no such file.
    """
    folder = Path(folder)
    for place in (folder, folder / "data"):
        for pattern in (f"{split}-*.parquet", f"{split}.parquet", f"{split}/*.parquet"):
            if found := sorted(place.glob(pattern)):
                return found
    others = sorted(path.relative_to(folder).as_posix() for path in folder.glob("**/*.parquet"))
    have = f", but files such as {others[0]!r}" if others else ""
    raise UserError(
        f"{folder}: there is no file {split}-*.parquet{have}, expected the Parquet files of the "
        "images, or `split` with the beginning of their names"
    )


@lru_cache(maxsize=64)
def _schema(path: Path, time: int) -> tuple[str, str, list[str] | None, list[int]]:
    """Columns of images and classes, names of the classes, and rows up to the end of each group."""
    try:
        file = _library(path).ParquetFile(path)
    except (OSError, ValueError) as error:  # pyarrow's errors derive from these
        raise UserError(f"{path}: not a readable Parquet file ({error})") from error
    schema = file.schema_arrow
    info = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = info.get("info", {}).get("features", {})
    kinds = {name: entry.get("_type") for name, entry in features.items() if "_type" in entry}
    images = [name for name, kind in kinds.items() if kind == "Image"]
    images = images or [f.name for f in schema if "bytes" in str(f.type) or str(f.type) == "binary"]
    named = {name: features[name]["names"] for name, kind in kinds.items() if kind == "ClassLabel"}
    # Of coarse and fine labels, the fine ones are taken.
    labels = sorted(named, key=lambda name: (name not in NAMES, -len(named[name])))
    labels = labels or [name for name in NAMES if name in schema.names]
    if not images or not labels:
        raise UserError(
            f"{path}: the columns are {', '.join(map(repr, schema.names))}, expected one of images "
            "with their bytes and one called label"
        )
    groups = range(file.metadata.num_row_groups)
    ends = list(accumulate(file.metadata.row_group(group).num_rows for group in groups))
    return images[0], labels[0], named.get(labels[0]), ends


def _described(path: Path):
    return _schema(path, path.stat().st_mtime_ns)


def labelled(folder: str | Path, split: str) -> tuple[list[str], list[str], np.ndarray]:
    """List the images of a split, without reading them.

    Returns:
        names of the classes in the order of their numbers, paths of the images below ``folder``,
        and the class of each, int64, shape (n,). The images are ordered by file and row, because
        reading an image costs as much as reading its whole row group.

    Raises:
        UserError: if a file cannot be read, if an image has no class, or if two files disagree
            about the classes.
    """
    folder, cells, paths, kinds, first = Path(folder), [], [], set(), None
    for path in files(folder, split):
        _, label, names, _ = _described(path)
        column = _library(path).read_table(path, columns=[label]).column(0).to_pylist()
        odd = next((i for i, cell in enumerate(column) if cell is None or cell == -1), None)
        if odd is not None:
            raise UserError(f"{path}[{odd}]: the image has no class, expected one in {label!r}")
        count = len(names or ())
        wrong = (cell for cell in column if not isinstance(cell, int) or not 0 <= cell < count)
        if names is not None and (cell := next(wrong, None)) is not None:
            raise UserError(
                f"{path}: column {label!r} has class {cell!r}, expected a number from 0 to "
                f"{count - 1} because the file names {count} classes"
            )
        first = first or (path, label, names)
        kinds.update(map(type, column[:1]))
        if (label, names) != first[1:] or len(kinds) > 1:
            raise UserError(
                f"{path}: the column or the names of its classes differ from those in {first[0]}, "
                "expected the same in all files of a split"
            )
        cells += column
        paths += [f"{path.relative_to(folder).as_posix()}[{row}]" for row in range(len(column))]
    if not cells:
        raise UserError(f"{first[0]}: the split has no image, expected at least one")
    names = first[2]
    if names is None:
        values = sorted(set(cells))
        names, index = [str(value) for value in values], {v: i for i, v in enumerate(values)}
        cells = [index[cell] for cell in cells]
    return list(names), paths, np.array(cells, np.int64)


def classes(folder: str | Path, split: str) -> list[str]:
    """Return the names of the classes of a split in the order of their numbers."""
    first = files(folder, split)[0]
    _, _, names, _ = _described(first)
    return list(names) if names is not None else labelled(folder, split)[0]


_reading = Lock()  # threads that need the same row group wait for the first of them to read it


@lru_cache(maxsize=4)
def _group(path: Path, time: int, number: int):
    """The column of images of a row group, which is read at once."""
    image = _schema(path, time)[0]
    table = _library(path).ParquetFile(path).read_row_group(number, columns=[image])
    return table.column(0).combine_chunks()


def read(folder: str | Path, path: str) -> bytes:
    """Return the bytes of an image's file.

    Args:
        folder: the folder of the set.
        path: path of the image, see the docstring of this module.

    Raises:
        UserError: if the row has no bytes, or if the file cannot be read.
    """
    name, row = _ROW.fullmatch(path).groups()
    file, row = Path(folder) / name, int(row)
    try:
        time = file.stat().st_mtime_ns
        ends = _schema(file, time)[3]
        if row >= ends[-1]:
            raise IndexError(f"the file has {ends[-1]} rows")
        number = bisect_right(ends, row)
        with _reading:
            group = _group(file, time, number)
        cell = group[row - (ends[number - 1] if number else 0)].as_py()
    except UserError:
        raise
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{file}[{row}]: not a readable image ({error})") from error
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if not content:
        raise UserError(f"{file}[{row}]: not a readable image (the row has no bytes)")
    return content
