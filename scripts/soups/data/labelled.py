"""Folders of images with a file of labels, such as ImageNet's validation set."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from soups.data import label_files
from soups.data.imagenet import imagenet_classes
from soups.data.label_files import composed
from soups.data.walking import Aside, walk
from soups.errors import UserError, near

KIT = "meta.mat"  # the file of ImageNet's development kit that explains its class numbers


def flat_images(
    folder: Path, file: Path, train: Sequence[str], skip_unknown: bool, aside: Aside | None = None
) -> tuple[list[str], np.ndarray, list[str], list[str]]:
    """List the images of one folder by a file of labels, ordered by class and then by name.

    Each line of the file holds a class, for the images in name order, or an image and its class
    (see `label_files`). A class is the folder name of a training class. Beside an image, it may be
    the class index, counted from 0. Two files that come with ImageNet are read unchanged: Kaggle's
    LOC_val_solution.csv, and the class numbers of the development kit, which the meta.mat in the
    same folder explains.

    Returns:
        paths, labels, missing images, and the labels and images that are left out.
    """
    here = _images(folder, file, aside)
    label_of, missing_of, named = _labels(file, folder, here)
    labels = set(label_of.values()) | set(missing_of.values())
    index = _meaning(file, labels, train, named)
    unknown = sorted(label for label in labels if index.get(label, -1) < 0)
    if unknown and not skip_unknown:
        raise UserError(
            f"{file}: label {unknown[0]!r} is none of the {len(train)} training classes, expected "
            f"one of them, or skip_unknown{near(unknown[0], train)}"
        )
    if missing_of and not label_of:
        raise UserError(
            f"{file}: none of its {len(missing_of)} images is in {folder}, such as "
            f"{next(iter(missing_of))!r}, expected paths below that folder"
        )
    missing = sorted(name for name, label in missing_of.items() if index.get(label, -1) >= 0)
    passed_over = [*unknown, *(name for name in here if name not in label_of)]
    numbers = {name: index.get(label, -1) for name, label in label_of.items()}
    known = {name: number for name, number in numbers.items() if number >= 0}
    order = sorted((c, name) for name, c in known.items())
    return [name for _, name in order], np.array([c for c, _ in order], int), missing, passed_over


def classes(folder: Path, file: Path) -> list[str]:
    """Return the classes of a training set: the labels of its file, numbers in their order.

    Raises:
        UserError: if the folder or the file is missing or cannot be read.
    """
    label_of, missing_of, _ = _labels(file, folder, _images(folder, file))
    labels = {*label_of.values(), *missing_of.values()}
    if not labels:
        raise UserError(f"{file}: the file has no label, expected an image and its class per line")
    return sorted(labels, key=(lambda label: (int(label), label)) if _decimal(labels) else None)


def _decimal(labels: set[str]) -> bool:
    return all(label.isdecimal() for label in labels)


def _images(folder: Path, file: Path, aside: Aside | None = None) -> list[str]:
    """Return the paths of all images below a folder in name order."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected the images of the labels in {file}")
    if not file.is_file():
        raise UserError(f"{file}: no such file, expected the labels of the images in {folder}")
    return sorted(walk(folder, "", aside))


def _labels(
    file: Path, folder: Path, here: Sequence[str]
) -> tuple[dict[str, str], dict[str, str], bool]:
    """Read a file of labels.

    Returns:
        image to label as written in the file, the same for images that the folder does not have,
        and whether the file has image names.
    """
    now = file.stat()
    return _read(file, folder, tuple(here), now.st_size, now.st_mtime_ns)


@lru_cache(maxsize=16)  # one parse of the Snakefile asks several times for the same labels
def _read(
    file: Path, folder: Path, here: tuple[str, ...], size: int, time: int
) -> tuple[dict[str, str], dict[str, str], bool]:
    found, named = label_files.read(file, here)
    if not named:
        if len(found) != len(here):
            raise UserError(
                f"{file}: the file has {len(found)} labels, expected one for each of the "
                f"{len(here)} images in {folder}"
            )
        return dict(zip(here, map(composed, found), strict=True)), {}, named
    names = label_files.Names(here)
    label_of, missing_of = {}, {}
    for cell, text in found:
        path, label = names.find(cell), composed(text)
        key, into = (path, label_of) if path else (names.missing(cell), missing_of)
        if into.setdefault(key, label) != label:
            raise UserError(
                f"{file}: image {key!r} has two lines with different classes, {into[key]!r} and "
                f"{label!r}, expected one class per image"
            )
    return label_of, missing_of, named


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
    index = {composed(name): i for i, name in enumerate(train)}
    if labels <= set(index) or not _decimal(labels):
        return index
    if named:
        # An index counts all 1,000 ImageNet classes, even if the training set has only some.
        known = imagenet_classes()
        own = train if not set(train) <= set(known) else known
        numbers = {str(i): index.get(composed(name), -1) for i, name in enumerate(own)}
        return {label: numbers[str(int(label))] for label in labels if str(int(label)) in numbers}
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
