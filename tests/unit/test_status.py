import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from soups.errors import UserError
from soups.jobs import events, runs, status, status_text

ROOT = Path(__file__).parents[2]
PLAN = {
    "shared": None, "rule": "finetune", "ingredients": ["m00", "m01", "m02", "m03"],
    "starts": ["initialization"], "soups": ["uniform", "greedy"], "ensembles": ["ensemble"],
    "evaluated": ["initialization", "m00", "uniform", "greedy", "ensemble"],
    "tests": ["test", "v2"], "tables": ["models", "methods"], "figures": ["scatter"],
}  # fmt: skip


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """An experiment's folder, in which a run has begun."""
    monkeypatch.chdir(tmp_path)
    runs.begin("results/one", **PLAN)
    return Path("results/one")


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


NOON = 1_750_000_000  # when jobs of the tests begin, seconds since 1970


def job_of(folder: Path, model: str, *told: dict) -> Path:
    """Write the events of a model's job, at `NOON` plus their `time`; return the events file."""
    path = folder / "logs" / "finetune" / f"{model}.events.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(event | {"time": NOON + event["time"]}) for event in told]
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def make(folder: Path, model: str) -> None:
    touch(folder / "models" / f"{model}.safetensors", folder / "models" / f"{model}.heldout.npy")


def seen(folder: Path, model: str = "m00", now: float = 60.0) -> status.Ingredient:
    """Return the state of a model so many seconds after `NOON`."""
    by_name = {m.name: m for m in status.look(folder, lambda: NOON + now).ingredients}
    return by_name[model]


BEGIN = {"event": "begin", "time": 0, "step": 0, "total": 100, "process": 1, "host": "node1"}
STEP = {"event": "step", "time": 40, "step": 20, "total": 100, "loss": 1.5}
STEP |= {"examples_per_second": 64.2, "data_wait": 0.05}
ELSEWHERE = [BEGIN, STEP]  # 2 seconds a step, on another machine
STOPPED = {"event": "stopped", "time": 50, "signal": "SIGTERM", "step": 25}
FAILED = {"event": "failed", "time": 50, "error": "no GPU here, expected one"}
WAITING = {"event": "waiting", "time": 40, "what": "a GPU"}
DONE = {"event": "done", "time": 120, "heldout_accuracy": 0.7}

# In a process of its own: a job that trains, and then waits to be ended.
JOB = """
import sys, time
import torch
from soups.jobs.job import log_to
from soups.jobs.progress import TrainingProgress
from soups.jobs.resume import Resumable
log_to(sys.argv[1])
training = TrainingProgress(0, 40)
for _ in range(10):
    training.step(8, torch.tensor(1.25))
training.epoch(1, torch.tensor(1.25))
state = Resumable(sys.argv[2], {"lr": 1}, "m00")
state.keep(10, model=torch.nn.Linear(2, 2))
state.wait()
print("saved", flush=True)
time.sleep(600)
"""


@pytest.fixture
def job(experiment):
    """A process that has trained a part of m00 in the experiment's folder."""
    log = job_of(experiment, "m00").with_name("m00.log")
    command = [sys.executable, "-c", JOB, str(log), str(experiment / ".state")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "saved\n"
        yield process
        process.kill()


def test_a_job_runs_until_it_is_killed(experiment, job):
    def now(after: float = 0.0) -> status.Ingredient:
        return status.look(experiment, lambda: time.time() + after).ingredients[0]

    running = now()
    assert (running.state, running.step, running.total) == ("running", 10, 40)
    assert (running.loss, running.note) == (1.25, None)
    # Its process lives, but perhaps it trains no more.
    assert now(after=status.FRESH + 1).state == "silent"
    job.kill()
    os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOWAIT)  # its parent has not asked how it ended
    assert now().state == "interrupted"
    job.wait()
    gone = now()
    assert (gone.state, gone.step) == ("interrupted", 10)
    assert gone.note == "its state is saved, so the next run resumes it"
    [state] = (experiment / ".state").glob("*.pt")
    state.unlink()
    assert now().note == "it has no saved state, so the next run starts it again"


