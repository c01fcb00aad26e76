"""The status of real runs, as read from their files."""

import re
import signal
import subprocess
import sys
import time

import pytest

from soups.jobs import status
from soups.jobs.events import JobRecord
from soups.jobs.status_text import text
from tests.workflow.conftest import FEW, FIGURES, SMALL
from tests.workflow.test_interrupt import interrupt
from tests.workflow.test_run import INGREDIENTS, METHODS, VARIANTS


@pytest.mark.workflow
def test_every_ingredient_of_a_finished_run_is_done(finished):
    now = status.look(finished.results)
    assert now.done
    assert [m.name for m in now.ingredients] == [*INGREDIENTS, *VARIANTS]
    for m in now.ingredients:
        assert (m.state, m.step, m.note) == ("done", m.total, None)
        assert m.cost > 0
        assert None not in (m.loss, m.speed)
    stages = {stage: planned for stage, _, planned in now.stages}
    assert stages["figures"] == len(FIGURES)
    assert stages["ensembles"] == len([name for name in METHODS if "ensemble" in name])
    command = [sys.executable, "tools/status.py", "results/tiny", "--watch"]
    shown = subprocess.run(command, cwd=finished.folder, capture_output=True, text=True, timeout=60)
    assert shown.stderr == ""
    assert shown.stdout == text(now).replace(str(finished.results), "results/tiny") + "\n\n"
    assert "waiting" not in shown.stdout


@pytest.mark.workflow
def test_the_status_shows_a_killed_fine_tune_as_interrupted(project):
    sweep = {"random": {"n": 3, "parameters": {"epochs": 20}}, **FEW["sweep"]}
    one = project(SMALL | {"sweep": sweep})
    logs = one.results / "logs" / "finetune"
    seen = []

    def trained() -> bool:
        if any(JobRecord.read(path).saved for path in logs.glob("*.events.jsonl")):
            seen.append(status.look(one.results))
        return bool(seen)

    interrupt(one, signal.SIGKILL, trained)
    running = {m.name for m in seen[0].ingredients if m.state == "running"}
    assert 1 <= len(running) <= 2
    assert not seen[0].done

    def look() -> dict[str, status.Ingredient]:
        return {m.name: m for m in status.look(one.results).ingredients}

    deadline = time.monotonic() + 60
    while any(m.state == "running" for m in look().values()):
        assert time.monotonic() < deadline, "killed processes are still alive"
        time.sleep(0.05)
    now = look()
    assert {name for name, m in now.items() if m.state == "interrupted"} == running
    assert any("resumes it" in now[name].note for name in running)
    assert {m.state for name, m in now.items() if name not in running} == {"waiting"}


@pytest.mark.workflow
def test_the_status_shows_a_run_that_a_signal_ended_as_interrupted_not_failed(project):
    copy = project(SMALL)

    def head() -> str:
        return text(status.look(copy.results)).splitlines()[0]

    def begun() -> bool:
        plan = copy.results / "plan.json"
        return plan.exists() and not status.look(copy.results).ended

    interrupt(copy, signal.SIGINT, begun)  # as a terminal does at Ctrl-C
    assert head().endswith(" interrupted")
    interrupt(copy, signal.SIGTERM, begun)
    assert head().endswith(" interrupted")

    for script in (copy.folder / "scripts").glob("*.py"):
        script.write_text("raise SystemExit(1)\n")
    assert copy.run(check=False).returncode == 1
    assert re.search(r" failed, see \.snakemake/log/\S+\.log$", head())
    assert (copy.folder / head().split(" see ")[1]).is_file()
