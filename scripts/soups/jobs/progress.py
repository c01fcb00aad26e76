"""Progress of training: lines for the log, events, and a bar on a terminal.

This module imports torch only if a GPU is used, so programs that only format durations start fast.
"""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from tqdm import tqdm

from soups.jobs import events

if TYPE_CHECKING:
    import torch

log = logging.getLogger("soups")
EVERY = 30  # seconds between two lines within an epoch
CORES = "SOUPS_CORES"  # environment variable with the number of cores that all jobs here share


class TrainingProgress:
    """Steps, speed and the share of time that training waits for data.

    Args:
        step: steps that an earlier run did, if this one resumes it.
        total: all steps.
        clock: seconds since any fixed moment.
        examples: what the examples are, such as ``images``.
    """

    def __init__(
        self,
        step: int,
        total: int,
        clock: Callable[[], float] = time.monotonic,
        examples: str = "images",
    ) -> None:
        self._first = self._step = step
        self._total, self._clock = total, clock
        self._begin = self._reported = clock()
        self._examples, self._seen, self._waited = examples, 0, 0.0
        process, host = os.getpid(), events.HOST
        log.info("step %d of %d: begins, process %d on %s", step, total, process, host)
        events.emit("begin", step=step, total=total, process=process, host=host)
        self._bar = None
        if alone_on_terminal():
            self._bar = tqdm(total=total, initial=step, unit="step", leave=False, file=sys.stderr)

    def waiting(self, batches: Iterable) -> Iterator:
        """Yield the batches and count the time until each one comes as waiting for data."""
        batches = iter(batches)
        while True:
            asked = self._clock()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._waited += self._clock() - asked
            yield batch

    def step(self, seen: int, loss: "torch.Tensor") -> None:
        """Count a step, and report it if the last report is `EVERY` seconds old.

        Args:
            seen: number of examples in the step's batch.
            loss: loss of the step. Reading it waits for the GPU, so only a report reads it.
        """
        self._step += 1
        self._seen += seen
        if self._bar is not None:
            self._bar.update()
            if self._step >= self._total:
                self._bar.close()
        now = self._clock()
        if now - self._reported >= EVERY and self._step < self._total:
            self._reported = now
            left = (now - self._begin) / (self._step - self._first) * (self._total - self._step)
            measured = self._measure(loss)
            log.info("%s, %s left", self._line(measured), duration(left))
            events.emit("step", **measured)

    def epoch(self, number: int, loss: "torch.Tensor") -> None:
        """Report the end of an epoch.

        Args:
            number: of the epoch, from 1.
            loss: mean loss of its steps.
        """
        measured = self._measure(loss)
        log.info("epoch %d, %s", number, self._line(measured))
        events.emit("epoch", epoch=number, **measured)
        self._reported = self._clock()

    def _measure(self, loss: "torch.Tensor") -> dict:
        value = loss.item()  # waits for the steps on a GPU, so that the time below includes them
        seconds = max(self._clock() - self._begin, 1e-9)
        measured = {
            "step": self._step,
            "total": self._total,
            "loss": value,
            "examples_per_second": self._seen / seconds,
            "data_wait": self._waited / seconds,
        }
        if loss.is_cuda:
            import torch

            measured["gpu_memory_gb"] = torch.cuda.max_memory_allocated(loss.device) / 2**30
        return measured

    def _line(self, measured: dict) -> str:
        line = (
            "step {step} of {total}: loss {loss:.4f}, {examples_per_second:.0f} "
            f"{self._examples}/s, {{data_wait:.0%}} waiting for data"
        )
        if "gpu_memory_gb" in measured:
            line += ", {gpu_memory_gb:.1f} GB of GPU memory at most"
        return line.format_map(measured)


def alone_on_terminal() -> bool:
    """Return whether a bar would be visible and no other job would write into it.

    Snakemake's jobs share its terminal. A job is alone if it has all the cores. Of several
    processes of a job, only the one that logs may show a bar.
    """
    cores, threads = os.environ.get(CORES), os.environ.get("OMP_NUM_THREADS")
    if not cores or not threads or not log.isEnabledFor(logging.INFO):
        return False
    return int(threads) >= int(cores) and sys.stderr.isatty()


def duration(seconds: float) -> str:
    """Format a duration for people.

    >>> duration(59.6), duration(3599), duration(9000), duration(200_000)
    ('60 s', '60 min', '2 h 30 min', '2 d 8 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
