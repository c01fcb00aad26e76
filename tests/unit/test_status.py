import fcntl
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from soups.errors import UserError
from soups.jobs import progress, runs, status

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


def log_of(folder: Path, model: str, *lines: str) -> Path:
    path = folder / "logs" / "finetune" / f"{model}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def make(folder: Path, model: str) -> None:
    touch(folder / "models" / f"{model}.safetensors", folder / "models" / f"{model}.heldout.npy")


def seen(folder: Path, model: str = "m00", after: float = 0.0) -> status.Ingredient:
    """What is said of a model so many seconds after its log was written."""
    log = folder / "logs" / "finetune" / f"{model}.log"
    now = (log.stat().st_mtime if log.exists() else 0) + after
    by_name = {m.name: m for m in status.look(folder, lambda: now).ingredients}
    return by_name[model]


ELSEWHERE = [
    "10:00:00 step 0 of 100: begins, process 1 on another-machine",
    "10:00:40 step 20 of 100: loss 1.5000, 64 images/s, 5% waiting for data, 3 min left",
]

# In a process of its own: a job that trains, and then waits to be ended.
JOB = """
import sys, time
import torch
from soups.jobs.job import log_to
from soups.jobs.progress import Progress
from soups.jobs.resume import Resumable
log_to(sys.argv[1])
training = Progress(0, 40)
for _ in range(10):
    training.step(8, torch.tensor(1.25))
training.epoch(1, torch.tensor(1.25))
Resumable(sys.argv[2], {"lr": 1}, "m00").keep(10, model=torch.nn.Linear(2, 2))
print("saved", flush=True)
time.sleep(600)
"""


@pytest.fixture
def job(experiment):
    """A process that has trained a part of m00 in the experiment's folder."""
    log = log_of(experiment, "m00")
    command = [sys.executable, "-c", JOB, str(log), str(experiment / ".state")]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "saved\n"
        yield process
        process.kill()


def test_a_job_runs_until_it_is_killed(experiment, job):
    running = seen(experiment)
    assert (running.state, running.step, running.total) == ("running", 10, 40)
    assert (running.loss, running.note) == (1.25, None)
    # Its process is there, but does it still train?
    assert seen(experiment, after=status.FRESH + 1).state == "silent"
    job.kill()
    os.waitid(os.P_PID, job.pid, os.WEXITED | os.WNOWAIT)  # as if its parent did not care
    assert seen(experiment).state == "interrupted"
    job.wait()
    gone = seen(experiment)
    assert (gone.state, gone.step) == ("interrupted", 10)
    assert gone.note == "its state is saved, so it will go on from there"
    [state] = (experiment / ".state").glob("*.pt")
    state.unlink()
    assert seen(experiment).note == "it will begin again"


def test_a_model_is_waiting_until_its_log_is_there(experiment):
    assert seen(experiment).state == "waiting"
    log_of(experiment, "m00")
    # A job that was ended while it began.
    assert (seen(experiment).state, seen(experiment).step) == ("interrupted", None)
    touch(Path(".snakemake", "locks", "0.input.lock"))
    assert (seen(experiment).state, seen(experiment).step) == ("running", None)
    log_of(experiment, "m00", "10:00:00 waiting for a GPU")
    assert (seen(experiment).state, seen(experiment).note) == ("running", "waiting for a GPU")


def test_a_job_of_another_machine_is_told_by_the_age_of_its_log(experiment):
    log_of(experiment, "m00", *ELSEWHERE)
    running = seen(experiment, after=10)
    assert (running.state, running.quiet, running.left) == ("running", 10, 2 * 80 - 10)
    assert running.since == seen(experiment).since
    # Nobody can know; but if no workflow runs, nothing runs.
    assert seen(experiment, after=status.FRESH).state == "interrupted"
    touch(Path(".snakemake/locks/0.input.lock"))
    silent = seen(experiment, after=status.FRESH)
    assert (silent.state, silent.quiet, silent.left) == ("silent", status.FRESH, None)
    # A clock that is behind.
    assert seen(experiment, after=-3600).quiet == 0


