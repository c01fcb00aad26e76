"""One step of fine-tuning: loss, gradients, the optimizer's step.

The batch may be taken in parts (`compute.accumulate`) and be one of several processes'; the
gradient is that of the mean loss over the whole batch in either case.
"""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soups.jobs import compute, devices, distributed
from soups.training import optim


class Step:
    """Takes steps on a model, in the precision and on the devices of the configuration.

    Args:
        model: a classifier on its device. What runs is a wrapper around it, so its weights
            keep their names.
        optimizer: of its parameters.
        h: ``label_smoothing, distill, distill_temperature, sam, clip``.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, h: dict) -> None:
        self._model, self._optimizer, self._h = model, optimizer, h
        self.scaler = devices.scaler()
        self._averaging = distributed.averaging(model)
        compiled = compute.current().compile
        self._run = torch.compile(self._averaging) if compiled else self._averaging

    def __call__(self, x: Tensor, y: Tensor, soft: Tensor | None, count: int) -> Tensor:
        """Move the weights once.

        Args:
            x: this process's images, float, shape (n, 3, h, w).
            y: their labels, shape (n,), or what mixup made of them, shape (n, classes).
            soft: a teacher's logits on them, shape (n, classes), if the model is distilled.
            count: images in the batches of all processes together.

        Returns:
            the mean loss, on the device; that of this process, if there are several.
        """
        loss = self._gradients(x, y, soft, count)
        if self._h["sam"]:
            with optim.ascended(self._model, self._h["sam"]):
                self._gradients(x, y, soft, count)
        self.scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._model.parameters(), self._h["clip"])
        self.scaler.step(self._optimizer)
        self.scaler.update()
        return loss

    def _gradients(self, x: Tensor, y: Tensor, soft: Tensor | None, count: int) -> Tensor:
        """The loss of a batch, its gradients left in the model."""
        self._optimizer.zero_grad(set_to_none=True)
        number = min(compute.current().accumulate, len(x))
        softs = [None] * number if soft is None else soft.tensor_split(number)
        parts = list(zip(x.tensor_split(number), y.tensor_split(number), softs, strict=True))
        total = torch.zeros((), device=x.device)
        for i, (images, labels, taught) in enumerate(parts):
            # Gradients are exchanged once, when all parts are in.
            with nullcontext() if i == number - 1 else self._alone():
                with devices.autocast("training"):
                    logits = self._run(images)
                # Processes average their gradients, so each counts its share of the batch double,
                # if they are two.
                share = len(images) * distributed.world() / count
                loss = share * self._loss(logits.float(), labels, taught)
                self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def _alone(self):
        alone = distributed.world() == 1
        return nullcontext() if alone else self._averaging.no_sync()

    def _loss(self, logits: Tensor, y: Tensor, soft: Tensor | None) -> Tensor:
        h = self._h
        loss = F.cross_entropy(logits, y, label_smoothing=h["label_smoothing"])
        if soft is None:
            return loss
        distilled = distillation_loss(logits, soft, h["distill_temperature"])
        return (1 - h["distill"]) * loss + h["distill"] * distilled


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float = 1) -> Tensor:
    """Cross-entropy of softened predictions (Hinton et al., 2015), times temperature squared.

    Args:
        student, teacher: logits, shape (n, classes).
    """
    target = F.softmax(teacher / temperature, dim=1)
    return temperature**2 * F.cross_entropy(student / temperature, target)
