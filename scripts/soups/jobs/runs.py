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


def state_name(name: str, key: str) -> str:
    """File name of the saved state of what is trained under a name, in a run's ``.state``.

    Args:
        name: of the model.
        key: 32 hexadecimal digits, so that one name is never the beginning of another's.
    """
    return f"{name}-{key}.pt"


def states(folder: str | Path, name: str) -> list[Path]:
    """Saved states of what is trained under a name, whatever their keys.

    Args:
        folder: where states lie.
        name: of the model.
    """
    return list(Path(folder).glob(state_name(name, "[0-9a-f]" * 32)))


def begin(folder: str, **plan) -> None:
    """Leave in an experiment's folder what a run of it is going to make.

    Args:
        folder: ``results/<name>``.
        plan: ``shared``: name of the experiment that data and starting points come from, or None;
            ``rule`` that makes the ingredients; and by name ``ingredients, starts, soups,
            ensembles, evaluated`` (models with logits), ``tests, tables, figures``.
    """
    files.write_json(f"{folder}/{PLAN}", {"begun": _now(), "folder": folder, **plan})


def end(folder: str, log: str | None) -> None:
    """Add to the plan how the run ended.

    Args:
        folder: ``results/<name>``.
        log: Snakemake's, if the run failed; None if all was made.
    """
    if (path := Path(folder, PLAN)).is_file():
        files.write_json(path, files.read_json(path) | {"ended": _now(), "failed": log})


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def mark_alive(path: str) -> None:
    """Hold a lock on a file as long as this process lives, so that others can tell that it does."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    _alive.append(open(path, "w"))  # noqa: SIM115
    with suppress(OSError):  # another one here, or a file system without locks
        fcntl.flock(_alive[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)


_alive: list = []
