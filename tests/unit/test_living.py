"""Whether a run lives in a folder, and what other processes are told about it."""

import json
import os
import subprocess
import sys
import time

import pytest

from soups.jobs import events, living
from tests.conftest import ROOT

MARK = """
import sys
from soups.jobs import living
living.mark(sys.argv[2], "snakemake all", sys.argv[1])
print()
input()
"""


@pytest.fixture
def start(tmp_path):
    """A function that starts a process which marks a folder as being made."""
    started = []

    def start(folder: str) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-uc", MARK, tmp_path / "deep", folder],
            cwd=ROOT / "scripts",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        started.append(process)
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.communicate()


def test_a_living_run_is_known_by_its_folder_process_host_and_command(tmp_path, start):
    assert living.runs(tmp_path / "deep") == []
    process = start("results/one")
    (run,) = living.runs(tmp_path / "deep")
    assert (run.folder, run.command) == ("results/one", "snakemake all")
    assert (run.process, run.host) == (process.pid, events.HOST)
    process.communicate(b"\n")
    assert living.runs(tmp_path / "deep") == []
    assert list((tmp_path / "deep").iterdir()) == []


def test_of_two_living_runs_the_first_may_be_killed(tmp_path, start):
    first, second = start("results/one"), start("results/two")
    assert [run.folder for run in living.runs(tmp_path / "deep")] == ["results/one", "results/two"]
    first.kill()
    first.wait()
    assert [run.process for run in living.runs(tmp_path / "deep")] == [second.pid]


def test_the_mark_of_a_killed_run_is_removed(tmp_path):
    run = living.Run("results/one", "snakemake", os.getpid(), events.HOST, 0)
    (tmp_path / "x.json").write_text(json.dumps(vars(run)))
    (tmp_path / "broken.json").write_text("{")
    assert living.runs(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_the_sentence_names_process_host_age_and_command():
    run = living.Run("results/one", "snakemake -c 2", 7, "here", time.time() - 720)
    assert run.refusal() == (
        "process 7 on here is making results/one here, started 12 min ago by `snakemake -c 2`. "
        "Wait for it, or stop it with: kill -INT 7"
    )