def test_a_model_is_waiting_until_its_events_exist(experiment):
    assert seen(experiment).state == "waiting"
    path = job_of(experiment, "m00")
    os.utime(path, (NOON, NOON))
    # A job that was ended while it began.
    assert (seen(experiment).state, seen(experiment).step) == ("interrupted", None)
    touch(Path(".snakemake", "locks", "0.input.lock"))
    assert (seen(experiment).state, seen(experiment).step) == ("running", None)
    job_of(experiment, "m00", WAITING)
    assert (seen(experiment).state, seen(experiment).note) == ("running", "waiting for a GPU")


def test_a_job_that_has_not_begun_to_train_is_known_by_its_process(experiment):
    started = {"event": "started", "time": 0, "process": os.getpid(), "host": events.HOST}
    job_of(experiment, "m00", started)
    assert seen(experiment).state == "running"
    job_of(experiment, "m00", started | {"process": 2**22 + 1})
    assert seen(experiment).state == "interrupted"


def test_a_job_on_another_machine_is_judged_by_the_age_of_its_events(experiment):
    job_of(experiment, "m00", *ELSEWHERE)
    running = seen(experiment, now=50)
    assert (running.state, running.quiet, running.left) == ("running", 10, 2 * 80 - 10)
    assert running.since == NOON
    # Its process cannot be seen. But if no workflow runs, no job runs.
    assert seen(experiment, now=40 + status.FRESH).state == "interrupted"
    touch(Path(".snakemake/locks/0.input.lock"))
    silent = seen(experiment, now=40 + status.FRESH)
    assert (silent.state, silent.quiet, silent.left) == ("silent", status.FRESH, None)
    # This machine's clock is behind.
    assert seen(experiment, now=-3600).quiet == 0


def test_a_job_that_a_signal_stopped_is_interrupted(experiment):
    job_of(experiment, "m00", *ELSEWHERE, STOPPED)
    other = experiment / ".state" / f"m00-2-{'0' * 32}.pt"
    touch(other)
    assert "starts it again" in seen(experiment).note
    other.rename(other.with_name(f"m00-{'0' * 32}.pt"))
    stopped = seen(experiment)
    assert (stopped.state, stopped.step, stopped.since) == ("interrupted", 25, NOON + 50)
    assert "resumes it" in stopped.note


def test_a_model_is_done_if_both_its_files_exist(experiment):
    job_of(experiment, "m00", *ELSEWHERE)
    weights = experiment / "models" / "m00.safetensors"
    touch(weights)
    assert seen(experiment).state == "running"
    make(experiment, "m00")
    done = seen(experiment)
    assert (done.state, done.step, done.since) == ("done", 20, weights.stat().st_mtime)


def test_results_without_events_have_a_clear_state(experiment):
    """An earlier version wrote no events, or only the results were copied."""
    make(experiment, "m01")
    touch(
        experiment / "logs" / "finetune" / "m01.log", experiment / "logs" / "finetune" / "m00.log"
    )
    done = seen(experiment, "m01")
    assert (done.state, done.step, done.note) == ("done", None, None)
    assert seen(experiment).state == "waiting"
    touch(experiment / ".state" / f"m00-{'0' * 32}.pt")
    stopped = seen(experiment)
    assert (stopped.state, stopped.step, stopped.left) == ("interrupted", None, None)
    assert "resumes it" in stopped.note
    assert "1 interrupted" in status_text.text(status.look(experiment))


def test_models_that_were_removed_wait(experiment):
    job_of(experiment, "m00", *ELSEWHERE, DONE)
    assert seen(experiment).state == "waiting"


