"""Shift `a`: images of hard scenes that a small network (`reference`) misclassifies."""

import logging
from collections.abc import Mapping

import numpy as np
from torch import nn

from soups.data.prepared import ClassMapping, PreparedSet
from soups.errors import UserError
from soups.world import reference
from soups.world.sets import CHUNK, draw_set, set_mapping

log = logging.getLogger("soups")
MORE = 1.2  # candidates drawn, as a multiple of the number that the estimated share asks for


def draw_adversarial(
    train: PreparedSet, count: int, world: Mapping
) -> tuple[np.ndarray, np.ndarray, ClassMapping]:
    """Train the reference network, and draw images that it misclassifies.

    As in ImageNet-A, the shift has no class of which every image is classified correctly.

    Args:
        train: the training set, of which the network sees the first images.
        count: number of images.
        world: the config section ``data.world``: ``seed``, ``variants`` and ``reference``.

    Returns:
        images, uint8, shape (count, 32, 32, 3); labels, int64, shape (count,), indices into the
        mapping; and the mapping, see `soups.data.prepared`.

    Raises:
        UserError: if the network misclassifies too few images.
    """
    fit = world["reference"]
    n = fit["images"]
    model = reference.train_reference(
        train.inputs[:n],
        train.labels[:n],
        len(train.classes),
        fit["epochs"],
        fit["lr"],
        fit["seed"],
    )
    # The first chunk estimates the share of candidates that the network misclassifies.
    _, _, rate = _misclassified(model, CHUNK, world)
    if not rate:
        raise UserError(
            f"data.world.reference: the network misclassifies 0 of {CHUNK} images, expected more "
            "for shift a"
        )
    pixels, labels, rate = _misclassified(model, int(count / rate * MORE) + CHUNK, world)
    log.info("the reference network misclassifies %.1f%% of the hard scenes", 100 * rate)
    if len(labels) < count:
        raise UserError(
            f"shift a: the reference network misclassifies {len(labels)} images, expected {count}"
        )
    present, labels = np.unique(labels[:count], return_inverse=True)
    mapping = set_mapping("a")
    return pixels[:count], labels, [mapping[c] for c in present]


def _misclassified(
    model: nn.Module, candidates: int, world: Mapping
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return images and labels of the misclassified candidates, and their share."""
    pixels, labels, _ = draw_set("a", candidates, world["seed"], world["variants"])
    keep = reference.wrong(model, pixels, labels)
    return pixels[keep], labels[keep], keep.mean()
