"""How far training is: lines for its log, a bar on a terminal, and the lines read back.

Knows nothing of torch until a GPU is used, so that who only reads logs need not wait for it.
"""

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    import torch

log = logging.getLogger("soups")
EVERY = 30  # seconds between two lines within an epoch
CORES = "SOUPS_CORES"  # in the environment: how many cores the jobs of this terminal share
HOST = socket.gethostname()


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
        log.info("step %d of %d: begins, process %d on %s", step, total, os.getpid(), HOST)
        self._bar = None
        if alone_on_terminal():
            self._bar = tqdm(total=total, initial=step, unit="step", leave=False, file=sys.stderr)

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

    def step(self, images: int, loss: "torch.Tensor") -> None:
        """A step is done; says so if it has been silent for long.

        Args:
            images: seen in it.
            loss: its loss, which is not looked at unless it is told.
        """
        self._step += 1
        self._images += images
        if self._bar is not None:
            self._bar.update()
            if self._step >= self._total:
                self._bar.close()
        now = self._clock()
        if now - self._told >= EVERY and self._step < self._total:
            self._told = now
            left = (now - self._begin) / (self._step - self._first) * (self._total - self._step)
            log.info("%s, %s left", self._line(loss), duration(left))

    def epoch(self, number: int, loss: "torch.Tensor") -> None:
        """An epoch is done.

        Args:
            number: from 1.
            loss: its mean.
        """
        log.info("epoch %d, %s", number, self._line(loss))
        self._told = self._clock()

    def _line(self, loss: "torch.Tensor") -> str:
        value = loss.item()  # on a GPU this waits for its steps, which the time has to include
        seconds = max(self._clock() - self._begin, 1e-9)
        line = (
            f"step {self._step} of {self._total}: loss {value:.4f}, "
            f"{self._images / seconds:.0f} images/s, {self._waited / seconds:.0%} waiting for data"
        )
        if loss.is_cuda:
            import torch

            peak = torch.cuda.max_memory_allocated(loss.device) / 2**30
            line += f", {peak:.1f} GB of GPU memory at most"
        return line


def alone_on_terminal() -> bool:
    """Whether a bar would be seen, and no other job would write into it.

    Snakemake's jobs share its terminal; a job is alone if it has all the cores. Of several
    processes of a job only the one that logs may show a bar.
    """
    cores, threads = os.environ.get(CORES), os.environ.get("OMP_NUM_THREADS")
    if not cores or not threads or not log.isEnabledFor(logging.INFO):
        return False
    return int(threads) >= int(cores) and sys.stderr.isatty()


def duration(seconds: float) -> str:
    """
    >>> duration(59.6), duration(3599), duration(9000), duration(200_000)
    ('60 s', '60 min', '2 h 30 min', '2 d 7 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{minutes // 60} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


_STAMP = re.compile(r"(\d\d):(\d\d):(\d\d) (.*)")
_BEGIN = re.compile(r"step (\d+) of (\d+): begins, process (\d+) on (\S+)")
_STEP = re.compile(r"(epoch \d+, )?step (\d+) of (\d+): loss (\S+), (\d+) images/s")
_HALF_DAY, _DAY = 43_200, 86_400
LONGEST = 2**20  # bytes at the end of a log that are looked at: weeks of lines


@dataclass(frozen=True)
class Told:
    """What a job's log says; `None` is what it does not.

    Attributes:
        first, step, total: steps when training began in this process, now, altogether.
        epochs: whether a whole epoch was done.
        loss: of the last line of training, a mean over the epoch if it is the epoch's.
        speed: images per second, over all since it began.
        rate: seconds per step, likewise.
        seconds: between the first and the last line.
        process, host: where it runs.
        error: why it failed, in a sentence.
        last: its last message.
    """

    first: int | None = None
    step: int | None = None
    total: int | None = None
    epochs: bool = False
    loss: float | None = None
    speed: int | None = None
    rate: float | None = None
    seconds: float = 0.0
    process: int | None = None
    host: str | None = None
    error: str | None = None
    last: str = ""


def read(path: str | Path) -> Told:
    """What a log says that `Progress` writes to, by way of `soups.job`.

    Lines of other origin, and a last line that is not whole yet, are passed over. Lines carry the
    time of day only; between two of them less than half a day passes.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LONGEST))
        text = file.read().decode("utf-8", errors="replace")
    lines = text.split("\n")[1 if size > LONGEST else 0 : -1]
    at, seconds, began, told = None, 0.0, 0.0, {}
    for number, line in enumerate(lines):
        if not (stamp := _STAMP.match(line)):
            continue
        hours, minutes, rest, message = int(stamp[1]), int(stamp[2]), int(stamp[3]), stamp[4]
        before, at = at, hours * 3600 + minutes * 60 + rest
        if before is not None:  # past midnight, or an hour back at the end of summer
            seconds += (at - before + _HALF_DAY) % _DAY - _HALF_DAY
        told |= {"last": message, "seconds": max(0.0, seconds)}
        if begin := _BEGIN.fullmatch(message):
            first, total, process = map(int, begin.groups()[:3])
            began = seconds
            told |= {"first": first, "step": first, "total": total}
            told |= {"process": process, "host": begin[4], "epochs": False}
        elif (step := _STEP.match(message)) and (loss := _number(step[4])) is not None:
            told |= {"step": int(step[2]), "total": int(step[3]), "speed": int(step[5])}
            told |= {"loss": loss, "epochs": told.get("epochs", False) or bool(step[1])}
            if (done := told["step"] - told.get("first", told["step"])) and seconds > began:
                told["rate"] = (seconds - began) / done
        elif message.startswith("error: "):
            told["error"] = message.removeprefix("error: ")
        elif message.startswith("Traceback "):
            # Its last line is the exception; what follows it, if anything, has a time again.
            trace = [line.strip() for line in _until_stamp(lines[number + 1 :])]
            told["error"] = next(filter(None, reversed(trace)), "an unexpected error")
    return Told(**told)
