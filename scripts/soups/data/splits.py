"""The held-out split: a seeded, stratified share of the training set (paper, section 3.1)."""

from collections.abc import Sequence

import numpy as np

from soups.errors import UserError


def heldout_split(
    labels: np.ndarray,
    fraction: float,
    seed: int,
    classes: Sequence[str],
    key: str = "data.heldout.fraction",
    per_class: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training set in two.

    The held-out set has ``round(fraction * n)`` images; each class gives its share,
    rounded down, and the classes with the largest remainders give one more. Or each class
    gives the same number (the paper's released models: 26).

    Args:
        labels: shape (n,).
        fraction: share of the images to hold out, between 0 and 1.
        seed: another seed, another split.
        classes: class names, for messages.
        key: the config key ``fraction`` comes from, for messages.
        per_class: held-out images of each class, instead of a fraction.

    Returns:
        indices to train on and held-out indices, both sorted, disjoint, and together all.

    Raises:
        UserError: if a class would have no held-out or no training image.
    """
    count = np.bincount(labels, minlength=len(classes))
    share = fraction * count
    held = np.floor(share).astype(int)
    missing = round(fraction * len(labels)) - held.sum()
    # A stable sort makes ties go to the classes that come first.
    held[np.argsort(held - share, kind="stable")[:missing]] += 1
    said = f"{key} is {fraction}"
    if per_class is not None:
        held[:] = per_class
        said = f"data.heldout.per_class is {per_class}"
    for c, name in enumerate(classes):
        if held[c] < 1 or held[c] >= count[c]:
            raise UserError(
                f"{said}: of the {count[c]} training images of class "
                f"{name!r} it holds out {held[c]}, expected at least 1 held out and 1 to train on"
            )
    chosen = [
        np.random.default_rng([seed, c]).permutation(np.flatnonzero(labels == c))[: held[c]]
        for c in range(len(classes))
    ]
    heldout = np.sort(np.concatenate(chosen))
    train = np.setdiff1d(np.arange(len(labels)), heldout, assume_unique=True)
    return train, heldout


def given_split(
    marks: np.ndarray, labels: np.ndarray, dropped: Sequence[int], path: str, classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """The split that somebody else made, as with the paper's released models.

    Args:
        marks: 1 for every held-out image, in the order of the training folder, shape (N,).
        labels: of the images there are, shape (N - len(dropped),).
        dropped: positions in the folder of images that could not be read.
        path: of the file with the marks, for messages.
        classes: class names, for messages.

    Returns:
        as `heldout_split`.

    Raises:
        UserError: if there are not as many marks as images, or a class has none to train on.
    """
    if marks.shape != (len(labels) + len(dropped),) or not set(np.unique(marks)) <= {0, 1}:
        raise UserError(
            f"{path}: {marks.dtype} of shape {marks.shape}, expected 0 or 1 for each of the "
            f"{len(labels) + len(dropped)} training images"
        )
    held = np.delete(marks, list(dropped)).astype(bool)
    if not held.any():
        raise UserError(f"{path}: marks no image, expected a 1 for every held-out one")
    for c, name in enumerate(classes):
        if held[labels == c].all():
            raise UserError(f"{path}: holds out all images of {name!r}, expected 1 to train on")
    return np.flatnonzero(~held), np.flatnonzero(held)
