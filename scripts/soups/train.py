"""LP-FT: a linear probe on frozen features, then end-to-end fine-tuning (Kumar et al., 2022)."""

import logging
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
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
    teacher: np.ndarray | None = None,
) -> Classifier:
    """Fine-tune all weights with one configuration of the sweep.

    AdamW, linear warm-up and cosine, gradient clipping, label smoothing, mixup and
    augmentation (paper, appendix J.2); if asked for, an average of the weights along the
    way (`weight_average`), SAM (`optim.ascended`) and distillation (`distillation_loss`).
    Statistics of batch normalisation stay those of the pre-trained model, so that they are
    the same for every ingredient.

    Args:
        model: starts from the linear probe, the zero-shot head or one of zeros; trained in place.
        images: uint8, shape (n, h, w, 3), may be a memory map.
        labels: int64, shape (n,).
        rows: indices of the training images; the held-out ones are not among them.
        h: the hyperparameters; ``epochs`` may be a fraction, ``warmup`` is a fraction of
            all steps, ``mixup`` is the Beta distribution's parameter, ``swa`` the share of
            the last steps that is averaged, ``sam`` is ρ, ``distill`` the share of the
            teacher in the loss.
        state: where an interrupted run continues from.
        teacher: its logits on the training images, shape (len(rows), classes), for ``distill``.
    """
    device = optim.device()
    generator = optim.seed_everything(h["seed"])
    model.to(device).train()
    freeze_batch_norm(model)
    optimizer = optim.adamw(model, h["lr"], h["weight_decay"], layer_decay=h["layer_decay"])
    average = weight_average(model, h["ema"], h["swa"])
    mixup = MixUp(alpha=h["mixup"], num_classes=model.head.out_features) if h["mixup"] else None

    size = min(h["batch_size"], len(rows))
    per_epoch = len(rows) // size
    total = max(1, round(h["epochs"] * per_epoch))
    warmup = int(h["warmup"] * total)
    begin, seen = time.monotonic(), 0
    parts = {"model": model, "optimizer": optimizer, "noise": GeneratorState(generator)}
    parts |= {"average": average} if average else {}
    averaged_from = total - max(1, round(h["swa"] * total)) if h["swa"] else 0
    first = state.restore(**parts)
    for epoch in range(first, -(-total // per_epoch)):
        losses = []
        for i, batch in enumerate(optim.batches(len(rows), size, epoch, h["seed"])):
            step = epoch * per_epoch + i
            if step == total:
                break
            factor = optim.warmup_cosine(step, total, warmup)
            if h["swa_lr"] and step >= averaged_from:
                factor = h["swa_lr"]
            optim.set_lr(optimizer, h["lr"] * factor)
            index = rows[batch]
            x = model.pixels(torch.from_numpy(images[index]).to(device))
            y = torch.from_numpy(labels[index]).to(device)
            x = augment(x, h["augment"], generator)
            if mixup:
                x, y = mixup(x, y)
            soft = torch.from_numpy(teacher[batch]).to(device) if h["distill"] else None
            loss = _backward(model, optimizer, x, y, soft, h)
            if h["sam"]:
                with optim.ascended(model, h["sam"]):
                    _backward(model, optimizer, x, y, soft, h)
            nn.utils.clip_grad_norm_(model.parameters(), h["clip"])
            optimizer.step()
            if average and step >= averaged_from:
                average.update_parameters(model)
            losses.append(loss)
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
    if average:
        model.load_state_dict(average.module.state_dict())
    return model.eval()


def _backward(model, optimizer, x: Tensor, y: Tensor, soft: Tensor | None, h: dict) -> Tensor:
    """The loss of a batch, its gradients left in the model."""
    logits = model(x)
    loss = F.cross_entropy(logits, y, label_smoothing=h["label_smoothing"])
    if soft is not None:
        distilled = distillation_loss(logits, soft, h["distill_temperature"])
        loss = (1 - h["distill"]) * loss + h["distill"] * distilled
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    return loss.detach()


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float = 1) -> Tensor:
    """Cross-entropy of softened predictions (Hinton et al., 2015), times temperature squared.

    Args:
        student, teacher: logits, shape (n, classes).
    """
    target = F.softmax(teacher / temperature, dim=1)
    return temperature**2 * F.cross_entropy(student / temperature, target)


def weight_average(model: nn.Module, ema: float, swa: float) -> AveragedModel | None:
    """What averages the weights along training; `update_parameters` after a step takes them in.

    Args:
        ema: decay of an exponential moving average, per step; 0 is off.
        swa: more than 0: the plain average of what it is given (Izmailov et al., 2018).
    """
    if swa:
        return AveragedModel(model)
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(ema)) if ema else None


def freeze_batch_norm(model: nn.Module) -> None:
    """Keep running statistics as they are, also in training mode."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eval()
