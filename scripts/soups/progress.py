"""How far training is, for its log."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator

import torch

log = logging.getLogger("soups")
EVERY = 30  # seconds between two lines within an epoch


class Progress:
    """Steps, speed, and what the time went to.

    Args:
        step: steps that were done before, in a run that is resumed.
        total: steps altogether.
        clock: seconds, from anywhere on.
    """

    def __init__(self, step: int, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._first = self._step = step
        self._total, self._clock = total, clock
        self._begin = self._told = clock()
        self._images, self._waited = 0, 0.0

    def waiting(self, batches: Iterable) -> Iterator:
        """The batches; until one comes is time spent waiting for data."""
        batches = iter(batches)
        while True:
            asked = self._clock()
            try:
                batch = next(batches)
            except StopIteration:
                return
            self._waited += self._clock() - asked
            yield batch

    def step(self, images: int, loss: torch.Tensor) -> None:
        """A step is done; says so if it has been silent for long.

        Args:
            images: seen in it.
            loss: its loss, which is not looked at unless it is told.
        """
        self._step += 1
        self._images += images
        now = self._clock()
        if now - self._told >= EVERY and self._step < self._total:
            self._told = now
            left = (now - self._begin) / (self._step - self._first) * (self._total - self._step)
            log.info("%s, %s left", self._line(loss), _duration(left))

    def epoch(self, number: int, loss: torch.Tensor) -> None:
        """An epoch is done.

        Args:
            number: from 1.
            loss: its mean.
        """
        log.info("epoch %d, %s", number, self._line(loss))
        self._told = self._clock()

    def _line(self, loss: torch.Tensor) -> str:
        value = loss.item()  # on a GPU this waits for its steps, which the time has to include
        seconds = max(self._clock() - self._begin, 1e-9)
        line = (
            f"step {self._step} of {self._total}: loss {value:.4f}, "
            f"{self._images / seconds:.0f} images/s, {self._waited / seconds:.0%} waiting for data"
        )
        if loss.is_cuda:
            peak = torch.cuda.max_memory_allocated(loss.device) / 2**30
            line += f", {peak:.1f} GB of GPU memory at most"
        return line


def _duration(seconds: float) -> str:
    """
    >>> _duration(59.6), _duration(3599), _duration(9000)
    ('60 s', '60 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
