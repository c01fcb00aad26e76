"""A run that is killed and continued gives the same bytes as an undisturbed run."""

import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from soups.jobs import events
from tests.workflow.conftest import FEW, TINY

COMPARED = ("models/*.safetensors", "soups/*.safetensors", "tables/*.csv", "recipes/*.json")
COMPARED += ("pretrained/*.safetensors", "prepared/*.npy", "splits/*", "figures/*.png")


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
    # These targets suffice, because curves and figures come from rules of the same kind.
    targets = "soups", str(results.relative_to(copy.folder) / "tables" / "methods.csv")
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
    assert len(ours) > 30
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
    copy = project(TINY | FEW | {"sweep": one})
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
