"""Share the GPUs of this machine among jobs.

Each GPU has `compute.jobs_per_gpu` slots, and each slot is a lock file. The kernel frees a lock
when its process and all workers that the process forked have ended, also if they were killed.
This module imports torch only to count GPUs.
"""

import fcntl
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from soups.errors import UserError
from soups.files import fingerprint
from soups.jobs import compute, events

log = logging.getLogger("soups")
POLL = 0.5  # seconds between two attempts to lock a slot


def asked(task) -> int:
    """Return the number of GPUs that Snakemake gives a job, its resource ``gpu``.

    Args:
        task: the `snakemake` object.
    """
    return getattr(task, "resources", {}).get("gpu", 0)


@contextmanager
def held(wanted: int) -> Iterator[None]:
    """Hold GPUs for the job inside the context; wait until they are free.

    Holds nothing if the configuration asks for no CUDA device, or if fewer GPUs exist than
    ``wanted``. The code that needs them raises the error.

    Args:
        wanted: number of GPUs.
    """
    chosen = compute.current()
    kind, _, number = chosen.device.partition(":")
    names = visible() if wanted and kind in ("auto", "cuda") else []
    among = list(enumerate(names))[int(number) :][:1] if number else list(enumerate(names))
    if not among or len(among) < wanted:
        yield
        return
    with taken([name for _, name in among], wanted, chosen.jobs_per_gpu, folder()) as mine:
        log.info("on GPU %s", ", ".join(mine))
        events.emit("gpus", names=mine)
        if wanted == 1:
            # Torch may have read CUDA_VISIBLE_DEVICES already to count GPUs, so pass a number.
            index = next(index for index, name in among if name == mine[0])
            compute.configure(asdict(chosen) | {"device": f"cuda:{index}"})
        else:
            # The job starts a process per GPU, and each of them reads this variable.
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)
        yield


def visible() -> list[str]:
    """Return the GPUs of this process as CUDA_VISIBLE_DEVICES names them, in torch's order."""
    import torch

    count = torch.cuda.device_count()  # asks the driver and creates no context
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(i) for i in range(count)]
    return [name.strip() for name in listed.split(",")][:count]


def folder() -> Path:
    """Return the folder of the locks: one per user, or one per SLURM job of the user."""
    # SLURM may number the GPUs of every allocation from 0.
    parts = [str(os.getuid()), *filter(None, [os.environ.get("SLURM_JOB_ID")])]
    return Path(tempfile.gettempdir(), "-".join(["model-soups-gpu", *parts]))


@contextmanager
def taken(names: list[str], wanted: int, shares: int, folder: Path) -> Iterator[list[str]]:
    """Take all wanted GPUs at once or none of them, so that jobs cannot deadlock.

    Args:
        names: GPUs to choose from, at least ``wanted``.
        wanted: number of GPUs, all different.
        shares: jobs per GPU.
        folder: of the locks.

    Yields:
        the taken GPUs in the order of ``names``.

    Raises:
        UserError: if the folder cannot be made or belongs to another user.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Waiting jobs queue, so that one-GPU jobs cannot starve a two-GPU job.
        queue = _open(folder / f"queue-{fingerprint(names)[:16]}.lock")
    except OSError as error:
        raise UserError(
            f"{folder}: lock files cannot be written ({error}), expected a writable folder"
        ) from error
    with ExitStack() as locks:
        with queue:
            if not (_lock(queue) and (mine := _grab(names, wanted, shares, folder))):
                log.info("waiting for a GPU")
                events.emit("waiting", what="a GPU")
                fcntl.flock(queue, fcntl.LOCK_EX)
                while not (mine := _grab(names, wanted, shares, folder)):
                    time.sleep(POLL)
            for lock in mine.values():
                locks.enter_context(lock)
        yield [name for name in names if name in mine]


def _grab(names: list[str], wanted: int, shares: int, folder: Path) -> dict | None:
    """Lock slots of the GPUs with the fewest jobs.

    Returns:
        an open lock file per GPU, or None if fewer than ``wanted`` GPUs have a free slot.
    """
    mine = {}
    for share in range(shares):
        for name in names:
            if len(mine) < wanted and name not in mine:
                lock = _open(folder / f"{name.replace('/', '_')}.{share}.lock")
                if _lock(lock):
                    mine[name] = lock
                else:
                    lock.close()
    if len(mine) == wanted:
        return mine
    for lock in mine.values():
        lock.close()
    return None


def _open(path: Path):
    file = path.open("a")
    os.utime(file.fileno())  # systems clear away temporary files that are old
    return file


def _lock(file) -> bool:
    """Return whether the file could be locked at once."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
