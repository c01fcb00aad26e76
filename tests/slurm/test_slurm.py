"""The workflow on a real SLURM: its tables, and its reaction to what a cluster does to jobs."""

import re
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.slurm.cluster import end_jobs
from tests.slurm.conftest import PRETRAINED, SITE
from tests.unit.test_overlays import merge
from tests.workflow.conftest import FEW, Project

pytestmark = pytest.mark.slurm

# Three fine-tunes of several epochs, so that the tests can kill one.
SMALL = merge(
    FEW,
    {
        "name": "small",
        "data": {
            "world": {
                "train": 2000, "test": 400, "shift": 200, "variants": 6, "shifts": ["r", "sketch"],
            }
        },
        "probe": {"epochs": 1},
        "finetune": {"batch_size": 64},
        "sweep": {"random": {"n": 3, "parameters": {"epochs": "uniform(5, 6)"}}},
    },
)  # fmt: skip
# Tables, and a figure in the same SLURM job.
TARGETS = ("results/small/tables/calibration.csv", "results/small/figures/scatter.png")
LIMIT = 900  # seconds that a run may take, on a machine that also does other work


def wait(process: subprocess.Popen, what: str, happened):
    """Wait until ``happened`` returns something true, and return that."""
    deadline = time.monotonic() + LIMIT
    while not (seen := happened()):
        assert process.poll() is None, f"the run ended before {what}"
        assert time.monotonic() < deadline, f"not seen in {LIMIT} s: {what}"
        time.sleep(0.2)
    return seen


@contextmanager
def started(project, *arguments: str, status: int = 0):
    """Run Snakemake, its output in ``project.output``. Interrupt it if the block fails."""
    project.output = project.folder / "output.txt"
    with project.output.open("w") as file:
        process = project.start(*arguments, output=file)
    try:
        yield process
        process.wait(LIMIT)
    finally:
        if process.poll() is None:
            end(process)
            end_jobs(project.cluster)
    assert process.returncode == status, project.output.read_text()


def end(process: subprocess.Popen) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def training(cluster) -> dict[str, str]:
    """Return the SLURM ids of the fine-tunes that run now, by model."""
    jobs = [job for job in cluster.jobs() if job["state"] == "RUNNING"]
    name = "rule_finetune_wildcards_"
    return {
        job["comment"].removeprefix(name): job["id"]
        for job in jobs
        if job["comment"].startswith(name)
    }


@pytest.fixture(scope="module")
def disturbed(small, cluster):
    """A whole run, in which a fine-tune is cancelled and the node goes down and comes back.

    Attributes of the project: `jobs`, the run's SLURM ids; `cancelled`, the model whose fine-tune
    was cancelled; `first`, the SLURM id of that fine-tune; `step`, its last step.
    """
    project = small(SMALL)
    with started(project, *TARGETS) as process:
        state = project.results / ".state"
        logs = project.results / "logs" / "finetune"

        def saved():
            running = training(cluster)
            done = [m for m in running if "epoch 1" in text(logs / f"{m}.log")]
            return done and any(state.glob("[!.]*.pt")) and (done[0], running[done[0]])

        project.cancelled, project.first = wait(process, "a fine-tune saved its state", saved)
        log = logs / f"{project.cancelled}.log"
        cluster.run("scancel", project.first)
        project.step = stopped(process, log)

        def waiting():
            return [job for job in cluster.jobs() if job["state"] == "PENDING"]

        wait(process, "jobs wait", waiting)
        running = set(training(cluster).values())
        wait(process, "the node's log names its jobs", lambda: running <= cluster.held())
        cluster.node("DOWN")
        try:
            wait(process, "the node is down", lambda: cluster.node_state() == "down")
            wait(process, "it lets its jobs go", lambda: not cluster.held())
            assert waiting()
        finally:  # other tests wait for the node too
            cluster.node("RESUME")
            cluster.wait_for_node()
        cluster.start_now()
    project.jobs = set(re.findall(r"SLURM jobid (\d+)", project.output.read_text()))
    return project


def stopped(process: subprocess.Popen, log) -> str:
    """Wait until a fine-tune stops, and return its last step."""
    said = re.compile(r"stopped by SIGTERM after step (\d+)")
    wait(process, f"{log.stem} stops", lambda: said.search(text(log)))
    return said.search(text(log))[1]


