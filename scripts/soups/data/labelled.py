"""Flat folders of images with a file of labels, such as ImageNet's validation set."""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soups.data.decode import ENDINGS
from soups.data.imagenet import imagenet_classes
from soups.errors import UserError

KIT = "meta.mat"  # the file of ImageNet's development kit that explains its class numbers


def flat_images(
    folder: Path, file: Path, train: Sequence[str], skip_unknown: bool
) -> tuple[list[str], np.ndarray, list[str], list[str]]:
    """List the images of one flat folder by a file of labels, ordered by class and then by name.

    Each line of the file holds a class, for the images in name order, or an image and its class.
    A class is the folder name of a training class. Beside an image, it may be the class index,
    counted from 0. Two files that come with ImageNet are read unchanged: Kaggle's
    LOC_val_solution.csv, and the class numbers of the development kit, which the meta.mat in the
    same folder explains.

    Returns:
        paths, labels, missing images, and the labels and images that are left out.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected the images of the labels in {file}")
    if not file.is_file():
        raise UserError(f"{file}: no such file, expected the labels of the images in {folder}")
    here = sorted(
        e.name
        for e in os.scandir(folder)
        if e.is_file() and e.name.lower().endswith(ENDINGS) and not e.name.startswith(".")
    )
    label_of, named = _labels(file, folder, here)
    index = _meaning(file, set(label_of.values()), train, named)
    unknown = sorted(label for label in set(label_of.values()) if index.get(label, -1) < 0)
    if unknown and not skip_unknown:
        raise UserError(
            f"{file}: label {unknown[0]!r} is none of the {len(train)} training classes, expected "
            "one of them, or skip_unknown"
        )
    known = {name for name, label in label_of.items() if label not in unknown}
    missing = sorted(known - set(here))
    passed_over = [*unknown, *(name for name in here if name not in label_of)]
    order = sorted((index[label_of[name]], name) for name in known.intersection(here))
    return [name for _, name in order], np.array([c for c, _ in order], int), missing, passed_over


def _labels(file: Path, folder: Path, here: Sequence[str]) -> tuple[dict[str, str], bool]:
    """Read a file of labels.

    Returns:
        image to label as written in the file, and whether the file has image names.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{file}: the file is not text, expected one label per line") from None
    lines = text.splitlines()
    cells = csv.reader(lines) if "," in text else (line.split() for line in lines)
    rows = [row for row in ([cell for cell in row if cell] for row in cells) if row]
    named = bool(rows) and len(rows[0]) > 1
    if not named:
        if len(rows) != len(here):
            raise UserError(
                f"{file}: the file has {len(rows)} labels, expected one for each of the "
                f"{len(here)} images in {folder}"
            )
        return dict(zip(here, (row[0] for row in rows), strict=True)), named
    odd = next((row for row in rows if len(row) < 2), None)
    if odd:
        raise UserError(f"{file}: a line holds only {odd[0]!r}, expected an image and its class")
    pairs = [(row[0], row[1]) for row in rows]
    if pairs[0][0] == "ImageId":  # Kaggle's names have no ending, and boxes follow the class
        ending = Path(here[0]).suffix if here else ".JPEG"
        pairs = [(name + ending, label.split()[0]) for name, label in pairs[1:]]
    label_of = dict(pairs)
    if len(label_of) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UserError(f"{file}: image {twice!r} has two lines, expected one line per image")
    return label_of, named


def _meaning(file: Path, labels: set[str], train: Sequence[str], named: bool) -> dict[str, int]:
    """Return the training class of each label.

    Args:
        file: the file of labels.
        labels: the labels as written in the file.
        train: class folders of the training set.
        named: whether the file has image names.

    Returns:
        label to index of its training class, or to -1 for no training class. Unknown labels have no
        entry.
    """
    index = {name: i for i, name in enumerate(train)}
    if labels <= set(index) or not all(label.isdecimal() for label in labels):
        return index
    if named:
        # An index counts all 1,000 ImageNet classes, even if the training set has only some.
        known = imagenet_classes()
        own = train if not set(train) <= set(known) else known
        return {str(i): index.get(name, -1) for i, name in enumerate(own)}
    kit = file.with_name(KIT)
    if not kit.is_file():
        raise UserError(
            f"{file}: the file has class numbers without image names, expected {kit} of ImageNet's "
            "development kit, which explains these numbers"
        )
    from scipy.io import loadmat

    try:
        synsets = np.atleast_1d(loadmat(kit, squeeze_me=True)["synsets"])
        return {str(int(row["ILSVRC2012_ID"])): index.get(str(row["WNID"]), -1) for row in synsets}
    except Exception as error:  # on broken files, scipy raises exceptions of many types
        raise UserError(
            f"{kit}: the file cannot be read ({error}), "
            "expected the development kit's synsets with ILSVRC2012_ID and WNID"
        ) from error
