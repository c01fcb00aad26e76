"""Which GPUs of this machine a job computes on: jobs share them out among themselves.

A slot is a lock file, `compute.jobs_per_gpu` of them per GPU. The kernel lets go of a lock when
the process that holds it, and workers that it forked, have died, however that was. Knows nothing
of torch until it has to count.
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
from soups.jobs import compute

log = logging.getLogger("soups")
POLL = 0.5  # seconds between two looks at slots that are taken


def asked(task) -> int:
    """GPUs that Snakemake gives a job, of the `snakemake` object: its resource ``gpu``."""
    return getattr(task, "resources", {}).get("gpu", 0)


@contextmanager
def held(wanted: int) -> Iterator[None]:
    """Inside, the job has so many GPUs; waits until they are free.

    Nothing is held if the configuration wants no CUDA device, or if there are not so many (which
    whoever uses them says better).
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
        if wanted == 1:
            # By number, because torch may have looked at the variable already, to count.
            index = next(index for index, name in among if name == mine[0])
            compute.configure(asdict(chosen) | {"device": f"cuda:{index}"})
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(mine)  # for the processes it starts
        yield


def visible() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES calls them, in torch's order."""
    import torch

    count = torch.cuda.device_count()  # asks the driver: no context, no memory
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is None:
        return [str(i) for i in range(count)]
    return [name.strip() for name in listed.split(",")][:count]


def folder() -> Path:
    """Where the locks of all jobs lie that share GPUs: those of a user, or of a SLURM job."""
    # SLURM may count the GPUs of every allocation from 0.
    parts = [str(os.getuid()), *filter(None, [os.environ.get("SLURM_JOB_ID")])]
    return Path(tempfile.gettempdir(), "-".join(["model-soups-gpu", *parts]))


@contextmanager
def taken(names: list[str], wanted: int, shares: int, folder: Path) -> Iterator[list[str]]:
    """Take so many different GPUs at once, or none: jobs never wait for each other in a circle.

    Args:
        names: GPUs to choose among, at least ``wanted``.
        wanted: how many.
        shares: jobs per GPU.
        folder: of the locks.

    Yields:
        those that were taken, in the order of ``names``.

    Raises:
        UserError: if the folder is not this user's.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Who waits for the same GPUs stands in a queue, or else jobs that want one would keep
        # those from coming that want two.
        door = _open(folder / f"queue-{fingerprint(names)[:16]}.lock")
    except OSError as error:
        raise UserError(f"{folder}: no place for locks ({error}), expected a folder") from error
    with ExitStack() as locks:
        with door:
            if not (_lock(door) and (mine := _grab(names, wanted, shares, folder))):
                log.info("waiting for a GPU")
                fcntl.flock(door, fcntl.LOCK_EX)
                while not (mine := _grab(names, wanted, shares, folder)):
                    time.sleep(POLL)
            for lock in mine.values():
                locks.enter_context(lock)
        yield [name for name in names if name in mine]


def _grab(names: list[str], wanted: int, shares: int, folder: Path) -> dict | None:
    """Locks by GPU, of those with the fewest jobs; None if there are not enough."""
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
    os.utime(file.fileno())  # what has not been touched for days may be cleared away
    return file


def _lock(file) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
