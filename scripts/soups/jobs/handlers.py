"""The handlers that Snakemake's process calls when a run begins and when it ends."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from soups import files
from soups.errors import UserError
from soups.jobs import left_out, living, progress, runs, signals
from soups.jobs.signals import say

PUBLISHED = "results/published"  # what the target `published` makes


def begin(workflow, plan, checks: Sequence[Callable] = ()) -> None:
    """Check the GPUs and the disk, and note the run for its status and for other runs.

    Args:
        workflow: the object of Snakemake that describes the run.
        plan: see `experiment.plan.Plan`.
        checks: functions of ``workflow`` and ``plan`` that raise a `UserError`.

    Raises:
        SystemExit: if the run needs a GPU or space on the disk that it does not have.
    """
    signals.note()
    try:
        _check_gpus(workflow, plan)
        for check in checks:
            check(workflow, plan)
        _note(workflow, plan)
    except UserError as error:
        sys.exit(f"error: {error}")  # Snakemake would print a traceback below the sentence
    except OSError as error:
        if sentence := files.no_space(error):
            sys.exit(f"error: {sentence}")
        raise
    # A job that has all cores to itself shows a progress bar.
    if workflow.resource_settings.cores:
        os.environ[progress.CORES] = str(workflow.resource_settings.cores)
    if workflow.local_exec:
        signals.watch(workflow.scheduler.exit_gracefully, signals.children)


def _note(workflow, plan) -> None:
    """Write the plan of the run, and say to other processes that the run lives."""
    for run in living.runs():
        say(f"Another run lives in this folder: {run}.")
    of_experiment = runs.of_experiment(workflow.dag_settings.targets)
    living.mark(plan.results if of_experiment else PUBLISHED, command())
    for note in plan.notes:
        say(note)
    if of_experiment:
        # An experiment that shares this one compares its settings with these.
        if plan.shared == plan.results:
            files.write_json(f"{plan.results}/settings.json", plan.sections)
        made = {"command": command(), "commit": commit(workflow.basedir)}
        runs.begin(plan.results, **made, **plan.announced)


def refuse(workflow, arguments: Sequence[str]) -> None:
    """Refuse ``--unlock`` while any run lives in this folder, which holds the lock.

    Args:
        workflow: see `begin`.
        arguments: the command line of this process without its first word.

    Raises:
        UserError: if another run lives.
    """
    others = living.runs() if workflow.is_main_process else []
    if others and _asked(arguments).unlock:
        raise UserError(f"--unlock: {others[0].refusal()}")


def refuse_second(workflow, folder: str, arguments: Sequence[str]) -> None:
    """Refuse a second run of one experiment, before Snakemake suggests to unlock the folder.

    Commands that change nothing stay allowed, and so are runs of other experiments. If two
    experiments would make the same file, Snakemake's own lock keeps them apart.

    Args:
        workflow, arguments: see `refuse`.
        folder: ``results/<name>`` of this run.

    Raises:
        UserError: if another run makes this folder.
    """
    others = living.runs() if workflow.is_main_process else []
    if not others or _looks(asked := _asked(arguments)):
        return
    ours = folder if runs.of_experiment(asked.targets or ["all"]) else PUBLISHED
    for run in others:
        if run.folder == ours:
            raise UserError(run.refusal())


# Options of commands that change no result.
_LOOKING = (
    "dryrun", "summary", "detailed_summary", "dag", "rulegraph", "filegraph", "d3dag", "lint",
    "list_rules", "list_target_rules", "list_changes", "list_input_changes", "list_params_changes",
    "list_untracked", "list_conda_envs", "print_compilation",
)  # fmt: skip


def _asked(arguments: Sequence[str]):
    """Return Snakemake's command line as it reads it, with abbreviations and the profile."""
    from snakemake.cli import parse_args

    return parse_args(list(arguments))[1]


def _looks(asked) -> bool:
    return any(getattr(asked, name, None) for name in _LOOKING)


def quote_interpreter() -> None:
    """Quote the path of Python, which may contain a space, for the shell commands of Snakemake.

    A quoted path is no file, so a second call in the same process changes nothing.
    """
    if Path(sys.executable).is_file():
        sys.executable = shlex.quote(sys.executable)


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
    try:
        _end(workflow, plan, log, failed)
    except (UserError, OSError) as error:
        if not isinstance(error, UserError) and not files.no_space(error):
            raise
        say(f"error: {files.no_space(error) or error}")
    if failed:
        say("Finished results stay. Run the same command again to continue.")


def _end(workflow, plan, log, failed: bool) -> None:
    if not runs.of_experiment(workflow.dag_settings.targets):
        return
    runs.end(plan.results, log if failed else None, signals.came())
    if stale := runs.stale_soups(plan.results):
        names = ", ".join(stale)
        say(
            f"{plan.results}/soups holds soups of an earlier configuration, which no table "
            f"includes: {names}"
        )
    for line in left_out.lines(plan.results, plan.ingredients):
        say(line)
