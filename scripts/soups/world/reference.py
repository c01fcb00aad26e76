"""The small network that selects the images of shift `a`.

ImageNet-A consists of images that a ResNet-50 classified wrongly (Hendrycks et al., 2021). This
network is trained from scratch and shares no weights with the pre-trained model. Therefore the
shift is not adversarial to the models that it evaluates.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from soups.training import optim
from soups.training.schedule import warmup_cosine

BATCH = 128


def network(classes: int) -> nn.Module:
    """Return three strided convolutions, a global average and a linear layer."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes),
    )  # fmt: skip


def pixels(images: np.ndarray) -> torch.Tensor:
    """Scale uint8 images (n, h, w, 3) to float32 between -1 and 1, shape (n, 3, h, w)."""
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_reference(
    images: np.ndarray, labels: np.ndarray, classes: int, epochs: int, lr: float, seed: int
) -> nn.Module:
    """Train the reference network.

    Args:
        images: uint8, shape (n, h, w, 3).
        labels: int64, shape (n,).
        classes: number of classes.
        epochs: number of epochs.
        lr: peak learning rate.
        seed: seed of the weights and the order of images.
    """
    optim.seed_everything(seed)
    model = network(classes)
    optimizer = optim.adamw(model, lr, 0.01)
    target = torch.from_numpy(labels)
    size = min(BATCH, len(images))
    total = epochs * (len(images) // size)
    step = 0
    for epoch in range(epochs):
        for batch in optim.batches(len(images), size, epoch, seed):
            optim.set_lr(optimizer, lr * warmup_cosine(step, total, total // 20))
            loss = F.cross_entropy(model(pixels(images[batch])), target[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return model.eval()


@torch.no_grad()
def wrong(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return whether the reference network misclassifies each image, bool, shape (n,)."""
    guesses = [model(pixels(images[i : i + 500])).argmax(1) for i in range(0, len(images), 500)]
    return torch.cat(guesses).numpy() != labels