def text(path) -> str:
    return path.read_text() if path.exists() else ""


def test_a_cancelled_fine_tune_is_a_new_job_that_resumes(disturbed, cluster):
    comment = f"rule_finetune_wildcards_{disturbed.cancelled}"
    jobs = [job for job in cluster.jobs() if job["comment"] == comment]
    states = {job["id"]: job["state"] for job in jobs}
    assert states.pop(disturbed.first) == "CANCELLED"
    assert "COMPLETED" in states.values()
    log = (disturbed.results / "logs" / "finetune" / f"{disturbed.cancelled}.log").read_text()
    assert f"resumed after step {disturbed.step} " in log
    assert not list((disturbed.results / ".state").glob("*.pt"))


def test_a_further_try_asks_slurm_for_more_memory(disturbed, cluster):
    comment = f"rule_finetune_wildcards_{disturbed.cancelled}"
    asked = [(job["memory"], job["time"]) for job in cluster.jobs() if job["comment"] == comment]
    assert asked[0] == ("1500M", "10:00")
    assert asked[-1] == ("3000M", "10:00")  # no more time, because a fine-tune resumes


def test_the_tables_are_those_of_a_local_run(disturbed, tmp_path):
    local = Project(tmp_path / "local", SMALL)
    local.run(TARGETS[0])
    tables = sorted(path.name for path in (local.results / "tables").glob("*.csv"))
    assert {"calibration.csv", "methods.csv", "models.csv", "significance.csv"} <= set(tables)
    for name in tables:
        ours, theirs = (p.results / "tables" / name for p in (disturbed, local))
        assert ours.read_text() == theirs.read_text(), name
    assert (disturbed.results / "figures" / "scatter.png").stat().st_size > 10_000


def test_jobs_run_where_the_profile_says_and_short_ones_together(disturbed, cluster):
    asked = {}
    for job in cluster.jobs():
        if job["id"] in disturbed.jobs:
            kind = re.match("rule_([a-z]+(_pretrained)?)", job["comment"])[1]
            asked.setdefault(kind, []).append((job["partition"], job["gpus"]))
    cpu, gpu = ("cpu", "N/A"), ("gpu", "gres:gpu:1")
    number = {kind: len(jobs) for kind, jobs in asked.items()}
    # One job for four sets, one fine-tune more for the cancelled one, two soups, two jobs for seven
    # models (four in one job), and one job for tables and a figure.
    assert number == {
        "sets": 1, "import_pretrained": 1, "splits": 1, "initialize": 1, "finetune": 4, "soups": 2,
        "evaluations": 2, "report": 1,
    }  # fmt: skip
    on_gpu = {"initialize", "finetune", "soups", "evaluations"}
    assert {kind: set(jobs) for kind, jobs in asked.items()} == {
        kind: {gpu if kind in on_gpu else cpu} for kind in number
    }


def test_a_group_that_runs_models_asks_for_no_more_than_one_of_them(disturbed, cluster):
    jobs = [job for job in cluster.jobs() if job["id"] in disturbed.jobs]
    asked = {
        kind: {(job["cpus"], job["memory"]) for job in jobs if kind in job["comment"]}
        for kind in ("evaluations", "soups", "sets")
    }
    assert asked["evaluations"] == asked["soups"] == {("2", "1500M")}
    # Jobs that run no model run side by side.
    assert asked["sets"] == {("4", "6000M")}


