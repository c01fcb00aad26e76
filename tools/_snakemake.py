"""How tools that make several runs call snakemake, and what their notes on runs are made of."""

import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

import _library  # noqa: F401
from soups.errors import UserError
from soups.jobs import living

CLI = [sys.executable, "-m", "snakemake"]
COUNTED = ("precision", "inference", "accumulate", "gpus")  # keys of `compute` that change results
# What decides the results of a run. Records are in git as well, and each run changes them.
CODE = ("Snakefile", "config.yaml", "rules", "scripts", "tools", "experiments")
# Options of snakemake that decide how jobs run, and neither which files they make nor the settings.
# The letters of short ones are divided into those that take a value and those that take none.
LONG = (
    "--cores", "--jobs", "--local-cores", "--max-threads", "--set-threads", "--resources", "--res",
    "--default-resources", "--default-res", "--set-resources", "--profile", "--workflow-profile",
    "--keep-going", "--keep-incomplete", "--rerun-incomplete", "--retries", "--latency-wait",
    "--nolock", "--printshellcmds", "--quiet", "--verbose", "--nocolor", "--show-failed-logs",
)  # fmt: skip
WITH_VALUE, WITHOUT = "cjTwq", "kp"


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """A tool's own arguments, and the options of snakemake after the first ``--``.

    Raises:
        UserError: for an option that is not about how jobs run. With another one, such as
            ``--dry-run`` or ``--config``, the note on a run could be wrong.
    """
    before, after = list(arguments), []
    if "--" in before:
        cut = before.index("--")
        before, after = before[:cut], before[cut + 1 :]
    for option in (each for each in after if each.startswith("-")):
        if not _is_allowed(option):
            raise UserError(
                f"{option} stands after --, expected options about how jobs run, such as --cores 8"
            )
    return before, after


def _is_allowed(option: str) -> bool:
    if option.startswith("--"):
        return option.split("=")[0] in LONG
    letters = option[1:].lstrip(WITHOUT)  # such as kpc8
    return not letters or letters[0] in WITH_VALUE


def call(command: Sequence[str]) -> None:
    """Run a command. An interruption reaches it too, and its end is waited for.

    Raises:
        SystemExit: with its exit status, if that is not 0.
    """
    process = subprocess.Popen(command, start_new_session=True)

    def stop(number: int, _) -> None:
        process.send_signal(number)  # snakemake ends its jobs, and removes its lock

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        if status := process.wait():
            raise SystemExit(status if status > 0 else 128 - status)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def unlock() -> None:
    """Remove the lock that a killed run left behind.

    Raises:
        UserError: if another run lives here.
    """
    if others := living.runs():
        raise UserError(others[0].refusal())
    locks = Path(".snakemake/locks")
    if locks.is_dir() and any(locks.iterdir()):
        subprocess.run([*CLI, "--unlock", "--quiet", "all"], check=True)


def commit() -> str | None:
    """The git commit of this folder, with -dirty if code or settings differ from it.

    Returns:
        None outside a checkout.
    """
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    if found.returncode:
        return None
    changed = ["git", "status", "--porcelain", "--", *CODE]
    dirty = subprocess.run(changed, capture_output=True, text=True, check=True).stdout
    return found.stdout.strip() + ("-dirty" if dirty else "")


def counted(paths: Iterable[Path]) -> list[dict]:
    """The settings of overlays that decide results.

    Comments do not count, and of the section `compute` only the keys `COUNTED` do.
    """
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    for settings in read:
        if given := settings.get("compute"):
            settings["compute"] = {key: given[key] for key in COUNTED if key in given}
    return read
