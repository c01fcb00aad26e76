"""ReaL: reassessed labels of ImageNet's validation images (Beyer et al., 2020).

An image may have several labels, or none; a prediction is right if it is one of them, and
images without are left out.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soups import files
from soups.errors import UserError
from soups.data.layouts import imagenet_classes


def read(path: str | Path, images: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Which labels each image of the test set has.

    Args:
        path: real.json: for every validation image, in the order of their numbers, a list of
            indices of classes by WordNet id.
        images: paths of the test set's images, whose names end in their number, from 1.
        classes: the training classes' WordNet ids; labels of other classes are left out.

    Returns:
        bool, shape (len(images), len(classes)).

    Raises:
        UserError: for a file that is no such list, or an image without a number in it.
    """
    labels = files.read_json(path)
    if not isinstance(labels, list) or not all(isinstance(each, list) for each in labels):
        raise UserError(f"{path}: expected a list with a list of class indices for each image")
    index = {wnid: i for i, wnid in enumerate(classes)}
    known = imagenet_classes()
    out = np.zeros((len(images), len(classes)), bool)
    for row, image in enumerate(images):
        number = re.search(r"(\d+)\.\w+$", image)
        if not number or not 1 <= int(number[1]) <= len(labels):
            raise UserError(
                f"{path}: has {len(labels)} images, among which {image!r} is none; expected names "
                "such as ILSVRC2012_val_00000001.JPEG"
            )
        for label in labels[int(number[1]) - 1]:
            if label not in range(len(known)):
                raise UserError(f"{path}: label {label!r}, expected an index of ImageNet's 1,000")
            if known[label] in index:
                out[row, index[known[label]]] = True
    return out


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool, one for each image that has a label: is the prediction among them?

    Args:
        logits: shape (n, classes).
        labels: see `read`.
    """
    has = labels.any(1)
    return labels[has, logits[has].argmax(1)]
