"""Statistics of a soup's batch normalisation: averaged over its ingredients, or recalibrated.

Fine-tunes keep the statistics of the pre-trained model by default
(`training.finetune.freeze_batch_norm`), so averaging leaves them unchanged. Ingredients that were
trained elsewhere, or with ``finetune.batch_norm: trained``, have different statistics, and their
average need not fit the soup (Izmailov et al., 2018, section 3.2).
"""

import math
from collections.abc import Callable

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from soups.data.sampling import sample

Settle = Callable[[nn.Module], None]
BATCH = 100  # images, about


def settler(images: np.ndarray, count: int) -> Settle:
    """A function that sets the batch statistics of a freshly mixed model.

    Args:
        images: uint8, shape (n, h, w, 3), the held-out images; their labels are not used.
        count: the largest number of images to use; 0 keeps the averaged statistics.
    """
    if not count:
        return kept
    rows = sample(len(images), count)
    return lambda model: recalibrate(model, images, rows)


def kept(model: nn.Module) -> None:
    """Keep the averaged statistics."""


def recalibrate(model: nn.Module, images: np.ndarray, rows: np.ndarray) -> None:
    """Set the running means and variances to those of some images, in place.

    Each statistic is a mean over batches of almost equal size. Sets list their images by class, so
    the images are shuffled: a batch of one class would have other means and smaller variances. A
    model without batch normalisation is not changed.

    Args:
        model: takes uint8 images, on its device, in evaluation mode.
        images: uint8, shape (n, h, w, 3).
        rows: indices of the images to use, at least two.
    """
    from soups.models.forward import forward  # a slow import, so not at the top

    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    if not layers:
        return
    rows = np.random.default_rng(0).permutation(rows)
    size = math.ceil(len(rows) / max(1, round(len(rows) / BATCH)))
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # None makes torch take a plain mean over all batches
        layer.train()
    forward(model, images, rows, batch=size, exact=True)  # every choice is made in float32
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
        layer.eval()
