"""The small network that decides which hard images make up shift `a`.

ImageNet-A kept what a ResNet-50 got wrong (Hendrycks et al., 2021). This one is
trained from scratch and shares nothing with the pre-trained model, so the shift
is not built against the models it will judge.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from soups.training import optim

BATCH = 128


def network(classes: int) -> nn.Module:
    """Three strided convolutions, global average, linear."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2, 1), nn.ReLU(),
        nn.Conv2d(64, 128, 3, 2, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, classes),
    )  # fmt: skip


def pixels(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_reference(
    images: np.ndarray, labels: np.ndarray, classes: int, epochs: int, lr: float, seed: int
) -> nn.Module:
    """Fit the reference on uint8 images (n, h, w, 3) and labels (n,)."""
    optim.seed_everything(seed)
    model = network(classes)
    optimizer = optim.adamw(model, lr, 0.01)
    target = torch.from_numpy(labels)
    size = min(BATCH, len(images))
    total = epochs * (len(images) // size)
    step = 0
    for epoch in range(epochs):
        for batch in optim.batches(len(images), size, epoch, seed):
            optim.set_lr(optimizer, lr * optim.warmup_cosine(step, total, total // 20))
            loss = F.cross_entropy(model(pixels(images[batch])), target[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return model.eval()


@torch.no_grad()
def wrong(model: nn.Module, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """bool, shape (n,): which images the reference gets wrong."""
    guesses = [model(pixels(images[i : i + 500])).argmax(1) for i in range(0, len(images), 500)]
    return torch.cat(guesses).numpy() != labels
