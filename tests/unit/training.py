"""Hyperparameters and comparisons for the tests of training."""

from pathlib import Path

import numpy as np
import torch
import yaml
from torch import nn

from soups.models.classifier import Classifier

_CONFIG = Path(__file__).parents[2] / "config.yaml"
# The default of every hyperparameter, so that a new one needs no entry here.
DEFAULTS = yaml.safe_load(_CONFIG.read_text(encoding="utf-8"))["finetune"]
PLAIN = DEFAULTS | {
    "lr": 0.01, "weight_decay": 0.1, "epochs": 1.5, "batch_size": 8, "warmup": 0.2, "clip": 0.5,
    "label_smoothing": 0.1, "seed": 3,
}  # fmt: skip
NOISY = PLAIN | {"mixup": 0.4, "augment": 1.5, "epochs": 2.5}
ROWS = np.arange(0, 60, 2)  # 30 training images, 3 batches of 8 in an epoch


def same(ours: dict, theirs: dict) -> bool:
    """Whether two state dicts are equal to the bit."""
    assert ours.keys() == theirs.keys()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


def distance(ours: dict, theirs: dict) -> float:
    """The largest difference of two state dicts."""
    assert ours.keys() == theirs.keys()
    return max((t - theirs[name]).abs().max().item() for name, t in ours.items())


def apart(ours: dict, theirs: dict) -> float:
    """The length of the difference of two state dicts."""
    assert ours.keys() == theirs.keys()
    return sum((t - theirs[name]).square().sum().item() for name, t in ours.items()) ** 0.5


def convolutional() -> Classifier:
    """A classifier with batch normalisation, for images of 16 pixels a side, 4 classes."""
    torch.manual_seed(0)
    visual = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    model = Classifier(visual, 4, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    # With a head of zeros, rounding decides the sign of some gradients. AdamW's first step depends
    # on that sign.
    for parameter in model.head.parameters():
        nn.init.normal_(parameter)
    return model