def test_a_job_that_says_that_it_stops_is_interrupted(experiment):
    last = "10:00:50 stopped by SIGTERM after step 25: run again, the job goes on here"
    log_of(experiment, "m00", *ELSEWHERE, last)
    other = experiment / ".state" / f"m00-2-{'0' * 32}.pt"
    touch(other)
    assert "begin again" in seen(experiment).note
    other.rename(other.with_name(f"m00-{'0' * 32}.pt"))
    stopped = seen(experiment)
    assert (stopped.state, stopped.step) == ("interrupted", 25)
    assert "go on from there" in stopped.note


def test_a_model_is_done_if_both_its_files_are_there(experiment):
    log_of(experiment, "m00", *ELSEWHERE)
    weights = experiment / "models" / "m00.safetensors"
    touch(weights)
    assert seen(experiment).state == "running"
    make(experiment, "m00")
    done = seen(experiment)
    assert (done.state, done.step, done.since) == ("done", 20, weights.stat().st_mtime)
    # A log is not needed, say because it was not copied.
    make(experiment, "m01")
    assert seen(experiment, "m01").state == "done"


def test_models_that_were_removed_wait(experiment):
    log_of(experiment, "m00", *ELSEWHERE, "10:02:00 held-out accuracy 0.7000")
    assert seen(experiment).state == "waiting"


def test_a_failure_is_told_in_its_words(experiment):
    log_of(experiment, "m00", *ELSEWHERE, "10:00:50 error: no GPU here, expected one")
    failed = seen(experiment)
    assert (failed.state, failed.note) == ("failed", "no GPU here, expected one")
    log_of(
        experiment, "m01", *ELSEWHERE,
        "10:00:50 Traceback (most recent call last):", '  File "x.py", line 1', "ValueError: b", "",
    )  # fmt: skip
    assert seen(experiment, "m01").note == "ValueError: b"


def test_what_failed_before_the_last_run_waits(experiment):
    log = log_of(experiment, "m00", "10:00:00 error: no GPU here, expected one")
    os.utime(log, (1e9, 1e9))
    waiting = seen(experiment)
    assert waiting.state == "waiting"
    assert waiting.note == "it failed in an earlier run: no GPU here, expected one"


def benchmark(folder: Path, model: str, seconds: float) -> None:
    path = folder / "benchmarks" / "finetune" / f"{model}.tsv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:01:40\t500\n")


def left(folder: Path) -> float | None:
    now = (folder / "logs" / "finetune" / "m03.log").stat().st_mtime
    return status.look(folder, lambda: now).left


def test_the_time_that_is_left(experiment):
    touch(experiment / "logs" / "finetune" / "m03.log")
    assert left(experiment) is None  # m03 has begun, and nobody knows how long one takes
    first = log_of(experiment, "m03", *ELSEWHERE)
    assert left(experiment) == 160 + 3 * 200  # at 2 seconds a step, one at a time
    make(experiment, "m00")
    benchmark(experiment, "m00", 300)
    assert left(experiment) == 160 + 2 * 300  # with what starting and the held-out images take
    second = log_of(experiment, "m02", *ELSEWHERE)
    os.utime(second, (first.stat().st_mtime, first.stat().st_mtime))
    assert left(experiment) == (160 + 160 + 300) / 2  # two at a time
    third = log_of(experiment, "m01", "10:00:00 waiting for a GPU")
    assert left(experiment) == (160 + 160 + 300) / 2
    third.unlink()
    make(experiment, "m01")
    assert left(experiment) == 160
    make(experiment, "m03")
    make(experiment, "m02")
    assert left(experiment) is None  # nothing runs


