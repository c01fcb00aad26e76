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
) -> tuple[np.ndarray, np.ndarray]:
    """Split the training set in two.

    The held-out set has ``round(fraction * n)`` images; each class gives its share,
    rounded down, and the classes with the largest remainders give one more.

    Args:
        labels: shape (n,).
        fraction: share of the images to hold out, between 0 and 1.
        seed: another seed, another split.
        classes: class names, for messages.
        key: the config key ``fraction`` comes from, for messages.

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
    for c, name in enumerate(classes):
        if held[c] < 1 or held[c] >= count[c]:
            raise UserError(
                f"{key} is {fraction}: of the {count[c]} training images of class "
                f"{name!r} it holds out {held[c]}, expected at least 1 held out and 1 to train on"
            )
    chosen = [
        np.random.default_rng([seed, c]).permutation(np.flatnonzero(labels == c))[: held[c]]
        for c in range(len(classes))
    ]
    heldout = np.sort(np.concatenate(chosen))
    train = np.setdiff1d(np.arange(len(labels)), heldout, assume_unique=True)
    return train, heldout
