"""LP-FT: a linear probe on frozen features, then end-to-end fine-tuning (Kumar et al., 2022)."""

import logging
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms.v2 import MixUp

from soups import optim
from soups.augment import augment
from soups.model import Classifier
from soups.resume import GeneratorState, Resumable

log = logging.getLogger("soups")


def linear_probe(
    features: Tensor, labels: Tensor, start: Tensor, settings: dict
) -> tuple[Tensor, Tensor]:
    """Fit the head on cached, normalised features (paper, appendix J.1).

    Args:
        features: float32, shape (n, d), unit length.
        labels: int64, shape (n,).
        start: the zero-shot head, shape (classes, d); the probe starts from it.
        settings: ``lr, epochs, batch_size, weight_decay, seed``.

    Returns:
        weight, shape (classes, d), and bias, shape (classes,).
    """
    head = nn.Linear(start.shape[1], start.shape[0])
    with torch.no_grad():
        head.weight.copy_(start)
        head.bias.zero_()
    size = min(settings["batch_size"], len(features))
    total = settings["epochs"] * (len(features) // size)
    optimizer = optim.adamw(head, settings["lr"], settings["weight_decay"])
    step = 0
    for epoch in range(settings["epochs"]):
        for batch in optim.batches(len(features), size, epoch, settings["seed"]):
            optim.set_lr(optimizer, settings["lr"] * optim.warmup_cosine(step, total, 0))
            loss = F.cross_entropy(head(features[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return head.weight.detach(), head.bias.detach()


def finetune(
    model: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    rows: np.ndarray,
    h: dict,
    state: Resumable,
) -> Classifier:
    """Fine-tune all weights with one configuration of the sweep.

    AdamW, linear warm-up and cosine, gradient clipping, label smoothing, mixup and
    augmentation (paper, appendix J.2). Statistics of batch normalisation stay those of
    the pre-trained model, so that they are the same for every ingredient.

    Args:
        model: starts from the linear probe or the zero-shot head; trained in place.
        images: uint8, shape (n, h, w, 3), may be a memory map.
        labels: int64, shape (n,).
        rows: indices of the training images; the held-out ones are not among them.
        h: the hyperparameters; ``epochs`` may be a fraction, ``warmup`` is a fraction of
            all steps, ``mixup`` is the Beta distribution's parameter.
        state: where an interrupted run continues from.
    """
    device = optim.device()
    generator = optim.seed_everything(h["seed"])
    model.to(device).train()
    freeze_batch_norm(model)
    optimizer = optim.adamw(model, h["lr"], h["weight_decay"])
    mixup = MixUp(alpha=h["mixup"], num_classes=model.head.out_features) if h["mixup"] else None

    size = min(h["batch_size"], len(rows))
    per_epoch = len(rows) // size
    total = max(1, round(h["epochs"] * per_epoch))
    warmup = int(h["warmup"] * total)
    begin, seen = time.monotonic(), 0
    parts = {"model": model, "optimizer": optimizer, "noise": GeneratorState(generator)}
    first = state.restore(**parts)
    for epoch in range(first, -(-total // per_epoch)):
        losses = []
        for i, batch in enumerate(optim.batches(len(rows), size, epoch, h["seed"])):
            step = epoch * per_epoch + i
            if step == total:
                break
            optim.set_lr(optimizer, h["lr"] * optim.warmup_cosine(step, total, warmup))
            index = rows[batch]
            x = model.pixels(torch.from_numpy(images[index]).to(device))
            y = torch.from_numpy(labels[index]).to(device)
            x = augment(x, h["augment"], generator)
            if mixup:
                x, y = mixup(x, y)
            loss = F.cross_entropy(model(x), y, label_smoothing=h["label_smoothing"])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), h["clip"])
            optimizer.step()
            losses.append(loss.detach())
        seen += len(losses) * size
        log.info(
            "epoch %d, step %d of %d: loss %.4f, %.0f images/s",
            epoch + 1,
            epoch * per_epoch + len(losses),
            total,
            torch.stack(losses).mean(),
            seen / (time.monotonic() - begin),
        )
        state.keep(epoch + 1, **parts)
    return model.eval()


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep running statistics as they are, also in training mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