def test_a_failure_is_reported_in_its_own_words(experiment):
    begun = json.loads((experiment / "plan.json").read_text())
    (experiment / "plan.json").write_text(
        json.dumps(begun | {"begun": "2020-01-01T00:00:00+00:00"})
    )
    job_of(experiment, "m00", *ELSEWHERE, FAILED)
    failed = seen(experiment)
    assert (failed.state, failed.note) == ("failed", "no GPU here, expected one")
    assert failed.since == NOON + 50


def test_a_model_that_failed_before_the_last_run_waits(experiment):
    job_of(experiment, "m00", FAILED)
    waiting = seen(experiment)
    assert waiting.state == "waiting"
    assert waiting.note == "it failed in an earlier run: no GPU here, expected one"


def benchmark(folder: Path, model: str, seconds: float) -> None:
    path = folder / "benchmarks" / "finetune" / f"{model}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:01:40\t500\n")


def left(folder: Path) -> float | None:
    return status.look(folder, lambda: NOON + 40).left


def test_the_time_that_is_left(experiment):
    path = job_of(experiment, "m03")
    os.utime(path, (NOON, NOON))
    touch(Path(".snakemake/locks/0.input.lock"))
    assert left(experiment) is None  # m03 has begun, and the cost of a fine-tune is unknown
    job_of(experiment, "m03", *ELSEWHERE)
    assert left(experiment) == 160 + 3 * 200  # at 2 seconds a step, one job at a time
    make(experiment, "m00")
    benchmark(experiment, "m00", 300)
    assert left(experiment) == 160 + 2 * 300  # a job also starts and scores the held-out images
    job_of(experiment, "m02", *ELSEWHERE)
    assert left(experiment) == (160 + 160 + 300) / 2  # two at a time
    third = job_of(experiment, "m01", WAITING)
    assert left(experiment) == (160 + 160 + 300) / 2
    third.unlink()
    make(experiment, "m01")
    assert left(experiment) == 160
    make(experiment, "m03")
    make(experiment, "m02")
    assert left(experiment) is None  # no job runs


def test_a_resumed_model_cost_more_than_its_last_part(experiment):
    make(experiment, "m00")
    benchmark(experiment, "m00", 100)
    job_of(experiment, "m00", BEGIN | {"step": 75}, DONE)
    assert seen(experiment).cost == 400


def test_stages_count_outputs(experiment):
    def stages() -> dict:
        return {stage: (done, planned) for stage, done, planned in status.look(experiment).stages}

    assert stages() == {
        "data": (0, 3), "pre-trained model": (0, 1), "starting points": (0, 1),
        "ingredients": (0, 4), "soups": (0, 2), "ensembles": (0, 1), "evaluations": (0, 5),
        "tables": (0, 2), "figures": (0, 1), "report": (0, 1),
    }  # fmt: skip
    touch(experiment / "logits" / "m00" / "test.npy")
    assert stages()["evaluations"] == (0, 5)
    touch(experiment / "logits" / "m00" / "v2.npy", experiment / "soups" / "greedy.safetensors")
    assert (stages()["evaluations"], stages()["soups"]) == ((1, 5), (1, 2))
    runs.begin("results/one", **PLAN | {"ensembles": []})
    assert "ensembles" not in stages()


def test_what_is_shared_is_looked_for_there(experiment, monkeypatch):
    runs.begin("results/series/two", **PLAN | {"shared": "one"})
    touch(experiment / "models" / "initialization.safetensors")
    touch(*(experiment / "logits" / "initialization" / f"{name}.npy" for name in PLAN["tests"]))
    folder = Path("results/series/two").absolute()
    monkeypatch.chdir("/")
    stages = status.look(folder).stages
    assert ("starting points", 1, 1) in stages
    assert ("evaluations", 1, 5) in stages


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (
            lambda path: path.unlink(),
            "plan.json does not exist, expected the folder of an experiment",
        ),
        (lambda path: path.write_text("{"), "plan.json: not valid JSON"),
        (lambda path: path.write_text('{"folder": "results/one"}'), "plan.json has no key 'rule'"),
    ],
)
def test_a_folder_without_a_plan(experiment, spoil, sentence):
    spoil(experiment / "plan.json")
    with pytest.raises(UserError, match=re.escape(sentence)):
        status.look(experiment)


