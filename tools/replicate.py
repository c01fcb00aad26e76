"""Run the evidence for the paper's claims: all designs of experiments/evidence/plan.yaml.

python tools/replicate.py [--name NAME] [--with FILE ...] [--only DESIGN ...] [--most N]
    [--keep] [--dry-run] [-- OPTIONS]

Every run is an experiment results/<name>/<design>-<seed>. A finished run is not repeated, and an
interrupted one goes on where it stopped. A design that leaves one of its claims inconclusive gets
the runs of its key `more` as well, once. The options after -- go to snakemake. After each run, the
verdicts of all runs so far are written to results/recorded/evidence, see `soups.claims.series`.
Those of another name go to results/<name>/record. Runs that the record has with the same settings
stay in it until they are made again, and with --keep they are not made again. With --dry-run the
tool lists the runs that it would make, and makes none.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import yaml
from _evidence import DONE, OVERLAYS, Run, chosen, left, runs
from _findings import left_open, record
from _recorded import Recorded
from _snakemake import call, commit, split, unlock
from record import hardware

import _library  # noqa: F401
from soups import files
from soups.errors import UserError
from soups.experiment.plan import EVIDENCE
from soups.jobs.progress import duration
from soups.models.checkpoints import Checkpoint
from soups.models.pretrained import Pretrained


def write_start(folder: Path, path: Path) -> None:
    """Write a pre-trained model with the image tower of the first fine-tuned model of a run.

    Args:
        folder: of the run. The text tower is that of its own pre-trained model.
        path: the file to write.
    """
    pretrained = Pretrained.load(folder / "pretrained" / "model.safetensors")
    weights = Checkpoint(folder / "models" / "m00.safetensors").state()
    begin = f"{pretrained.tower_name}."
    tower = {
        name.removeprefix(begin): tensor
        for name, tensor in weights.items()
        if name.startswith(begin)
    }
    pretrained.visual.load_state_dict(tower)
    pretrained.save(path, {"source": "supervised pre-training, see experiments/evidence"})


def prepare(run: Run, every: Sequence[Run], options: Sequence[str]) -> None:
    """Make what a run takes from other runs that are not here: data and start, or a start alone.

    Args:
        run: the run.
        every: all runs of the evidence.
        options: further options of snakemake.
    """
    if run.maker and not run.maker.done:
        make(run.maker, every, options)
    shared = run.config.get("shared")
    owner = next((other for other in every if other.config["name"] == shared), None)
    if owner and not (owner.folder / "settings.json").is_file():
        prepare(owner, every, options)
        call([*owner.begin, *options])


def make(run: Run, every: Sequence[Run], options: Sequence[str]) -> float:
    """Make a run, and mark it as finished.

    Args:
        run: the run.
        every: all runs of the evidence.
        options: further options of snakemake.

    Returns:
        the seconds that the run itself took.
    """
    prepare(run, every, options)
    begun, now = time.monotonic(), commit()
    call([*run.command(run.effects), *options])
    if run.model:
        write_start(run.folder, run.model)
    seconds = time.monotonic() - begun
    mark = {"fingerprint": run.fingerprint, "settings": run.settings}
    made = {"minutes": round(seconds / 60, 2), "hardware": hardware(), "commit": now}
    files.write_json(run.folder / DONE, mark | made)
    return seconds


def carry_out(
    asked: Sequence[Run], every: Sequence[Run], options: Sequence[str], note: Callable[[], None]
) -> int:
    """Make the runs that are not finished, and print how much time is left before each.

    Args:
        asked: the runs to make, in order.
        every: all runs of the evidence.
        options: further options of snakemake.
        note: writes the record. It is called after each run.

    Returns:
        the number of runs that were made.
    """
    took, expected = 0.0, 0.0
    todo = [run for run in asked if not run.done]
    for number, run in enumerate(todo, start=1):
        rest = sum(other.minutes for other in todo[number - 1 :])
        time_left = duration(left(took, expected, rest))
        print(f"{run.config['name']}: run {number} of {len(todo)}, about {time_left} left",
              flush=True)  # fmt: skip
        took, expected = took + make(run, every, options), expected + run.minutes
        note()
    return len(todo)


def listed(runs: Sequence[Run]) -> str:
    """The runs that are not finished, their expected time on two cores, and the sum."""
    todo = [run for run in runs if not run.done]
    if not todo:
        return "There is nothing to make: every run is finished, or kept in the record."
    certain = [run for run in todo if not run.further]
    lines = [
        f"{run.config['name']}: about {duration(60 * run.minutes)}"
        + (", if its claim is still inconclusive" if run.further else "")
        for run in todo
    ]
    whole = duration(60 * sum(run.minutes for run in certain))
    note = "Data and starts that they share are made first if they are not here."
    count = "1 run is" if len(certain) == 1 else f"{len(certain)} runs are"
    return "\n".join([*lines, f"{count} certain, about {whole} on two cores", note])


def main(arguments: Sequence[str]) -> None:
    given = parsed(arguments)
    whole = yaml.safe_load((OVERLAYS / "plan.yaml").read_text(encoding="utf-8"))
    wanted = chosen(whole, given.only)
    every = runs(whole, given.name, [Path(path) for path in given.overlays])
    results = Path("results", given.name)
    target = Path("results/recorded", EVIDENCE) if given.name == EVIDENCE else results / "record"
    recorded = Recorded.read(target, every)
    asked = [run for run in every if run.design in wanted and run.number < given.most]
    here = [run for run in asked if not (given.keep and run.name in recorded.notes)]
    if given.dry_run:
        print(listed(here))
        return
    unlock()
    note = partial(record, target, whole, every, recorded)
    made = carry_out([run for run in here if not run.further], every, given.options, note)
    more = left_open(whole, every, recorded) if any(run.further for run in here) else set()
    further = [run for run in here if run.further and run.design in more]
    made += carry_out(further, every, given.options, note)
    if not made:
        note()
    if (target / "claims.md").is_file():  # no test was made yet otherwise
        print((target / "claims.md").read_text(encoding="utf-8"))


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default=EVIDENCE, help="folder of results/ for the runs")
    parser.add_argument("--with", nargs="+", default=[], dest="overlays", metavar="FILE",
                        help="overlays that go on top of those of every design")  # fmt: skip
    parser.add_argument("--only", nargs="+", default=[], metavar="DESIGN", help="these designs")
    parser.add_argument("--keep", action="store_true",
                        help="do not repeat runs of the record with the same settings")  # fmt: skip
    parser.add_argument("--most", type=int, default=10**6, metavar="N",
                        help="at most N runs of each design")  # fmt: skip
    parser.add_argument("-n", "--dry-run", action="store_true",
                        help="list the runs that would be made")  # fmt: skip
    own, options = split(arguments)
    given = parser.parse_args(own)
    given.options = options
    return given


if __name__ == "__main__":
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    try:
        main(sys.argv[1:])
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(error.returncode) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
