"""Kill a small run at random moments, resume it each time, and compare its results to the byte.

python tools/torture.py --kills 100 --seed 0 --cores 1

The tool works on a copy of the project. Its processes get SIGKILL all at once, as in a power cut.
After every kill, each result on disk has to equal that of an undisturbed run: no result is ever
half-written under its own name. At the end, no result is missing, and no temporary file is left.
"""

import argparse
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import yaml

import _library  # noqa: F401
from soups.jobs.events import JobRecord

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("Snakefile", "config.yaml", "rules", "scripts", "profiles", "envs", "experiments")
OVERLAY = {
    "name": "torture",
    "data": {
        "world": {
            "train": 1500,
            "test": 200,
            "shift": 100,
            "shifts": ["v2", "sketch"],
            "reference": {"images": 300, "epochs": 1},
        }
    },
    "model": {"pretrained": "train"},
    "pretrain": {"images": 800, "epochs": 2, "horizon": 3, "cooldown": 1},
    "sweep": {"random": {"n": 3, "parameters": {"epochs": 3}}},
    "finetune": {"batch_size": 64},
}
# What no two runs have in common: times, and where the run was.
DIFFERENT = ("logs", "benchmarks", ".state", "plan.json", "settings.json", "report.html")
# A kill comes when fewer than JOBS jobs have begun in the run, and within SECONDS after that. These
# moments do not depend on the speed of the machine, and on average a run finishes a job.
JOBS, SECONDS = 4, 4.0


@dataclass
class Project:
    """A copy of the project in which runs are killed.

    Attributes:
        folder: of the copy.
        targets: targets of Snakemake.
        cores: number of cores.
    """

    folder: Path
    targets: Sequence[str]
    cores: int

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        for part in PARTS:
            if (ROOT / part).is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / part, self.folder / part, ignore=ignored)
            else:
                shutil.copy(ROOT / part, self.folder / part)
        (self.folder / "overlay.yaml").write_text(yaml.safe_dump(OVERLAY))

    @property
    def results(self) -> Path:
        return self.folder / "results" / OVERLAY["name"]

    def start(self, log) -> subprocess.Popen:
        """Start the run in a process group of its own."""
        command = [Path(sys.executable).with_name("snakemake"), *self.targets]
        files = ["experiments/minimal.yaml", "overlay.yaml"]
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.Popen(
            [*command, "--cores", str(self.cores), "--configfile", *files],
            cwd=self.folder,
            env=os.environ | {"PATH": path},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def digests(self) -> dict[str, str]:
        """Return result to the SHA-256 of its bytes."""
        found = {}
        for path in self.results.rglob("*"):
            name = path.relative_to(self.results)
            if path.is_file() and name.parts[0] not in DIFFERENT and ".part" not in name.name:
                found[str(name)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def begun(self, since: float) -> int:
        """Return the number of jobs that began or went on after a time in seconds since 1970."""
        paths = (self.results / "logs").rglob("*.events.jsonl")
        return sum(path.stat().st_mtime > since for path in paths)

    def running(self) -> list[str]:
        """Return the rules whose jobs had begun and not ended."""
        logs = self.results / "logs"
        paths = list(logs.rglob("*.events.jsonl"))
        return [p.relative_to(logs).parts[0].split(".")[0] for p in paths if _unfinished(p)]

    def unlock(self) -> None:
        """Remove the locks of a killed run, as `snakemake --unlock` does."""
        shutil.rmtree(self.folder / ".snakemake" / "locks", ignore_errors=True)

    def forget(self) -> None:
        """Remove all results."""
        shutil.rmtree(self.results)
        shutil.rmtree(self.folder / ".snakemake")


def _unfinished(path: Path) -> bool:
    record = JobRecord.read(path)
    return record.last is not None and not record.ended


@dataclass
class Tally:
    """What happened.

    Attributes:
        kills: process groups that were killed.
        rounds: runs that were complete, and were then begun again without any result.
        during: rule to the number of kills while one of its jobs ran; "between jobs" otherwise.
        wrong: sentences about results that differ.
    """

    kills: int = 0
    rounds: int = 0
    during: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def torture(project: Project, kills: int, seed: int, log) -> Tally:
    """Kill runs of a project, and resume them.

    Args:
        project: without results.
        kills: how often.
        seed: of the moments.
        log: file for the output of the runs.

    Raises:
        RuntimeError: if a run fails that was not killed.
    """
    begin = time.monotonic()
    _complete(project, log)
    took = time.monotonic() - begin
    expected, tally, random = project.digests(), Tally(), Random(seed)
    print(f"undisturbed: {took:.0f} s, {len(expected)} results", flush=True)
    project.forget()
    while tally.kills < kills:
        jobs, begun, process = random.randrange(JOBS), time.time(), project.start(log)
        while project.begun(begun) < jobs and process.poll() is None:
            time.sleep(0.02)
        try:
            status = process.wait(timeout=random.uniform(0, SECONDS))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            tally.kills += 1
            for rule in project.running()[:1] or ["between jobs"]:
                tally.during[rule] += 1
            _compare(project, expected, tally, f"kill {tally.kills}")
            project.unlock()
            continue
        if status:
            raise RuntimeError(f"a run ended with exit status {status}, see {log.name}")
        _end_round(project, expected, tally)
    _complete(project, log)
    _end_round(project, expected, tally)
    return tally


def _complete(project: Project, log) -> None:
    if status := project.start(log).wait():
        raise RuntimeError(f"a run ended with exit status {status}, see {log.name}")


def _compare(project: Project, expected: dict[str, str], tally: Tally, when: str) -> None:
    for name, digest in project.digests().items():
        if expected.get(name) != digest:
            tally.wrong.append(f"{when}: {name} differs from that of the undisturbed run")


def _end_round(project: Project, expected: dict[str, str], tally: Tally) -> None:
    tally.rounds += 1
    when = f"end of round {tally.rounds}"
    _compare(project, expected, tally, when)
    tally.wrong += [f"{when}: {name} is missing" for name in expected.keys() - project.digests()]
    left = [*project.results.rglob("*.part*"), *project.results.glob(".state/*")]
    tally.wrong += [f"{when}: {path.name} is left" for path in left]
    print(f"{when}: {tally.kills} kills, {len(tally.wrong)} differences", flush=True)
    project.forget()


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("targets", nargs="*", help="of Snakemake; the whole experiment by default")
    given = parser.parse_args(arguments)
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder, "project"), given.targets, given.cores)
        with open(Path(folder, "log.txt"), "w") as log:
            try:
                tally = torture(project, given.kills, given.seed, log)
            except RuntimeError:
                print(Path(log.name).read_text()[-5000:], file=sys.stderr)
                raise
    rules = ", ".join(f"{rule} {count}" for rule, count in tally.during.most_common())
    print(f"{tally.kills} kills (in {rules}), {tally.rounds} runs completed")
    print("\n".join(tally.wrong) or "All results equal those of the undisturbed run to the byte.")
    print(f"seed {given.seed}, {(time.monotonic() - begin) / 60:.0f} minutes")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
