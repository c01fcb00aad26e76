"""Files that a run of the workflow leaves: its plan, and how it ended."""

import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from soups import files
from soups.jobs import events

PLAN = "plan.json"


def of_experiment(targets: Iterable[str]) -> bool:
    """Return whether a run makes a part of the experiment; published results are not a part."""
    return set(targets) != {"published"}


def state_name(name: str, key: str) -> str:
    """Return the file name of a saved state in the folder ``.state`` of an experiment.

    Args:
        name: of the model.
        key: 32 hexadecimal digits. The fixed length keeps `states` of a model apart from states
            of models whose names begin with its name.
    """
    return f"{name}-{key}.pt"


def states(folder: str | Path, name: str) -> list[Path]:
    """Return the saved states of a model with any key.

    Args:
        folder: of the states.
        name: of the model.
    """
    return list(Path(folder).glob(state_name(name, "[0-9a-f]" * 32)))


def begin(folder: str, **plan) -> None:
    """Write the plan of a run into the folder of its experiment.

    Args:
        folder: ``results/<name>``.
        plan: ``command`` is the command line of the run, and ``commit`` the git commit of the
            workflow, or None. ``shared`` is the name of the experiment that data and starting
            points come from, or None. ``rule`` is the rule that makes the ingredients. The other
            keys are lists of names: ``ingredients, starts, soups, ensembles, evaluated`` (models
            with logits), ``tests, tables, figures``. ``fingerprints`` maps an ingredient to a hash
            of its settings.
    """
    files.write_json(f"{folder}/{PLAN}", {"begun": _now(), "folder": folder, **plan})


def end(folder: str, logs: Iterable[str] | None = None, interrupted: bool = False) -> None:
    """Add to the plan when and how the run ended.

    A run without ``logs`` made everything. Any other run is interrupted if a signal reached
    Snakemake, or if signals stopped all of the run's unfinished jobs. Otherwise it failed.

    Args:
        folder: ``results/<name>``.
        logs: Snakemake's log files, if the run did not make everything.
        interrupted: whether a signal ended Snakemake, see `signals.came`.
    """
    if not (path := Path(folder, PLAN)).is_file():
        return
    plan = files.read_json(path)
    failed = None
    if logs is None:
        interrupted = False
    elif not (interrupted := interrupted or _jobs_were_stopped(Path(folder), plan)):
        failed = " ".join(map(_relative, logs))
    files.write_json(path, plan | {"ended": _now(), "interrupted": interrupted, "failed": failed})


def stale_soups(folder: str | Path) -> list[str]:
    """Return the soups in an experiment's folder that its last run did not plan.

    They are of an earlier configuration, and no table of the last run holds them.

    Args:
        folder: ``results/<name>``.
    """
    plan = Path(folder, PLAN)
    if not plan.is_file():
        return []
    planned = files.read_json(plan)["soups"]
    made = sorted(path.stem for path in Path(folder, "soups").glob("*.safetensors"))
    return [name for name in made if name not in planned]


def _jobs_were_stopped(folder: Path, plan: dict) -> bool:
    """Return whether signals stopped all jobs that began in this run and did not end."""
    begun = datetime.fromisoformat(plan["begun"]).timestamp()
    folders = [folder, Path("results", plan["shared"])] if plan.get("shared") else [folder]
    records = [
        events.JobRecord.read(path)
        for home in folders
        for path in (home / "logs").rglob(f"*{events.ENDING}")
        if path.stat().st_mtime >= begun
    ]
    unfinished = [record for record in records if not record.ended]
    return bool(unfinished) and all(record.signal for record in unfinished)


def _relative(path: str) -> str:
    """Return the path relative to the current folder if the file lies in it."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")