def test_a_resumed_model_cost_more_than_its_last_part(experiment):
    make(experiment, "m00")
    benchmark(experiment, "m00", 100)
    begin = "10:00:00 step 75 of 100: begins, process 1 on another-machine"
    log_of(experiment, "m00", begin, "10:01:00 held-out accuracy 0.7000")
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
        (lambda path: path.unlink(), "plan.json: not there, expected the folder of an experiment"),
        (lambda path: path.write_text("{"), "plan.json: not valid JSON"),
        (lambda path: path.write_text('{"folder": "results/one"}'), "plan.json: no 'rule'"),
    ],
)
def test_a_folder_without_a_plan(experiment, spoil, sentence):
    spoil(experiment / "plan.json")
    with pytest.raises(UserError, match=re.escape(sentence)):
        status.look(experiment)


@pytest.fixture
def busy(experiment):
    """One of everything."""
    for model in ("m00", "m01"):
        make(experiment, model)
    long = "a_name_that_goes_on_and_on_" * 5
    runs.begin("results/one", **PLAN | {"ingredients": [*PLAN["ingredients"], long, "m05"]})
    log_of(experiment, "m00", *ELSEWHERE, "10:02:00 held-out accuracy 0.7000")
    log_of(experiment, "m02", *ELSEWHERE)
    log_of(experiment, "m03", "10:00:00 error: " + "no GPU here, " * 20)
    here = f"10:00:00 step 0 of 200000: begins, process {2**22 + 1} on {progress.HOST}"
    log_of(experiment, long, here, ELSEWHERE[1].replace("100", "200000"))
    return experiment


def test_the_text_is_aligned_and_fits(busy):
    lines = status.text(status.look(busy)).splitlines()
    # A path is whole, to be copied.
    assert max(len(line) for line in lines if not line.endswith(".log")) <= status.WIDTH
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
    whole = status.text(now).splitlines()
    assert status.text(now, height=len(whole)).splitlines() == whole
    low = status.text(now, height=len(whole) - 1).splitlines()
    assert "not shown: 2 done, 1 waiting" in low
    assert not [line for line in low if line.startswith("m00")]
    assert [line for line in low if line.startswith("m02")]


def script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "tools" / "status.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_the_script_prints_text_or_json(busy):
    assert "m02" in script("results/one").stdout
    # A loss may diverge, and JSON knows no such number.
    log_of(busy, "m02", ELSEWHERE[0], ELSEWHERE[1].replace("1.5000", "nan"))
    assert re.search(r"m02 .* nan ", script("results/one").stdout)
    said = script("results/one", "--json").stdout
    assert "NaN" not in said
    value = json.loads(said)
    states = [m["state"] for m in value["ingredients"]]
    assert states == ["done", "done", "running", "failed", "interrupted", "waiting"]
    assert value["ingredients"][2]["loss"] is None
    assert value["stages"]["ingredients"] == {"done": 2, "planned": 6}
    assert value["done"] is False


def test_the_script_says_what_is_wrong(experiment):
    wrong = script("results/none")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.startswith("error: results/none/plan.json: not there")
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
    environment = os.environ | {"PYTHONPATH": str(ROOT / "scripts")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert sorted(busy.rglob("*")) == before


def test_how_a_run_ended_is_said(experiment):
    def head() -> str:
        return status.text(status.look(experiment)).splitlines()[0]

    assert "ended" not in head()
    runs.end(experiment, ".snakemake/log/1.snakemake.log")
    assert re.search(r"begun .*, .* failed, see \.snakemake/log/1\.snakemake\.log$", head())
    runs.end(experiment, None)
    assert head().endswith(" ended")
    runs.begin("results/one", **PLAN)
    assert "ended" not in head()


def test_a_living_run_is_known_to_others(tmp_path):
    path = tmp_path / "deep" / "alive"
    code = "import sys; from soups import runs; runs.mark_alive(sys.argv[1]); print(); input()"
    process = subprocess.Popen(
        [sys.executable, "-uc", code, str(path)],
        cwd=Path(runs.__file__).parents[2], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        process.stdout.readline()
        assert subprocess.run(["flock", "-n", str(path), "true"]).returncode == 1
        runs.mark_alive(path)  # as a second one may, and does not fail
    finally:
        process.communicate(b"\n")
    with path.open() as file:  # nor does it hold the lock, now that the first one is gone
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
