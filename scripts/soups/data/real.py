"""ReaL: reassessed labels of ImageNet's validation images (Beyer et al., 2020).

An image may have several labels or none. A prediction is right if it is one of the image's labels.
Images without labels are left out.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soups import files
from soups.data.imagenet import imagenet_classes
from soups.errors import UserError


def read(path: str | Path, images: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Read the labels of each image of the test set.

    Args:
        path: real.json, which has one list per validation image, in the order of the images'
            numbers. The list holds indices of classes in the order of WordNet ids.
        images: paths of the test set's images, whose names end in their number, counted from 1.
        classes: WordNet ids of the training classes. Labels of other classes are left out.

    Returns:
        bool, shape (len(images), len(classes)): whether the image has the label.

    Raises:
        UserError: if the file is not such a list, or does not cover the number of an image.
    """
    labels = files.read_json(path)
    if not isinstance(labels, list) or not all(isinstance(each, list) for each in labels):
        raise UserError(
            f"{path}: the file is not a list of lists, expected a list of class indices per image"
        )
    index = {wnid: i for i, wnid in enumerate(classes)}
    known = imagenet_classes()
    out = np.zeros((len(images), len(classes)), bool)
    for row, image in enumerate(images):
        number = re.search(r"(\d+)\.\w+$", image)
        if not number or not 1 <= int(number[1]) <= len(labels):
            raise UserError(
                f"{path}: the file has labels of {len(labels)} images but none of {image!r}, "
                "expected image names such as ILSVRC2012_val_00000001.JPEG"
            )
        for label in labels[int(number[1]) - 1]:
            if label not in range(len(known)):
                raise UserError(
                    f"{path}: {image!r} has label {label!r}, expected a class index from 0 to 999"
                )
            if known[label] in index:
                out[row, index[known[label]]] = True
    return out


def correct(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether each prediction is among the image's labels.

    Args:
        logits: shape (n, classes).
        labels: bool, shape (n, classes), see `read`.

    Returns:
        bool, one entry per image that has a label.
    """
    has = labels.any(1)
    # An image whose logits are not all finite counts as wrong.
    return labels[has, logits[has].argmax(1)] & np.isfinite(logits[has]).all(1)
