"""Batch statistics of a soup: the average of its ingredients', or measured anew.

Fine-tunes here keep the statistics of the pre-trained model (`train.freeze_batch_norm`), so
that mixing them changes nothing. Ingredients trained elsewhere bring their own, whose average
need not be the soup's (Izmailov et al., 2018, section 3.2).
"""

from collections.abc import Callable

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from soups.data.sampling import sample

Settle = Callable[[nn.Module], None]
BATCH = 100


def settler(images: np.ndarray, count: int) -> Settle:
    """What gives a freshly mixed model its batch statistics.

    Args:
        images: uint8, shape (n, h, w, 3): the held-out ones, whose labels are not used.
        count: how many of them at most; 0 leaves statistics as they were mixed.
    """
    if not count:
        return kept
    rows = sample(len(images), count)
    return lambda model: recalibrate(model, images, rows)


def kept(model: nn.Module) -> None:
    """Leaves statistics as they were mixed."""


def recalibrate(model: nn.Module, images: np.ndarray, rows: np.ndarray) -> None:
    """Set running means and variances to those of some images, in place.

    Each is the mean over batches of equal size; a model without batch normalisation stays
    as it is.

    Args:
        model: takes uint8 images, on its device, in evaluation mode.
        images: uint8, shape (n, h, w, 3).
        rows: sorted indices of the images to use, at least two.
    """
    from soups.models.forward import forward  # seconds that models without such layers do without

    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return
    size = min(BATCH, len(rows))
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # a plain mean over all batches
        layer.train()
    forward(model, images, rows[: len(rows) // size * size], batch=size)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
