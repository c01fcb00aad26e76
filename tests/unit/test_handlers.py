"""What Snakemake's process checks before a run."""

import sys
import time
from types import SimpleNamespace

import pytest

from soups.errors import UserError
from soups.jobs import handlers, living

MAIN, JOB = SimpleNamespace(is_main_process=True), SimpleNamespace(is_main_process=False)


@pytest.fixture
def another(monkeypatch, tmp_path):
    """Another run lives, which makes results/one."""
    monkeypatch.chdir(tmp_path)
    run = living.Run("results/one", "snakemake", 7, "here", time.time())
    monkeypatch.setattr(living, "runs", lambda: [run])


def test_no_run_lives(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    handlers.refuse(MAIN, ["--unlock"])
    handlers.refuse_second(MAIN, "results/one", ["all"])


@pytest.mark.usefixtures("another")
def test_a_living_run_keeps_its_lock():
    handlers.refuse(MAIN, ["-n"])
    with pytest.raises(UserError, match="--unlock: process 7 on here is making results/one here"):
        handlers.refuse(MAIN, ["--unlock"])


@pytest.mark.usefixtures("another")
@pytest.mark.parametrize("options", [["-c1"], ["-c1", "--touch"], ["--delete-all-output"]])
def test_a_second_run_of_the_same_experiment_is_refused(options):
    with pytest.raises(UserError, match="process 7 on here is making results/one here"):
        handlers.refuse_second(MAIN, "results/one", options)
    handlers.refuse_second(MAIN, "results/two", options)
    handlers.refuse_second(JOB, "results/one", options)  # of the living run itself, on a cluster


@pytest.mark.usefixtures("another")
@pytest.mark.parametrize("options", [["-n"], ["--dry-ru"], ["--summary"], ["--dag"], ["--lint"]])
def test_commands_that_change_nothing_stay_allowed(options):
    handlers.refuse_second(MAIN, "results/one", options)


@pytest.mark.usefixtures("another")
def test_published_results_are_no_part_of_an_experiment():
    handlers.refuse_second(MAIN, "results/one", ["published", "-c1"])
    with pytest.raises(UserError, match="is making results/one here"):
        handlers.refuse_second(MAIN, "results/one", ["published", "tables", "-c1"])


def test_a_path_of_python_with_a_space_is_quoted_once(tmp_path, monkeypatch):
    python = tmp_path / "my project" / "python"
    python.parent.mkdir()
    python.touch()
    monkeypatch.setattr(sys, "executable", str(python))
    handlers.quote_interpreter()
    assert sys.executable == f"'{python}'"
    handlers.quote_interpreter()
    assert sys.executable == f"'{python}'"