def test_out_of_time_preempted_interrupted_a_fine_tune_goes_on(disturbed, cluster):
    """The profile asks for SIGTERM two minutes before the time limit. With a limit of one minute,
    SLURM sends it as soon as it looks."""
    model = disturbed.results / "models" / "m00_long.safetensors"
    log = disturbed.results / "logs" / "finetune" / "m00_long.log"
    target = str(model.relative_to(disturbed.folder))
    long = "sweep={variants: {long: {first: 1, set: {epochs: 1000}}}}"
    with started(disturbed, target, "--config", long, status=1) as process:
        wait(process, "a fine-tune trains", lambda: "epoch 1" in text(log))
        first = training(cluster)["m00_long"]
        cluster.run("scontrol", "update", f"JobId={first}", "TimeLimit=1")
        step = stopped(process, log)

        def goes_on():
            cluster.start_now()
            return re.search(rf"resumed after step {step} (.|\n)*epoch", text(log))

        wait(process, "it goes on, in a new job", goes_on)
        second = training(cluster)["m00_long"]
        cluster.run("sbatch", "-p", "urgent", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 1")
        step = stopped(process, log)
        wait(process, "it goes on, in the same job", goes_on)
        assert training(cluster)["m00_long"] == second != first

        process.send_signal(signal.SIGINT)
        process.wait(LIMIT)
    states = {job["id"]: job["state"] for job in cluster.jobs()}
    assert (states[first], states[second]) == ("FAILED", "CANCELLED")
    assert list((disturbed.results / ".state").glob("m00_long-*.pt"))
    assert not model.exists()


def test_a_failing_job_tells_why_and_where(small):
    overlay = merge(SMALL, {"model": {"pretrained": "broken.safetensors"}})
    project = small(overlay)
    whole = (project.folder / PRETRAINED).read_bytes()
    (project.folder / "broken.safetensors").write_bytes(whole[: len(whole) // 2])
    done = project.run("pretrained", "--retries", "0", check=False)
    output = done.stdout + done.stderr
    assert done.returncode == 1
    assert "Error in rule import_pretrained" in output
    logs = re.search(r"log: (\S+/import_pretrained\.log), (\S+\.log) ", output)
    sentence = next(
        line for line in (project.folder / logs[1]).read_text().splitlines() if "error: " in line
    )
    assert "broken.safetensors" in sentence
    # The terminal shows it as well, and SLURM's log of the job has it.
    assert sentence.partition("error: ")[2] in output
    assert sentence.partition("error: ")[2] in (project.folder / logs[2]).read_text()


@pytest.fixture(scope="module")
def generic(small):
    """A project whose profile `generic` submits to SLURM by its commands."""
    project = small(SMALL)
    path = project.folder / "profiles" / "generic" / "config.yaml"
    settings = path.read_text().replace("scheduler: pbs ", "scheduler: slurm ", 1)
    settings = settings.replace("status-checks: 30", "status-checks: 1")
    for key, value in SITE.items():
        settings = re.sub(rf"(?m)^( *{key}: )\d+", rf"\g<1>{value}", settings)
    path.write_text(settings)
    project.profile = "generic"
    return project


def test_the_generic_profile_submits_and_watches(generic, cluster):
    before = {job["id"] for job in cluster.jobs()}
    generic.run("splits", "pretrained")
    for name in ("splits/manifest.json", "pretrained/model.safetensors"):
        assert (generic.results / name).is_file()
    jobs = [job for job in cluster.jobs() if job["id"] not in before]
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    assert 0 < len(jobs) <= 4  # sets, the split, the pre-trained model


@pytest.mark.parametrize(("ending", "status"), [("exit 0", "success"), ("exit 3", "failed")])
def test_the_generic_scripts_ask_for_a_gpu_and_know_the_end(generic, cluster, ending, status):
    script = generic.folder / "job.sh"
    script.write_text(f"#!/bin/sh\nsleep 3\necho $CUDA_VISIBLE_DEVICES > devices.txt\n{ending}\n")

    def ask(*command):
        done = subprocess.run(
            [f"profiles/generic/{command[0]}", "slurm", *command[1:]],
            cwd=generic.folder,
            env=generic.environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    number = ask("submit.sh", "gpu", "1", "500", "5", "1", "job.sh")
    assert number.isdigit()
    assert ask("status.sh", number) == "running"
    deadline = time.monotonic() + 60
    while (seen := ask("status.sh", number)) == "running":
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert seen == status
    assert (generic.folder / "devices.txt").read_text().strip() in ("0", "1")


def test_the_generic_submission_fails_where_the_scheduler_refuses(generic):
    (generic.folder / "fine.sh").write_text("#!/bin/sh\nexit 0\n")
    done = subprocess.run(
        ["profiles/generic/submit.sh", "slurm", "nowhere", "1", "500", "5", "0", "fine.sh"],
        cwd=generic.folder,
        env=generic.environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert done.stdout == ""
    assert "partition" in done.stderr
