"""Predictions of a model for images that belong to no set, with the preprocessing of its card."""

import csv
import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from torch import nn

from soups import files
from soups.data.decode import ImageFiles
from soups.data.walking import Aside, walk
from soups.errors import UserError
from soups.jobs import devices
from soups.models.forward import BATCH, GPU_BATCH, forward

Row = dict[str, str]


def images_of(places: Sequence[str | Path], listed: str | Path | None = None) -> list[str]:
    """List the images to predict.

    Args:
        places: image files, and folders, whose images are taken in order of their names at any
            depth. The files of a folder that are no images are left out, see `data.walking`.
        listed: a text file with one image file a line, or None.

    Raises:
        UserError: if a place does not exist, if a folder has no image, or if no image is given.
    """
    found = []
    for place in map(Path, places):
        if place.is_dir():
            aside = Aside()
            names = sorted(walk(place, "", aside))
            if not names:
                has = f" (it has {aside.as_text()})" if aside.endings else ""
                raise UserError(
                    f"{place}: the folder has no image{has}, expected files such as .jpg or .png"
                )
            found += [str(place / name) for name in names]
        elif place.exists():
            found.append(str(place))
        else:
            raise UserError(f"{place}: no such file, expected an image or a folder of images")
    if listed is not None:
        if not Path(listed).is_file():
            raise UserError(f"{listed}: no such file, expected a list of image files")
        try:
            lines = Path(listed).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise UserError(
                f"{listed} is not text in UTF-8, expected an image file a line"
            ) from None
        found += [line.strip() for line in lines if line.strip()]
    if not found:
        raise UserError("there is no image, expected image files, folders or a list of files")
    return found


def predict(
    model: nn.Module, card: dict, paths: Sequence[str], threads: int = 1
) -> Iterator[list[tuple[np.ndarray | None, str]]]:
    """Compute the logits of images batch by batch, while threads decode the next batch.

    Args:
        model: the classifier, in evaluation mode on its device.
        card: of the model, see `models.card`.
        paths: image files.
        threads: images decoded at the same time.

    Yields:
        a list with an entry per image, in order: float32 logits of shape (classes,) and "", or
        None and the reason why the image cannot be read.
    """
    images = ImageFiles(".", list(paths), card["image_size"], upright=card.get("upright", True))

    def decoded(row: int) -> np.ndarray | str:
        try:
            return images[row]
        except UserError as error:
            return str(error)

    size = BATCH if devices.kind() == "cpu" else GPU_BATCH
    starts = range(0, len(paths), size)
    with ThreadPoolExecutor(threads) as pool:

        def batch(start: int) -> list:
            return [pool.submit(decoded, row) for row in range(start, len(paths))[:size]]

        coming = batch(0)
        for start in starts:
            pixels, coming = [each.result() for each in coming], batch(start + size)
            good = [i for i, each in enumerate(pixels) if not isinstance(each, str)]
            out: list = [(None, each) for each in pixels]
            if good:
                stack = np.stack([pixels[i] for i in good])
                logits = forward(model, stack, batch=size, exact=True).numpy()
                for i, values in zip(good, logits, strict=True):
                    out[i] = values, ""
            yield out


def columns(card: dict, top: int) -> list[str]:
    """Names of the columns of `rows`.

    Args:
        card: of the model.
        top: number of classes per image.
    """
    each = ["class", "folder", "probability"] if "folders" in card else ["class", "probability"]
    ranks = ["", *(f"_{rank}" for rank in range(2, top + 1))]
    return ["file", *(name + rank for rank in ranks for name in each), "error"]


def rows(
    paths: Sequence[str], logits: Sequence[tuple[np.ndarray | None, str]], card: dict, top: int
) -> Iterator[Row]:
    """Rows of the table of predictions. An image that cannot be read has an error and no class.

    Args:
        paths: image files.
        logits: entries of `predict`, one per path.
        card: of the model.
        top: number of classes per image, most probable first.
    """
    for path, (values, reason) in zip(paths, logits, strict=True):
        row = {"file": path, "error": reason}
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
