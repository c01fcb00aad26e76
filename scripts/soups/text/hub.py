"""Data sets of Hugging Face's hub, or folders of the same layout, by the package `datasets`."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from soups.errors import UserError, brief, near
from soups.files import stamp
from soups.text.formats import Row, texts_of
from soups.text.packages import INSTALLS


def name_of(spec: Mapping) -> str:
    """Return how a set is called in messages, and as the source of its texts."""
    return "/".join(part for part in (spec["hub"], spec["subset"], spec["split"]) if part)


def stamps(spec: Mapping) -> list:
    """Return the sizes and times of the files of a set in a local folder."""
    folder = Path(spec["hub"]).expanduser()
    return [stamp(path) for path in sorted(folder.rglob("*")) if path.is_file()]


def rows(spec: Mapping, columns: Sequence[str]) -> Iterator[Row]:
    """Yield the rows of a set.

    Args:
        spec: with the keys ``hub``, ``subset`` and ``split``.
        columns: names of columns.

    Raises:
        UserError: if the package is missing, if the set cannot be loaded, or if it has no such
            column.
    """
    name = name_of(spec)
    try:
        from datasets import load_dataset
    except ImportError:
        raise UserError(
            f"data.text: the set {name} is on Hugging Face's hub, expected the package datasets, "
            f"{INSTALLS}"
        ) from None
    try:
        table = load_dataset(spec["hub"], spec["subset"], split=spec["split"])
    except Exception as error:  # the package raises errors of many kinds
        reason = brief(error)
        raise UserError(
            f"data.text: the set {name} cannot be loaded ({reason}), expected a data set of "
            "Hugging Face's hub or a folder, and names of its subset and split"
        ) from error
    for column in columns:
        if column not in table.column_names:
            raise UserError(
                f"data.text: the set {name} has no column {column!r}, expected one of "
                f"{', '.join(table.column_names)}{near(column, table.column_names)}"
            )
    for number, record in enumerate(table.select_columns(list(columns))):
        where = f"row {number}"
        cells = [record[column] for column in columns]
        yield Row(f"[{number}]", where, texts_of(cells, columns, f"{name}, {where}"))
