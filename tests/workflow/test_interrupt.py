"""Killed anywhere and run again: the same bytes as an undisturbed run."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.workflow.conftest import TINY

COMPARED = ("models/*.safetensors", "soups/*.safetensors", "tables/*.csv", "recipes/*.json")
COMPARED += ("pretrained/*.safetensors", "prepared/*.npy", "splits/*", "figures/*.png")


def interrupt(project, signum: int, when) -> None:
    """Start a run, wait until ``when()``, send the signal to everything it started."""
    process = subprocess.Popen(
        project.command(),
        cwd=project.folder,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        # A test run in the background ignores Ctrl-C, and what it starts would too.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
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
    # While pre-training has saved an epoch but written nothing.
    interrupt(copy, signal.SIGKILL, lambda: list((results / ".state").glob("[!.]*.pt")))
    assert not (results / "pretrained" / "model.safetensors").exists()
    copy.run("--unlock")
    # With some ingredients done and another one under way.
    interrupt(copy, signal.SIGINT, lambda: (results / "models" / "m00.safetensors").exists())
    copy.run()

    log = (results / "logs" / "pretrain.log").read_text()
    assert "resumed after epoch" in log
    assert not list((results / ".state").glob("*"))
    ours, theirs = contents(results), contents(finished.results)
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert not list(results.rglob("*.part*"))
