"""The handlers that Snakemake's process calls when a run begins and when it ends."""

import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from soups import files
from soups.errors import UserError
from soups.jobs import progress, runs

ALIVE = ".snakemake/alive"  # in the folder that Snakemake runs in


def begin(workflow, plan) -> None:
    """Check the GPUs, and write the plan of the run into the folder of its experiment.

    Args:
        workflow: the object of Snakemake that describes the run.
        plan: see `experiment.plan.Plan`.

    Raises:
        SystemExit: if the run needs a GPU that it does not have.
    """
    runs.note_signals()
    try:
        _check_gpus(workflow, plan)
    except UserError as error:
        sys.exit(f"error: {error}")  # Snakemake would print a traceback below the sentence
    if runs.of_experiment(workflow.dag_settings.targets):
        # An experiment that shares this one compares its settings with these.
        if plan.shared == plan.results:
            files.write_json(f"{plan.results}/settings.json", plan.sections)
        made = {"command": command(), "commit": commit(workflow.basedir)}
        runs.begin(plan.results, **made, **plan.announced)
    runs.mark_alive(ALIVE)
    # A job that has all cores to itself shows a progress bar.
    if workflow.resource_settings.cores:
        os.environ[progress.CORES] = str(workflow.resource_settings.cores)


def refuse_unlock(arguments: Iterable[str]) -> None:
    """Refuse ``--unlock`` while another run lives in this folder, which holds the lock.

    Args:
        arguments: the command line of this process.

    Raises:
        UserError: if another run lives.
    """
    if "--unlock" in arguments and runs.living(ALIVE):
        raise UserError("--unlock: another snakemake is running here, expected it to end first")


def command() -> str:
    """Return the command line of this process, quoted for a shell."""
    return shlex.join(["snakemake", *sys.argv[1:]])


def commit(folder: str | Path) -> str | None:
    """Return the git commit of a folder, and whether tracked files differ from it.

    Args:
        folder: of the Snakefile.

    Returns:
        None if the folder is not the top of a git checkout, or if git cannot read it.
    """
    if not Path(folder, ".git").exists():  # it may lie in a checkout of something else
        return None
    asked = ["describe", "--always", "--exclude=*", "--abbrev=12", "--dirty"]
    try:
        found = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(folder), *asked],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.replace("-dirty", " with local changes")


def _check_gpus(workflow, plan) -> None:
    """Report a missing GPU now, and not in the first job that needs it.

    A run that submits its jobs to other machines needs no GPU on this one, nor does a run
    without jobs that use models.
    """
    allowed = workflow.global_resources.get("gpu")
    if plan.gpus and allowed is not None and allowed.value == 0:
        raise UserError("--resources gpu is 0, expected 1 or more, or compute.device: cpu")
    asked = plan.config["compute"]
    if not workflow.local_exec or (asked["device"], asked["gpus"]) == ("auto", 1):
        return
    if any(
        "gpu" in job.resources.keys()  # noqa: SIM118
        for job in workflow.dag.needrun_jobs()
    ):
        from soups.jobs import compute, distributed  # imports torch

        compute.configure(asked)
        distributed.check()


def end(workflow, plan, log, failed: bool = False) -> None:
    """Note how the run ended.

    Args:
        workflow, plan: see `begin`.
        log: Snakemake's log files of the run.
        failed: whether a job failed, or was interrupted.
    """
    if runs.of_experiment(workflow.dag_settings.targets):
        runs.end(plan.results, log if failed else None, runs.signalled())
        if stale := runs.stale_soups(plan.results):
            names = ", ".join(stale)
            print(
                f"{plan.results}/soups holds soups of an earlier configuration, which no table "
                f"includes: {names}",
                file=sys.stderr,
            )
    if failed:
        print("Finished results stay. Run the same command again to continue.", file=sys.stderr)
