"""Run the evidence for the paper's claims: all designs of experiments/evidence/plan.yaml.

python tools/replicate.py [--name NAME] [--with FILE ...] [--only DESIGN ...] [--most N]
    [-- OPTIONS]

Every run is an experiment results/<name>/<design>-<seed>. A finished run is not repeated, and an
interrupted one goes on where it stopped. The options after -- go to snakemake. After each run, the
verdicts of all runs so far are written to results/recorded/evidence, see `soups.claims.series`.
Those of another name go to results/<name>/record.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from _evidence import CLI, DONE, OVERLAYS, Run, chosen, left, runs
from record import hardware

import _library  # noqa: F401
from soups import files
from soups.claims import series
from soups.errors import UserError
from soups.evaluation import midpoints
from soups.experiment.plan import EVIDENCE
from soups.jobs import living
from soups.jobs.progress import duration
from soups.models.checkpoints import Checkpoint
from soups.models.pretrained import Pretrained
from soups.report import presentation

# Tables of the runs that the record holds as well.
GATHERED = ("methods", "models", "number_of_models")


def evidence(designs: Mapping[str, Mapping], every: Sequence[Run]) -> pd.DataFrame:
    """The tests of all designs, from the runs that are finished."""
    tables = {(run.design, run.seed): pd.read_csv(run.effects) for run in every if run.done}
    parts = []
    for name, spec in designs.items():
        here = {seed: tables[name, seed] for seed in spec["seeds"] if (name, seed) in tables}
        usual = spec.get("weaker_than")
        if usual:
            pairs = [seed for seed in here if (usual, seed) in tables]
            found = series.weaker(
                [tables[usual, seed] for seed in pairs], [here[seed] for seed in pairs]
            )
        else:
            found = list(here.values())
        if found:
            parts.append(series.design(name, found, spec["claims"]))
    return series.combined(parts) if any(map(len, parts)) else pd.DataFrame()


def gathered(every: Sequence[Run], name: str) -> pd.DataFrame:
    """A table of all finished runs that have it, with their design and the seed of their sweep."""
    made = []
    for run in every:
        path = run.folder / "tables" / f"{name}.csv"
        if run.done and path.is_file():
            made.append(pd.read_csv(path).assign(design=run.design, sweep_seed=run.seed))
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


def paired(every: Sequence[Run]) -> pd.DataFrame:
    """The midpoints of all finished runs with pairs of the sweep, with design and seed."""
    made = []
    for run in every:
        path = run.folder / "tables" / "pairs.csv"
        if not run.done or not path.is_file():
            continue
        pairs = pd.read_csv(path)
        predictions = {
            name: np.load(run.folder / "logits" / name / "test.npy").argmax(1)
            for name in {*pairs["model_1"], *pairs["model_2"]}
        }
        table = midpoints.midpoints(pairs, predictions)
        made.append(table.assign(design=run.design, sweep_seed=run.seed))
    return pd.concat(made, ignore_index=True) if made else pd.DataFrame()


def record(folder: Path, designs: Mapping[str, Mapping], every: Sequence[Run]) -> None:
    """Write the verdicts and their numbers after each run, so that an interruption loses none."""
    parts = evidence(designs, every)
    for name in GATHERED:
        table = gathered(every, name).drop(columns="members", errors="ignore")
        files.write_text(folder / f"{name}.csv", table.to_csv(index=False))
    files.write_text(folder / "pairs.csv", paired(every).to_csv(index=False))
    took = {f"{run.design}-{run.seed}": files.read_json(run.folder / DONE)["minutes"]
            for run in every if run.done}  # fmt: skip
    note = {"command": "make seeds", "hardware": hardware(), "commit": commit(), "minutes": took}
    files.write_json(folder / "record.json", note)
    if len(parts):
        claims = series.judged(parts)
        files.write_text(folder / "effects.csv", parts.to_csv(index=False))
        files.write_text(folder / "claims.csv", claims.to_csv(index=False))
        shown = presentation.markdown(*presentation.recorded(claims))
        files.write_text(folder / "claims.md", shown)


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


def commit() -> str | None:
    """The git commit of this folder, or None outside a checkout."""
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True)
    return found.stdout.strip() or None if not found.returncode else None


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


def main(arguments: Sequence[str]) -> None:
    given = parsed(arguments)
    whole = yaml.safe_load((OVERLAYS / "plan.yaml").read_text(encoding="utf-8"))
    wanted = chosen(whole, given.only)
    every = runs(whole, given.name, [Path(path) for path in given.overlays])
    results = Path("results", given.name)
    target = Path("results/recorded", EVIDENCE) if given.name == EVIDENCE else results / "record"
    unlock()
    took, expected = 0.0, 0.0
    todo = [
        run for run in every if run.design in wanted and run.number < given.most and not run.done
    ]
    for number, run in enumerate(todo, start=1):
        rest = sum(other.minutes for other in todo[number - 1 :])
        time_left = duration(left(took, expected, rest))
        print(f"{run.config['name']}: run {number} of {len(todo)}, about {time_left} left",
              flush=True)  # fmt: skip
        begun = time.monotonic()
        call([*run.command, *given.options])
        if run.becomes:
            write_start(run.folder, run.folder / run.becomes)
        seconds = time.monotonic() - begun
        note = {"fingerprint": run.fingerprint, "minutes": round(seconds / 60, 2)}
        files.write_json(run.folder / DONE, note)
        took, expected = took + seconds, expected + run.minutes
        record(target, whole, every)
    if not todo:
        record(target, whole, every)
    if (target / "claims.md").is_file():  # no test was made yet otherwise
        print((target / "claims.md").read_text(encoding="utf-8"))


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default=EVIDENCE, help="folder of results/ for the runs")
    parser.add_argument("--with", nargs="+", default=[], dest="overlays", metavar="FILE",
                        help="overlays that go on top of those of every design")  # fmt: skip
    parser.add_argument("--only", nargs="+", default=[], metavar="DESIGN", help="these designs")
    parser.add_argument("--most", type=int, default=10**6, metavar="N",
                        help="at most N runs of each design")  # fmt: skip
    before, after = list(arguments), []
    if "--" in before:
        cut = before.index("--")
        before, after = before[:cut], before[cut + 1 :]
    given = parser.parse_args(before)
    given.options = after
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
