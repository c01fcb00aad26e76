"""The steps of a training run and the learning-rate factor of each step.

This module does not import torch.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

FEW = 20  # steps of a training run, below which people are warned


@dataclass(frozen=True)
class Schedule:
    """The steps of a training run and the learning-rate factor of each step.

    The factor rises linearly over the warm-up and then follows a cosine to 0 (paper, appendix J).
    A cooldown replaces the end of the cosine by a straight line to 0. If `averaged_factor` is not
    0, it replaces the cosine from step `averaged_from` on.

    Attributes:
        per_epoch: steps in one epoch.
        total: steps in the whole run.
        warmup: steps of the warm-up.
        horizon: the step at which the cosine reaches 0.
        cooldown: steps at the end of the run in which the factor falls linearly to 0.
        averaged_from: the first step whose weights enter the average.
        averaged_factor: the constant factor of the averaged steps; 0 keeps the cosine.
        peak: ``after`` if the factor reaches 1 in the first step after the warm-up, or ``last`` if
            it does in the last step of the warm-up, as in the paper's code.
    """

    per_epoch: int
    total: int
    warmup: int
    horizon: int
    cooldown: int = 0
    averaged_from: int = 0
    averaged_factor: float = 0
    peak: str = "after"

    @classmethod
    def finetuning(cls, hyperparameters: Mapping, per_epoch: int) -> "Schedule":
        """The schedule of one fine-tune, whose cosine ends with the run.

        Args:
            hyperparameters: ``epochs, warmup, warmup_peak, swa, swa_lr`` of one row of the sweep.
                ``swa`` is the share of the last steps that are averaged.
            per_epoch: steps in one epoch.
        """
        epochs, swa = hyperparameters["epochs"], hyperparameters["swa"]
        total = max(1, round(epochs * per_epoch)) if epochs else 0
        return cls(
            per_epoch,
            total,
            warmup=warmup_steps(hyperparameters["warmup"], total),
            horizon=total,
            averaged_from=total - max(1, round(swa * total)) if swa else 0,
            averaged_factor=hyperparameters["swa_lr"],
            peak=hyperparameters.get("warmup_peak", "after"),
        )

    @classmethod
    def pretraining(cls, settings: Mapping, per_epoch: int) -> "Schedule":
        """The schedule of pre-training, which may stop before the cosine ends.

        Args:
            settings: ``epochs, horizon, cooldown`` in epochs, and ``warmup`` as a fraction of the
                horizon.
            per_epoch: steps in one epoch.
        """
        horizon = settings["horizon"] * per_epoch
        return cls(
            per_epoch,
            total=settings["epochs"] * per_epoch,
            warmup=int(settings["warmup"] * horizon),
            horizon=horizon,
            cooldown=settings["cooldown"] * per_epoch,
        )

    def epochs(self, done: int = 0) -> Iterator[tuple[int, range]]:
        """The remaining epochs and their remaining steps.

        Args:
            done: steps that are already done.

        Yields:
            index of the epoch; its steps from ``done`` on, at least one.
        """
        for epoch in range(done // self.per_epoch, -(-self.total // self.per_epoch)):
            first = epoch * self.per_epoch
            steps = range(max(first, done), min(first + self.per_epoch, self.total))
            if steps:
                yield epoch, steps

    def factor(self, step: int) -> float:
        """The factor on the learning rate at a step, counted from 0."""
        if self.averaged_factor and step >= self.averaged_from:
            return self.averaged_factor
        at = min(step, self.total - self.cooldown)
        factor = warmup_cosine(at, self.horizon, self.warmup, self.peak)
        return factor * min(1.0, (self.total - step) / self.cooldown) if self.cooldown else factor


def steps(n: int, settings: Mapping) -> tuple[int, int]:
    """The examples in a batch, and the number of steps, if each epoch has whole batches alone.

    Args:
        n: number of examples.
        settings: ``epochs`` and ``batch_size``, of a linear probe or of a learned soup.
    """
    size = min(settings["batch_size"], n)
    return size, settings["epochs"] * (n // size)


def warmup_cosine(step: int, total: int, warmup: int, peak: str = "after") -> float:
    """Learning-rate factor of a linear warm-up and a cosine to 0 (paper, appendix J).

    Args:
        step: counted from 0.
        total: the step at which the cosine reaches 0.
        warmup: steps of the warm-up.
        peak: see `Schedule`.
    """
    if step < warmup:
        return (step + 1) / (warmup + (peak == "after"))
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def warmup_steps(warmup: float, total: int) -> int:
    """Number of warm-up steps, at most ``total``.

    Args:
        warmup: a fraction of all steps if less than 1, else a number of steps.
        total: steps in the whole run.
    """
    return int(warmup * total) if warmup < 1 else min(int(warmup), total)
