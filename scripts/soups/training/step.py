"""One step of fine-tuning: the loss, its gradients and the optimizer's step.

A batch may be processed in several parts (`compute.accumulate`) and spread over several processes.
In both cases the gradient is that of the mean loss over the whole batch.
"""

import logging
from contextlib import AbstractContextManager, nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soups.jobs import compute, devices, distributed
from soups.training import optim

log = logging.getLogger("soups")


class Step:
    """Takes steps on a model, with the precision and devices of the configuration.

    Args:
        model: a classifier on its device. A wrapper around it is run, so its weights keep their
            names.
        optimizer: of the model's parameters.
        hyperparameters: ``clip, label_smoothing, sam, distill, distill_temperature`` are used.

    Attributes:
        scaler: scales the loss in float16; part of the state that a resumed run needs.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, hyperparameters: dict
    ) -> None:
        self._model, self._optimizer = model, optimizer
        self._clip, self._rho = hyperparameters["clip"], hyperparameters["sam"]
        self._label_smoothing = hyperparameters["label_smoothing"]
        self._distill = hyperparameters["distill"]
        self._temperature = hyperparameters["distill_temperature"]
        self.scaler = devices.scaler()
        self._averaging = distributed.averaging(model)
        compiled = compute.current().compile
        self._run = torch.compile(self._averaging) if compiled else self._averaging
        if devices.kind() == "cuda":
            plain = compute.current().deterministic
            kernel = "plain kernel, deterministic" if plain else "fastest kernel that torch has"
            log.info("attention in training: the %s", kernel)

    def __call__(self, x: Tensor, y: Tensor, soft: Tensor | None, count: int) -> Tensor:
        """Update the weights once.

        Args:
            x: float, shape (n, 3, h, w), the images of this process.
            y: int64, shape (n,), their labels; or after mixup float, shape (n, classes).
            soft: float, shape (n, classes), a teacher's logits on them, or None without
                distillation.
            count: number of images in the whole batch, over all processes.

        Returns:
            0-dimensional, on the device: the mean loss of the batch. If there are several
            processes, their mean is the mean loss of the batch.
        """
        with devices.attention():
            loss = self._gradients(x, y, soft, count)
            if self._rho:
                with optim.ascended(self._model, self._rho):
                    self._gradients(x, y, soft, count)
        self.scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._model.parameters(), self._clip)
        self.scaler.step(self._optimizer)
        self.scaler.update()
        return loss

    def _gradients(self, x: Tensor, y: Tensor, soft: Tensor | None, count: int) -> Tensor:
        """Return the loss of a batch and leave its gradients in the model."""
        self._optimizer.zero_grad(set_to_none=True)
        number = min(compute.current().accumulate, len(x))
        softs = [None] * number if soft is None else soft.tensor_split(number)
        parts = list(zip(x.tensor_split(number), y.tensor_split(number), softs, strict=True))
        total = torch.zeros((), device=x.device)
        for i, (images, labels, taught) in enumerate(parts):
            # The processes exchange gradients once, with the last part.
            with nullcontext() if i == number - 1 else self._alone():
                with devices.autocast("training"):
                    logits = self._run(images)
                # DDP averages gradients over processes, so each process scales its loss by the
                # number of processes.
                share = len(images) * distributed.world() / count
                loss = share * self._loss(logits.float(), labels, taught)
                self.scaler.scale(loss).backward()
            total += loss.detach()
        return total

    def _alone(self) -> AbstractContextManager:
        """A context in which processes do not exchange gradients."""
        alone = distributed.world() == 1
        return nullcontext() if alone else self._averaging.no_sync()

    def _loss(self, logits: Tensor, y: Tensor, soft: Tensor | None) -> Tensor:
        loss = F.cross_entropy(logits, y, label_smoothing=self._label_smoothing)
        if soft is None:
            return loss
        distilled = distillation_loss(logits, soft, self._temperature)
        return (1 - self._distill) * loss + self._distill * distilled


def distillation_loss(student: Tensor, teacher: Tensor, temperature: float = 1) -> Tensor:
    """Cross-entropy of softened predictions (Hinton et al., 2015), times the squared temperature.

    Args:
        student, teacher: logits, shape (n, classes).
        temperature: divides the logits of both.
    """
    target = F.softmax(teacher / temperature, dim=1)
    return temperature**2 * F.cross_entropy(student / temperature, target)