@pytest.fixture
def busy(experiment):
    """An experiment with ingredients of every state."""
    for model in ("m00", "m01"):
        make(experiment, model)
    long = "a_name_that_goes_on_and_on_" * 5
    runs.begin("results/one", **PLAN | {"ingredients": [*PLAN["ingredients"], long, "m05"]})
    job_of(experiment, "m00", *ELSEWHERE, DONE)
    late = time.time() - NOON  # after the run has begun, now
    job_of(experiment, "m02", BEGIN | {"time": late - 45}, STEP | {"time": late - 5})
    job_of(experiment, "m03", FAILED | {"time": late, "error": "no GPU here, " * 20})
    gone = BEGIN | {"total": 200_000, "process": 2**22 + 1, "host": events.HOST}
    job_of(experiment, long, gone, STEP | {"total": 200_000})
    return experiment


def test_the_text_is_aligned_and_fits(busy):
    lines = status_text.text(status.look(busy)).splitlines()
    # A path is never cut, so that people can copy it.
    assert max(len(line) for line in lines if not line.endswith(".log")) <= status_text.WIDTH
    assert lines[0].startswith("results/one: last run begun ")
    header, rule, *rows = lines[2:10]
    names = ["model", "state", "step", "loss", "images/s", "left", "since", "last line"]
    assert re.split("  +", header) == names
    ends = [match.end() for match in re.finditer("-+", rule)]
    assert [row.split()[1] for row in rows] == [
        "done", "done", "running", "failed", "interrupted", "waiting",
    ]  # fmt: skip
    for row in rows:  # cells of numbers end where their column does
        for cell in re.finditer(r"\d+ of \d+|\d\.\d{4}", row):
            assert cell.end() in ends
    assert "20 of 100  ##........  1.5000" in rows[2]
    assert "m03 failed: no GPU here, no GPU here," in "\n".join(lines)
    assert "  results/one/logs/finetune/m03.log" in lines
    [summary] = [line for line in lines if line.startswith("ingredients")]
    assert "2 of 6, 1 running, 1 interrupted, 1 failed, 1 waiting; about " in summary


def test_on_a_low_terminal_the_rest_is_left_out(busy):
    now = status.look(busy)
    whole = status_text.text(now).splitlines()
    assert status_text.text(now, height=len(whole)).splitlines() == whole
    low = status_text.text(now, height=len(whole) - 1).splitlines()
    assert "not shown: 2 done, 1 waiting" in low
    assert not [line for line in low if line.startswith("m00")]
    assert [line for line in low if line.startswith("m02")]


def script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / "status.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_script_prints_text_or_json(busy):
    assert "m02" in script("results/one").stdout
    # A loss may diverge, and JSON has no such number.
    late = time.time() - NOON
    job_of(busy, "m02", BEGIN | {"time": late - 45}, STEP | {"time": late - 5, "loss": "nan"})
    assert re.search(r"m02 .* nan ", script("results/one").stdout)
    said = script("results/one", "--json").stdout
    assert "NaN" not in said
    value = json.loads(said)
    states = [m["state"] for m in value["ingredients"]]
    assert states == ["done", "done", "running", "failed", "interrupted", "waiting"]
    assert value["ingredients"][2]["loss"] is None
    assert value["stages"]["ingredients"] == {"done": 2, "planned": 6}
    assert value["done"] is False


def test_the_script_reports_what_is_wrong(experiment):
    wrong = script("results/none")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("error: results/none/plan.json does not exist")
    assert "expected seconds above 0" in script("results/one", "--watch", "0").stderr


