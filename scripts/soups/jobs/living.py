"""The runs that live in a folder: each holds a lock on a file with its command and process id."""

import fcntl
import json
import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from soups import files
from soups.jobs import events
from soups.jobs.progress import duration

FOLDER = ".snakemake/runs"  # in the folder that Snakemake runs in


@dataclass(frozen=True)
class Run:
    """A run of the workflow.

    Attributes:
        folder: ``results/<name>``, which it makes.
        command: its command line, quoted for a shell.
        process, host: where it runs.
        begun: seconds since 1970.
    """

    folder: str
    command: str
    process: int
    host: str
    begun: float

    def __str__(self) -> str:
        age = duration(max(0.0, time.time() - self.begun))
        return (
            f"process {self.process} on {self.host} is making {self.folder} here, started {age} "
            f"ago by `{self.command}`"
        )

    def refusal(self) -> str:
        """Name the run, and say how to end it."""
        return f"{self}. Wait for it, or stop it with: kill -INT {self.process}"


def mark(folder: str, command: str, home: str | Path = FOLDER) -> None:
    """Say to other processes that this one makes a results folder, for the life of this process.

    Args:
        folder: ``results/<name>``.
        command: the command line of this process.
        home: folder of the marks.
    """
    run = Run(folder, command, os.getpid(), events.HOST, time.time())
    path = Path(home) / f"{run.host}-{run.process}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The file gets its name when it is locked, because `runs` removes files without a lock.
    aside = path.with_suffix(".part")
    file = open(aside, "w+")  # noqa: SIM115
    with suppress(OSError):  # a file system without locks
        fcntl.flock(file, fcntl.LOCK_EX)
    json.dump(asdict(run), file)
    file.flush()
    os.replace(aside, path)
    _held.append(file)


_held: list = []  # open files, because closing one frees its lock


def runs(home: str | Path = FOLDER) -> list[Run]:
    """Return the living runs, the oldest first, and remove the marks of others.

    Args:
        home: see `mark`.
    """
    found = []
    for path in Path(home).glob("*.json"):
        run = _read(path)
        if _lives(path, run):
            found.append(run)
        else:
            with suppress(OSError):
                path.unlink()
    return sorted((run for run in found if run), key=lambda run: run.begun)


def _read(path: Path) -> Run | None:
    try:
        return Run(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _lives(path: Path, run: Run | None) -> bool:
    """Return whether a mark is locked; if the file system has no locks, whether its process is."""
    try:
        # Two processes that look at the same time do not block each other with shared locks.
        with open(path) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except FileNotFoundError:
        return False
    except OSError:
        return run is not None and (run.host != events.HOST or files.alive(run.process))
    return False
