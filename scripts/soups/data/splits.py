"""The held-out split: a seeded, stratified share of the training set (paper, section 3.1)."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from soups.errors import UserError
from soups.files import fingerprint


def split(
    labels: np.ndarray,
    classes: Sequence[str],
    settings: Mapping,
    dropped: Sequence[int] = (),
    examples: str = "images",
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training set as the configuration says, at random or by a file of marks.

    Args:
        labels: shape (n,).
        classes: class names, for messages.
        settings: the config section ``data.heldout``.
        dropped: see `given_split`.
        examples: what the set holds, for messages.

    Returns:
        indices of training images and of held-out images, as `heldout_split`.

    Raises:
        UserError: see `read_marks`, `given_split` and `heldout_split`.
    """
    if path := settings["indices"]:
        return given_split(read_marks(path), labels, dropped, path, classes, examples)
    how = {key: settings[key] for key in ("fraction", "per_class", "seed")}
    return heldout_split(labels, classes=classes, **how, examples=examples)


def reduced(train: np.ndarray, labels: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Return a share of the training images of every class, at least one of each.

    A smaller share is a part of a larger one, and the held-out images do not depend on it.

    Args:
        train: indices of the training images.
        labels: of all images, shape (n,).
        share: between 0 and 1.
        seed: of the random choice.
    """
    kept = []
    for c in np.unique(labels[train]):
        rows = np.random.default_rng([seed, int(c), 1]).permutation(train[labels[train] == c])
        kept.append(rows[: max(1, round(share * len(rows)))])
    return np.sort(np.concatenate(kept))


def manifest(
    settings: Mapping,
    classes: Sequence[str],
    labels: np.ndarray,
    paths: Sequence[str] | None,
    train: np.ndarray,
    heldout: np.ndarray,
) -> dict:
    """Return the record of a split, with a fingerprint of it.

    Args:
        settings: the config section ``data.heldout``.
        classes: class names.
        labels: of all training images, shape (n,).
        paths: the original path of each image, or None if the images were drawn.
        train, heldout: indices of both sides, from `split`.
    """
    made = {
        **settings,
        "train_images": len(train),
        "heldout_images": len(heldout),
        "classes": classes,
        "indices": heldout.tolist(),
        "labels": labels[heldout].tolist(),
        "paths": [paths[i] for i in heldout] if paths else None,
    }
    return made | {"sha256": fingerprint(made)}


def heldout_split(
    labels: np.ndarray,
    fraction: float,
    seed: int,
    classes: Sequence[str],
    key: str = "data.heldout.fraction",
    per_class: int | None = None,
    pretrain: np.ndarray | None = None,
    examples: str = "images",
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training set in two.

    With ``fraction``, the held-out set has ``round(fraction * n)`` images. Each class gives its
    share, rounded down, and the classes with the largest remainders give one more. With
    ``per_class``, each class gives the same number (the paper's released models: 26).

    Args:
        labels: shape (n,).
        fraction: share of the images to hold out, between 0 and 1. With 1 all images are held out
            and none is left, which suits models that are not trained here.
        seed: seed of the random choice.
        classes: class names, for messages.
        key: the config key of ``fraction``, for messages.
        per_class: held-out images of each class, instead of ``fraction``.
        pretrain: images of each class that pre-training has already taken, shape (classes,), for
            messages.
        examples: what the set holds, for messages.

    Returns:
        indices of training images and of held-out images. Both are sorted, they are disjoint, and
        together they are all indices.

    Raises:
        UserError: if a class would have no held-out or no training image.
    """
    if fraction == 1 and per_class is None:
        return np.arange(0), np.arange(len(labels))
    count = np.bincount(labels, minlength=len(classes))
    share = fraction * count
    held = np.floor(share).astype(int)
    missing = round(fraction * len(labels)) - held.sum()
    # The stable sort gives ties to the classes that come first.
    held[np.argsort(held - share, kind="stable")[:missing]] += 1
    if per_class is not None:
        held[:] = per_class
    impossible = np.flatnonzero((held < 1) | (held >= count))
    if len(impossible):
        c = impossible[np.argmin(count[impossible])]
        those = f"{count[c]} training {examples} of class {classes[c]!r}"
        if pretrain is not None and pretrain[c]:
            those += (
                f" (data.folders.pretrain_fraction took {pretrain[c]} "
                f"of the {pretrain[c] + count[c]} in its folder)"
            )
        if per_class is None:
            setting = f"{key} is {fraction} and takes {held[c]} of the {those}"
        else:
            setting = f"data.heldout.per_class is {per_class}, but there are {those}"
        raise UserError(
            f"{setting}, expected at least 1 taken and 1 left; "
            f"{_possible(count.min(), per_class is not None, examples)}"
        )
    chosen = [
        np.random.default_rng([seed, c]).permutation(np.flatnonzero(labels == c))[: held[c]]
        for c in range(len(classes))
    ]
    heldout = np.sort(np.concatenate(chosen))
    train = np.setdiff1d(np.arange(len(labels)), heldout, assume_unique=True)
    return train, heldout


def check_drawn(labels: np.ndarray, classes: Sequence[str], most: int) -> None:
    """Check that each class has enough held-out images for the random sets of a curve.

    Args:
        labels: of the held-out images, shape (n,).
        classes: class names.
        most: the largest number in ``curves.heldout_size.per_class``, or 0 without this curve.

    Raises:
        UserError: if a class has fewer.
    """
    count = np.bincount(labels, minlength=len(classes))
    c = int(np.argmin(count))
    if count[c] < most:
        raise UserError(
            f"curves.heldout_size.per_class has {most}, but {count[c]} images of class "
            f"{classes[c]!r} are held out, expected at most {count[c]}, or a larger data.heldout"
        )


def _possible(fewest: int, per_class: bool, examples: str) -> str:
    """Name the values that would split every class.

    Args:
        fewest: number of images of the smallest class.
        per_class: whether the value is a number of images per class instead of a fraction.
        examples: what the set holds.
    """
    if fewest < 2:
        return f"every class needs at least 2 {examples}"
    low, high = 1, fewest - 1
    if not per_class:  # n * fraction, rounded down or up, is then between 1 and n - 1
        low, high = math.ceil(1000 / fewest) / 1000, math.floor(1000 - 1000 / fewest) / 1000
    values = str(low) if low == high else f"{low} to {high}"
    return f"{values} would split every class"


def given_split(
    marks: np.ndarray,
    labels: np.ndarray,
    dropped: Sequence[int],
    path: str,
    classes: Sequence[str],
    examples: str = "images",
) -> tuple[np.ndarray, np.ndarray]:
    """Return a split that is given by a file, as with the paper's released models.

    Args:
        marks: 1 for each held-out image and 0 for the others, in the order of the training folder,
            shape (N,).
        labels: labels of the images that could be read, shape (N - len(dropped),).
        dropped: positions in the folder of the images that could not be read.
        path: the file of the marks, for messages.
        classes: class names, for messages.
        examples: what the set holds, for messages.

    Returns:
        indices of training images and of held-out images, as `heldout_split`.

    Raises:
        UserError: if the number of marks differs from the number of images, if no image is marked,
            or if a class has no training image.
    """
    if marks.shape != (len(labels) + len(dropped),) or not set(np.unique(marks)) <= {0, 1}:
        raise UserError(
            f"{path}: the array is {marks.dtype} of shape {marks.shape}, expected 0 or 1 for each "
            f"of the {len(labels) + len(dropped)} training {examples}"
        )
    held = np.delete(marks, list(dropped)).astype(bool)
    if not held.any():
        raise UserError(
            f"{path}: the array marks none of the {examples}, expected 1 for each that is held out"
        )
    for c, name in enumerate(classes):
        if held[labels == c].all():
            raise UserError(
                f"{path}: the array marks all {examples} of class {name!r}, expected at least one 0"
            )
    return np.flatnonzero(~held), np.flatnonzero(held)


def read_marks(path: str) -> np.ndarray:
    """Read the file of marks for `given_split`.

    Raises:
        UserError: if numpy cannot read the file.
    """
    try:
        return np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(
            f"{path}: the file cannot be read ({error}), expected an array written by numpy.save"
        ) from error
