"""The table of predictions of a model for examples that belong to no set."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from soups import files

Row = dict[str, str]


def columns(first: Sequence[str], card: Mapping, top: int) -> list[str]:
    """Names of the columns of `rows`.

    Args:
        first: names of the columns that tell the examples.
        card: of the model.
        top: number of classes per example.
    """
    each = ["class", "folder", "probability"] if "folders" in card else ["class", "probability"]
    ranks = ["", *(f"_{rank}" for rank in range(2, top + 1))]
    return [*first, *(name + rank for rank in ranks for name in each), "error"]


def rows(
    told: Sequence[Row], logits: Sequence[tuple[np.ndarray | None, str]], card: Mapping, top: int
) -> Iterator[Row]:
    """Rows of the table. An example that cannot be read has an error and no class.

    Args:
        told: the first columns of each example, such as the file of an image.
        logits: logits of shape (classes,) and "" of each example, or None and an error.
        card: of the model.
        top: number of classes per example, most probable first.
    """
    for known, (values, reason) in zip(told, logits, strict=True):
        row = known | {"error": reason}
        if values is not None:
            shares = torch.from_numpy(values).double().softmax(0).numpy()
            # A stable sort gives ties the order of the classes, as `argmax` does.
            for rank, index in enumerate(np.argsort(-values, kind="stable")[:top], start=1):
                end = "" if rank == 1 else f"_{rank}"
                row[f"class{end}"] = card["classes"][index]
                row[f"probability{end}"] = f"{shares[index]:.6g}"
                if "folders" in card:
                    row[f"folder{end}"] = card["folders"][index]
        yield row


def write(path: str | Path, table: Sequence[Row], names: Sequence[str]) -> None:
    """Write predictions as CSV. A failed write leaves the old file unchanged.

    Args:
        path: the file.
        table: from `rows`.
        names: from `columns`.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    files.write_text(path, text.getvalue())
