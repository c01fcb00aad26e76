"""The linear probe on frozen features, the first half of LP-FT (Kumar et al., 2022)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soups.training import optim
from soups.training.schedule import steps, warmup_cosine


def linear_probe(
    features: Tensor, labels: Tensor, start: Tensor, settings: dict
) -> tuple[Tensor, Tensor]:
    """Fit the head on cached, normalised features (paper, appendix J.1).

    Args:
        features: float32, shape (n, d), unit length.
        labels: int64, shape (n,).
        start: float32, shape (classes, d), the initial weight: the zero-shot head or zeros.
        settings: ``lr, epochs, batch_size, weight_decay, seed``.

    Returns:
        weight, shape (classes, d), and bias, shape (classes,).
    """
    head = nn.Linear(start.shape[1], start.shape[0])
    with torch.no_grad():
        head.weight.copy_(start)
        head.bias.zero_()
    size, total = steps(len(features), settings)
    optimizer = optim.adamw(head, settings["lr"], settings["weight_decay"])
    step = 0
    for epoch in range(settings["epochs"]):
        for batch in optim.batches(len(features), size, epoch, settings["seed"]):
            optim.set_lr(optimizer, settings["lr"] * warmup_cosine(step, total, 0))
            loss = F.cross_entropy(head(features[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return head.weight.detach(), head.bias.detach()
