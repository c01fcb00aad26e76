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
    minutes, hours = round(seconds / 60), round(seconds / 3600)
    if minutes < 90:
        return f"{minutes} min"
    if hours < 48:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"


_STAMP = re.compile(r"(\d\d):(\d\d):(\d\d) (.*)")
_BEGIN = re.compile(r"step (\d+) of (\d+): begins, process (\d+) on (\S+)")
_STEP = re.compile(r"(?:epoch \d+, )?step (\d+) of (\d+): loss (\d+\.\d+|nan|inf), (\d+) images/s")
_KEPT = re.compile(r"state of \S+ MB saved")  # these two are of soups.resume
_STOPPED = re.compile(r"stopped by \S+ after step (\d+)")
_HALF_DAY, _DAY = 43_200, 86_400
LONGEST = 2**20  # bytes at the end of a log that are looked at: days of lines


@dataclass(frozen=True)
class Told:
    """What a job's log says; `None` is what it does not.

    Attributes:
        first, step, total: steps when training began in this process, by now, altogether.
        kept: whether a state is saved, by this process or the one it goes on from.
        stopped: whether it said that it ends before its time, with its state saved.
        loss: of the last line of training; the mean over the epoch if an epoch had ended.
        speed: images per second since it began.
        rate: seconds per step, likewise.
        seconds: from the first line to the last.
        process, host: where it runs.
        error: why it failed, in a sentence.
        last: its last message.
    """

    first: int | None = None
    step: int | None = None
    total: int | None = None
    kept: bool = False
    stopped: bool = False
    loss: float | None = None
    speed: int | None = None
    rate: float | None = None
    seconds: float = 0
    process: int | None = None
    host: str | None = None
    error: str | None = None
    last: str = ""


def read(path: str | Path) -> Told:
    """What a log says that `Progress` and `soups.job` write.

    Lines that are foreign, or not whole yet, are passed over.

    Raises:
        OSError: if it cannot be read.
    """
    entries = _entries(path)
    told = {"seconds": max(0, entries[-1][0]), "last": entries[-1][1][0]} if entries else {}
    begin = None  # step and seconds from which the rate is taken
    for seconds, lines in entries:
        message = lines[0]
        if found := _BEGIN.fullmatch(message):
            first, total, process = map(int, found.groups()[:3])
            told |= {"first": first, "step": first, "total": total, "kept": first > 0}
            told |= {"process": process, "host": found[4]}
            begin = first, seconds
        elif found := _STEP.match(message):
            step, total, speed = (int(found[group]) for group in (1, 2, 4))
            told |= {"step": step, "total": total, "speed": speed, "loss": float(found[3])}
            begin = begin or (step, seconds)
            if step > begin[0] and seconds > begin[1]:
                told["rate"] = (seconds - begin[1]) / (step - begin[0])
        elif _KEPT.match(message):
            told["kept"] = True
        elif found := _STOPPED.match(message):
            told |= {"kept": True, "stopped": True, "step": int(found[1])}
        elif message.startswith("error: "):
            told["error"] = message.removeprefix("error: ")
        elif message.startswith("Traceback "):
            told["error"] = next(filter(str.strip, reversed(lines))).strip()
    return Told(**told)


def _entries(path: str | Path) -> list[tuple[int, list[str]]]:
    """Messages of a log, by line, with their seconds since the first one."""
    with open(path, "rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - LONGEST))
        text = file.read().decode("utf-8", errors="replace")
    entries, before, seconds = [], None, 0
    for line in text.split("\n")[:-1]:  # what follows the last end of line is not whole
        if stamp := _STAMP.fullmatch(line):
            now = int(stamp[1]) * 3600 + int(stamp[2]) * 60 + int(stamp[3])
            # Lines have no date: to the next one is less than half a day, or an hour back.
            step = (now - (now if before is None else before) + _HALF_DAY) % _DAY - _HALF_DAY
            before, seconds = now, seconds + step
            entries.append((seconds, [stamp[4]]))
        elif entries:
            entries[-1][1].append(line)
    return entries
