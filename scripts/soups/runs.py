"""What a run leaves of itself in files: what it is going to make, how it ended, that it lives."""

import fcntl
from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from soups import files

PLAN = "plan.json"


def of_experiment(targets: Iterable[str]) -> bool:
    """Whether a run makes something of the experiment; the published results are no part of it."""
    return set(targets) != {"published"}


def begin(folder: str, **plan) -> None:
    """Leave in an experiment's folder what a run of it is going to make.

    Args:
        folder: ``results/<name>``.
        plan: ``shared``: name of the experiment that data and starting points come from, or None;
            ``rule`` that makes the ingredients; and by name ``ingredients, starts, soups,
            ensembles, evaluated`` (models with logits), ``tests, tables, figures``.
    """
    begun = datetime.now().astimezone().isoformat(timespec="seconds")
    files.write_json(f"{folder}/{PLAN}", {"begun": begun, "folder": folder, **plan})


def end(folder: str, log: str | None) -> None:
    """Add to the plan how the run ended.

    Args:
        folder: ``results/<name>``.
        log: Snakemake's, if the run failed; None if all was made.
    """
    if (path := Path(folder, PLAN)).is_file():
        now = datetime.now().astimezone().isoformat(timespec="seconds")
        files.write_json(path, files.read_json(path) | {"ended": now, "failed": log})


def mark_alive(path: str) -> None:
    """Hold a lock on a file as long as this process lives, so that others can tell that it does."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _alive.append(open(path, "w"))  # noqa: SIM115
    with suppress(OSError):  # another one here, or a file system without locks
        fcntl.flock(_alive[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)


_alive: list = []