def test_watching_ends_when_all_is_done(experiment):
    nothing = {key: [] for key in ("ingredients", "starts", "soups", "ensembles", "evaluated")}
    runs.begin("results/one", **PLAN | nothing)
    for name in ("heldout", "test", "v2"):
        touch(experiment / "prepared" / f"{name}.npy")
    touch(experiment / "pretrained" / "model.safetensors", experiment / "report.html")
    touch(*(experiment / "tables" / f"{name}.csv" for name in PLAN["tables"]))
    command = [sys.executable, str(ROOT / "tools" / "status.py"), "results/one", "--watch", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.startswith("report"):
                break
        touch(experiment / "figures" / "scatter.png")
        assert process.wait(timeout=60) == 0
    command[-1] = "60"
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert re.search(r"^figures +1 of 1$", done.stdout, re.MULTILINE)


def test_nothing_slow_is_imported_and_nothing_written(busy):
    before = sorted(busy.rglob("*"))
    code = "import sys, status; status.main(['results/one']);"
    code += "print([name for name in ('torch', 'pandas', 'snakemake') if name in sys.modules])"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "tools")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert sorted(busy.rglob("*")) == before


# How a run ended


def head(experiment: Path) -> str:
    return status_text.text(status.look(experiment)).splitlines()[0]


LOG = [".snakemake/log/1.snakemake.log"]


def test_the_end_of_a_run_is_reported(experiment):
    assert "ended" not in head(experiment)
    runs.end(experiment, LOG)
    failed = r"begun .*, .* failed, see \.snakemake/log/1\.snakemake\.log$"
    assert re.search(failed, head(experiment))
    runs.end(experiment, [str(Path(LOG[0]).absolute())])
    assert re.search(failed, head(experiment))
    runs.end(experiment, [])  # Snakemake can run without a log file
    assert head(experiment).endswith(" failed")
    runs.end(experiment)
    assert head(experiment).endswith(" ended")
    runs.begin("results/one", **PLAN)
    assert "ended" not in head(experiment)


def test_a_run_that_a_signal_ended_is_interrupted(experiment):
    runs.end(experiment, LOG, interrupted=True)
    assert head(experiment).endswith(" interrupted")
    assert status.as_json(status.look(experiment))["interrupted"] is True
    assert status.look(experiment).failed is None
    runs.end(experiment)  # a signal after everything was made
    assert head(experiment).endswith(" ended")


def test_a_run_whose_jobs_all_were_stopped_is_interrupted(experiment):
    """SLURM may stop the jobs while Snakemake runs on."""

    def ended(*last: dict) -> str:
        for number, event in enumerate(last):
            job_of(experiment, f"m0{number}", BEGIN, event)
        runs.end(experiment, LOG)
        return head(experiment).split(",")[1].split()[-1]

    assert ended(STOPPED) == "interrupted"
    assert ended(STOPPED, STOPPED, DONE) == "interrupted"
    assert ended(STOPPED, FAILED) == "failed"
    assert ended(STOPPED, STEP) == "failed"  # it was killed, say because it had too little memory
    old = job_of(experiment, "m01", BEGIN, FAILED)
    os.utime(old, (NOON, NOON))  # it failed in an earlier run
    assert ended(STOPPED) == "interrupted"
    assert ended(DONE) == "failed"


def test_jobs_of_a_shared_experiment_belong_to_the_run(experiment):
    runs.begin("results/two", **PLAN | {"shared": "one"})
    job_of(experiment, "m00", FAILED)
    job_of(Path("results/two"), "m00", STOPPED)
    runs.end("results/two", LOG)
    assert not json.loads(Path("results/two/plan.json").read_text())["interrupted"]


def test_soups_of_an_earlier_configuration_are_listed(tmp_path):
    assert runs.stale_soups(tmp_path) == []
    runs.begin(str(tmp_path), soups=["greedy"])
    (tmp_path / "soups").mkdir()
    for name in ("uniform", "greedy", "ties"):
        (tmp_path / "soups" / f"{name}.safetensors").touch()
    assert runs.stale_soups(tmp_path) == ["ties", "uniform"]
