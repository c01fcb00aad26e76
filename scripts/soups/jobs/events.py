"""Events of a job: one JSON object per line, in a file beside the log.

``logs/finetune/m00.log`` is prose for people. Programs such as tools/status.py read
``logs/finetune/m00.events.jsonl`` instead. This module does not import torch.
"""

import json
import math
import os
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

ENDING = ".events.jsonl"
HOST = socket.gethostname()
LONGEST = 2**20  # bytes read from the end of a file; at an event every 30 s these are two days

# The fields of each event besides `event` and `time` (seconds since 1970). Events may have more
# fields: a step or epoch on a GPU has `gpu_memory_gb`, and one stopped between steps has `step`.
FIELDS = {
    "started": ("process", "host"),  # the job's process begins
    "waiting": ("what",),  # the job waits for a GPU
    "gpus": ("names",),  # the job has GPUs
    "resumed": ("step",),  # training continues from a saved state
    "begin": ("step", "total", "process", "host"),  # training begins
    "step": ("step", "total", "loss", "examples_per_second", "data_wait"),
    "epoch": ("epoch", "step", "total", "loss", "examples_per_second", "data_wait"),
    "saved": ("step", "megabytes"),  # the state of training is on disk
    "stopped": ("signal",),  # a signal ends the job
    "failed": ("error",),  # an error ends the job
    "done": ("heldout_accuracy",),  # the model and its held-out logits are on disk
    "ended": (),  # the job's process ends without an error
}

_path: Path | None = None  # the events file of this process


def beside(log: str | Path) -> Path:
    """Return the events file of the job with this log."""
    return Path(log).with_suffix(ENDING)


def attach(log: str | Path) -> None:
    """Append the events of this process to the file beside the log of its job."""
    global _path
    _path = beside(log)


def detach() -> None:
    """Write no events of this process from now on."""
    global _path
    _path = None


def emit(event: str, **fields) -> None:
    """Append one event; does nothing in a process that is not attached to a log.

    Args:
        event: a key of `FIELDS`.
        fields: at least the event's fields of `FIELDS`. JSON has no infinity and no NaN, so these
            numbers become the strings "inf", "-inf" and "nan".

    Raises:
        ValueError: if the event is unknown or a field is missing.
    """
    if event not in FIELDS:
        raise ValueError(f"event is {event!r}, expected one of {', '.join(FIELDS)}")
    if missing := [name for name in FIELDS[event] if name not in fields]:
        raise ValueError(f"event {event!r} has no field {missing[0]!r}")
    if _path is None:
        return
    values = {name: _finite(value) for name, value in fields.items()}
    line = json.dumps({"event": event, "time": round(time.time(), 3), **values}) + "\n"
    # A full disk must not end a fine-tune because its status cannot be written.
    with suppress(OSError), _path.open("ab", buffering=0) as file:
        file.write(line.encode())  # a single write, so lines of two processes never mix


def _finite(value):
    return value if not isinstance(value, float) or math.isfinite(value) else str(value)


def read(path: str | Path) -> list[dict]:
    """Read the events at the end of a file, at most `LONGEST` bytes.

    Skips lines that are incomplete or hold no event of `FIELDS`.

    Raises:
        OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - LONGEST))
        lines = file.read().split(b"\n")[:-1]  # a line without an end is still being written
    found = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:  # includes bytes that are not UTF-8
            continue
        if _is_event(event):
            found.append(event)
    return found


def _is_event(value) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("time"), int | float):
        return False
    name = value.get("event")
    return (
        isinstance(name, str) and name in FIELDS and all(field in value for field in FIELDS[name])
    )


@dataclass
class JobRecord:
    """The state of a job according to its events; ``None`` where no event has the value.

    Attributes:
        start, last: times of the first and the last event, seconds since 1970.
        process, host: where the job runs.
        first: steps that were done when training began in this process.
        step, total: steps that are done, and all steps.
        loss: of the last step or epoch event. An epoch event has the mean over its epoch.
        speed: examples per second since training began in this process.
        rate: seconds per step since training began in this process.
        updated: time of the last begin, step or epoch event.
        saved: whether this process or an earlier one saved the state of training.
        waiting: what the job waits for, if it waits now.
        signal: name of the signal that stopped the job.
        error: why the job failed, in a sentence.
        ended: whether the job ended with its outputs made.
    """

    start: float | None = None
    last: float | None = None
    process: int | None = None
    host: str | None = None
    first: int | None = None
    step: int | None = None
    total: int | None = None
    loss: float | None = None
    speed: int | None = None
    rate: float | None = None
    updated: float | None = None
    saved: bool = False
    waiting: str | None = None
    signal: str | None = None
    error: str | None = None
    ended: bool = False
    _origin: tuple[int, float] | None = None  # the step and the time that `rate` counts from

    @classmethod
    def read(cls, path: str | Path) -> "JobRecord":
        """Read the record from an events file.

        Raises:
            OSError: if the file cannot be read.
        """
        record = cls()
        for event in read(path):
            record._add(event)
        return record

    def _add(self, event: dict) -> None:
        self.start = event["time"] if self.start is None else self.start
        self.last, self.waiting = event["time"], None
        match event["event"]:
            case "started":
                self.process, self.host = event["process"], event["host"]
            case "waiting":
                self.waiting = event["what"]
            case "begin":
                self.process, self.host = event["process"], event["host"]
                self.first = self.step = event["step"]
                self.total, self.updated = event["total"], event["time"]
                self.saved = self.first > 0
                self._origin = self.step, self.updated
            case "step" | "epoch":
                self._advance(event)
            case "saved":
                self.saved = True
            case "stopped":
                self.signal = event["signal"]
                if "step" in event:
                    self.saved, self.step = True, event["step"]
            case "failed":
                self.error = event["error"]
            case "done" | "ended":
                self.ended = True

    def _advance(self, event: dict) -> None:
        self.step, self.total, self.updated = event["step"], event["total"], event["time"]
        self.loss, self.speed = float(event["loss"]), round(event["examples_per_second"])
        # A long file is read without its beginning, so its begin event may be missing.
        self._origin = self._origin or (self.step, self.updated)
        steps, seconds = self.step - self._origin[0], self.updated - self._origin[1]
        if steps > 0 and seconds > 0:
            self.rate = seconds / steps

    def left(self, now: float) -> float | None:
        """Return the seconds until the last step, or None if the rate is unknown.

        Args:
            now: seconds since 1970.
        """
        if self.rate is None:
            return None
        since = max(0.0, now - self.updated)
        return max(0.0, self.rate * (self.total - self.step) - since)
