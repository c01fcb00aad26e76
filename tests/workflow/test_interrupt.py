"""A run that is killed and continued gives the same bytes as an undisturbed run."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from soups.jobs import events
from tests.workflow.conftest import FEW, SMALL, TINY

COMPARED = ("models/*.safetensors", "soups/*.safetensors", "tables/*.csv", "recipes/*.json")
COMPARED += ("pretrained/*.safetensors", "prepared/*.npy", "splits/*", "figures/*.png")
COMPARED += ("logits/*/*.npy",)
# These results suffice, because all others come from rules of the same kinds.
MADE = ("soups/greedy.safetensors", "soups/learned.safetensors", "logits/greedy/test.npy",
        "tables/greedy_trace.csv", "figures/greedy_trace.png")  # fmt: skip


def interrupt(project, signum: int, when, *arguments: str) -> None:
    """Start a run, wait until ``when()`` is true, and send a signal to Snakemake and all jobs."""
    process = project.start(*arguments)
    deadline = time.monotonic() + 300
    while not when():
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline, "the moment to interrupt the run never came"
        time.sleep(0.05)
    os.killpg(process.pid, signum)
    process.wait(timeout=600)


def contents(folder: Path) -> dict[str, bytes]:
    """Return the results to compare, file to its bytes."""
    files = [path for pattern in COMPARED for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.workflow
def test_a_run_that_is_killed_twice_gives_the_same_bytes(finished, project):
    copy = project(TINY)
    results = copy.results
    targets = [str(results.relative_to(copy.folder) / name) for name in MADE]
    # Kill it when pre-training has saved a state, but not written its output.
    interrupt(copy, signal.SIGKILL, lambda: list((results / ".state").glob("[!.]*.pt")), *targets)
    assert not (results / "pretrained" / "model.safetensors").exists()
    copy.run("--unlock")
    # Interrupt it when one ingredient is done and another one is training.
    done = results / "models" / "m00.safetensors"
    interrupt(copy, signal.SIGINT, done.exists, *targets)
    copy.run(*targets)

    told = events.read(results / "logs" / "pretrain.events.jsonl")
    assert "resumed" in [event["event"] for event in told]
    assert not list((results / ".state").glob("*"))
    ours, theirs = contents(results), contents(finished.results)
    assert {*MADE, *(f"models/m0{i}.safetensors" for i in range(3))} <= ours.keys()
    assert ours.keys() <= theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert not list(results.rglob("*.part*"))


@pytest.mark.workflow
def test_a_fine_tune_that_is_stopped_within_an_epoch_resumes_there(project, tmp_path, monkeypatch):
    """All processes get SIGTERM first, as from SLURM, and later SIGINT, as from Ctrl-C."""
    # With a trap, bash stays the parent of its last command, as older versions always do. Such a
    # shell would end on the signal, before the program has saved its state.
    (tmp_path / "stays.sh").write_text("trap : EXIT\n")
    monkeypatch.setenv("BASH_ENV", str(tmp_path / "stays.sh"))
    one = {"random": {"n": 1, "parameters": {"epochs": "choice(6, 6)"}}} | FEW["sweep"]
    copy = project(SMALL | {"sweep": one})
    model = copy.results / "models" / "m00.safetensors"
    target = str(model.relative_to(copy.folder))
    copy.run(target)
    undisturbed = model.read_bytes()

    path, states = copy.results / "logs" / "finetune" / "m00.log", copy.results / ".state"
    model.unlink()
    path.unlink()
    events.beside(path).unlink()

    def told(name: str) -> list[dict]:
        found = events.read(events.beside(path)) if events.beside(path).exists() else []
        return [event for event in found if event["event"] == name]

    def steps(name: str, signum: str | None = None) -> list[int]:
        return [event["step"] for event in told(name) if signum in (None, event.get("signal"))]

    parents = set()

    def saved() -> bool:
        for begin in told("begin"):
            parents.add(psutil.Process(begin["process"]).parent().name())
        return any(states.glob("[!.]*.pt"))

    interrupt(copy, signal.SIGTERM, saved, target)
    assert parents
    assert "bash" not in parents
    first = steps("stopped", "SIGTERM")
    assert f"stopped by SIGTERM after step {first[0]}:" in path.read_text()
    interrupt(copy, signal.SIGINT, lambda: told("resumed") and told("epoch"), target)
    assert steps("resumed") == first
    second = steps("stopped", "SIGINT")
    assert len(first) == len(second) == 1
    assert second[0] > first[0]
    assert not model.exists()
    copy.run(target)
    assert steps("resumed") == second
    assert f"resumed after step {second[0]} from" in path.read_text()
    assert model.read_bytes() == undisturbed
    assert not list(states.glob("*"))


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Sweep:
    """A run of fine-tunes, one at a time, that signals end again and again.

    Args:
        project: with a sweep of several models.
    """

    def __init__(self, project) -> None:
        project.cores = 1
        self.project, self.models = project, project.results / "models"

    def done(self) -> dict[str, int]:
        """Return model to the time of its second output, for all models that are done."""
        return {
            path.name.split(".")[0]: path.stat().st_mtime_ns
            for path in self.models.glob("m*.heldout.npy")
            if path.with_name(path.name.replace(".heldout.npy", ".safetensors")).exists()
        }

    def told(self, model: str, name: str) -> list[dict]:
        """Return the events of one name from the last job of a model."""
        path = self.project.results / "logs" / "finetune" / f"{model}.events.jsonl"
        found = events.read(path) if path.exists() else []
        return [event for event in found if event["event"] == name]

    def until_one_is_done(self, process) -> tuple[str, int]:
        """Wait until the run made a model and trains another; return its name and process."""
        before, deadline = set(self.done()), time.monotonic() + 300
        while True:
            assert process.poll() is None, "the run ended before it could be interrupted"
            assert time.monotonic() < deadline, "no model was made"
            time.sleep(0.05)
            if not set(self.done()) - before:
                continue
            for name in (f"m{i:02d}" for i in range(12)):
                begun = self.told(name, "begin")
                if begun and not self.told(name, "stopped") and not self.told(name, "done"):
                    return name, begun[0]["process"]


@pytest.mark.workflow
def test_no_signal_loses_a_finished_model(project, tmp_path):
    """SIGINT, SIGTERM and SIGHUP, to Snakemake alone, to all its jobs too, and to a job alone."""
    random = {"random": {"n": 12, "parameters": {"epochs": 4, "mixup": 0}}} | FEW["sweep"]
    sweep = Sweep(project(SMALL | {"sweep": random}))
    target = "soups"
    with open(tmp_path / "out.txt", "w+") as output:
        stopped, kept = None, {}
        for number in ENDING:
            for to in ("snakemake", "group", "job"):
                process = sweep.project.start(target, output=output)
                name, job = sweep.until_one_is_done(process)
                if to == "group":
                    os.killpg(process.pid, number)
                else:
                    os.kill({"snakemake": process.pid, "job": job}[to], number)
                assert process.wait(timeout=120) == 1, (number, to)
                assert [e["signal"] for e in sweep.told(name, "stopped")] == [number.name], to
                # What earlier runs and this one have made is still there, and is not made again.
                now = sweep.done()
                assert now.items() >= kept.items(), (number, to)
                assert len(now) > len(kept), (number, to)
                if stopped:
                    assert stopped in now
                    assert sweep.told(stopped, "resumed"), (number, to)
                stopped, kept = name, now
                assert not list((sweep.project.folder / ".snakemake" / "locks").glob("*"))
        # Ctrl-C while a job still imports its modules
        process = sweep.project.start(target, output=output)
        while not any("finetune" in " ".join(child.cmdline()) for child in children(process.pid)):
            assert process.poll() is None
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=120) == 1
        assert sweep.done() == kept
        output.seek(0)
        assert "Traceback" not in output.read()
    # Snakemake's markers of incomplete outputs are gone for all models that are done.
    assert sweep.project.planned(target)["finetune"] == 12 - len(kept)


def children(process: int) -> list[psutil.Process]:
    """Return the processes that a process has started and that still run."""
    return [child for child in psutil.Process(process).children() if child.status() != "zombie"]


@pytest.mark.workflow
def test_a_second_run_is_refused_by_name_and_age_of_the_first(project):
    copy = project(SMALL)
    first = copy.start("soups")
    try:
        deadline = time.monotonic() + 120
        while not list((copy.folder / ".snakemake" / "runs").glob("*.json")):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        said = f"process {first.pid} on {events.HOST} is making results/tiny here, started "
        for arguments in (["soups"], ["--unlock"], ["tables", "--nolock"]):
            second = copy.run(*arguments, check=False)
            assert second.returncode == 1
            told = second.stdout + second.stderr
            assert said in told, arguments
            assert " ago by `snakemake soups" in told
            assert "Error: Directory cannot be locked" not in told
            assert "Traceback" not in told
        for arguments in (["soups", "-n"], ["soups", "--summary"]):
            assert said not in copy.run(*arguments).stderr
        assert first.poll() is None
        assert list((copy.folder / ".snakemake" / "locks").glob("*"))
    finally:
        os.killpg(first.pid, signal.SIGTERM)
        first.wait(timeout=60)
