"""Killed anywhere and run again: the same bytes as an undisturbed run."""

import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.workflow.conftest import FEW, TINY

COMPARED = ("models/*.safetensors", "soups/*.safetensors", "tables/*.csv", "recipes/*.json")
COMPARED += ("pretrained/*.safetensors", "prepared/*.npy", "splits/*", "figures/*.png")


def interrupt(project, signum: int, when, *arguments: str) -> None:
    """Start a run, wait until ``when()``, send the signal to everything it started."""
    process = project.start(*arguments)
    deadline = time.monotonic() + 300
    while not when():
        assert process.poll() is None, "the run ended before it could be interrupted"
        assert time.monotonic() < deadline, "the moment to interrupt never came"
        time.sleep(0.05)
    os.killpg(process.pid, signum)
    process.wait(timeout=120)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for pattern in COMPARED for path in folder.glob(pattern)]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.workflow
def test_killed_twice_gives_the_same_bytes(finished, project):
    copy = project(TINY)
    results = copy.results
    # Curves and figures follow from these, by rules of the same kind.
    targets = "soups", str(results.relative_to(copy.folder) / "tables" / "methods.csv")
    # While pre-training has saved an epoch but written nothing.
    interrupt(copy, signal.SIGKILL, lambda: list((results / ".state").glob("[!.]*.pt")), *targets)
    assert not (results / "pretrained" / "model.safetensors").exists()
    copy.run("--unlock")
    # With some ingredients done and another one under way.
    done = results / "models" / "m00.safetensors"
    interrupt(copy, signal.SIGINT, done.exists, *targets)
    copy.run(*targets)

    assert "resumed after step" in (results / "logs" / "pretrain.log").read_text()
    assert not list((results / ".state").glob("*"))
    ours, theirs = contents(results), contents(finished.results)
    assert len(ours) > 30
    assert ours.keys() <= theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert not list(results.rglob("*.part*"))


@pytest.mark.workflow
def test_preempted_within_an_epoch_goes_on_from_there(project, tmp_path, monkeypatch):
    """SIGTERM to all processes, as SLURM sends it; then SIGINT, as a terminal does at Ctrl-C."""
    # A shell with a trap stays beside what it runs, as older ones always do; a signal would end it
    # before what it runs has saved.
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

    def said(pattern: str) -> list[str]:
        return re.findall(pattern, path.read_text()) if path.exists() else []

    parents = set()

    def saved() -> bool:
        for process in said(r"begins, process (\d+) on"):
            parents.add(psutil.Process(int(process)).parent().name())
        return any(states.glob("[!.]*.pt"))

    interrupt(copy, signal.SIGTERM, saved, target)
    assert parents
    assert "bash" not in parents
    first = said(r"stopped by SIGTERM after step (\d+):")
    interrupt(copy, signal.SIGINT, lambda: said(r"resumed(?:.|\n)*epoch"), target)
    assert said(r"resumed after step (\d+) from") == first
    second = said(r"stopped by SIGINT after step (\d+):")
    assert len(first) == len(second) == 1
    assert int(second[0]) > int(first[0])
    assert not model.exists()
    copy.run(target)
    assert said(r"resumed after step (\d+) from") == second
    assert model.read_bytes() == undisturbed
    assert not list(states.glob("*"))
