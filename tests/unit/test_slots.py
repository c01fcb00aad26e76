"""Processes share invented GPUs in the same way as real ones."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch

from soups.errors import UserError
from soups.jobs import compute, events, job, slots

FOUR = ["0", "1", "2", "3"]
# A job reports if it has to wait, takes GPUs and reports them. It holds them for `hold` seconds, or
# until the file `hold` exists, then reports that it gives them back.
JOB = """
import json, os, sys, time
from pathlib import Path
from soups.jobs import slots
names, wanted, shares, folder, said, hold = json.loads(sys.argv[1])
slots.POLL = 0.005
def say(what, mine):
    line = json.dumps([what, os.getpid(), mine]) + "\\n"
    file = os.open(said, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, line.encode())
slots.log.info = lambda *_: say("waits", [])
with slots.taken(names, wanted, shares, Path(folder)) as mine:
    say("takes", mine)
    while isinstance(hold, str) and not Path(hold).exists():
        time.sleep(0.01)
    time.sleep(0.05 if isinstance(hold, str) else hold)
    say("gives", mine)
"""


@pytest.fixture
def jobs(root, tmp_path):
    """A function that starts a job. Jobs that still run at the end of the test are killed."""
    started, said = [], tmp_path / "said"

    def start(names, wanted=1, shares=1, hold=0.05) -> subprocess.Popen:
        told = [names, wanted, shares, str(tmp_path / "locks"), str(said), hold]
        command = [sys.executable, "-c", JOB, json.dumps(told)]
        started.append(subprocess.Popen(command, cwd=root / "scripts"))
        return started[-1]

    def events(waits: bool = False) -> list:
        lines = said.read_text().splitlines() if said.exists() else []
        return [event for event in map(json.loads, lines) if (event[0] == "waits") == waits]

    start.events = events
    yield start
    for process in started:
        process.kill()
        process.wait()


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def most_at_once(events) -> Counter:
    """Return, per GPU, the largest number of jobs that had it at the same time."""
    now, most = Counter(), Counter()
    for what, _, mine in events:
        for name in mine:
            now[name] += 1 if what == "takes" else -1
            most[name] = max(most[name], now[name])
    assert not any(now.values())
    return most


@pytest.mark.parametrize("shares", [1, 2])
def test_many_jobs_use_all_slots_of_all_gpus_and_no_more(jobs, tmp_path, shares):
    count, go = 8 * shares, tmp_path / "go"
    started = [jobs(FOUR, shares=shares, hold=str(go)) for _ in range(count)]

    def waiting() -> set[int]:
        """Jobs that came and have no GPU. A job that met another one in the queue waited, too."""
        waited, taken = jobs.events(waits=True), jobs.events()
        return {pid for _, pid, _ in waited} - {pid for _, pid, _ in taken}

    until(lambda: len(jobs.events()) == len(waiting()) == count / 2)
    go.touch()
    assert [process.wait(60) for process in started] == [0] * count
    assert most_at_once(jobs.events()) == dict.fromkeys(FOUR, shares)


def test_jobs_of_one_to_four_gpus_all_get_their_number(jobs):
    wishes = [1, 2, 3, 4, 1, 3, 2, 1, 2, 3, 4, 1]
    started = {process.pid: n for n in wishes for process in [jobs(FOUR, wanted=n)]}
    until(lambda: len(jobs.events()) == 2 * len(wishes))
    assert max(most_at_once(jobs.events()).values()) == 1
    for _, pid, mine in jobs.events():
        assert len(set(mine)) == started[pid]
        assert mine == sorted(mine)


def test_jobs_with_another_choice_do_not_wait_in_the_same_queue(jobs, tmp_path):
    """A job that waits for cuda:0 delays neither a job on cuda:1 nor one that takes any GPU."""
    folder = tmp_path / "locks"
    with slots.taken(["0"], 1, 1, folder):
        waiting = jobs(["0"])
        until(lambda: not queue_is_free(folder, ["0"]))
        assert jobs(["1"]).wait(60) == 0
        assert jobs(FOUR).wait(60) == 0
        assert waiting.poll() is None
        assert [mine for _, _, mine in jobs.events()] == [["1"]] * 4
    assert waiting.wait(60) == 0


def queue_is_free(folder, names) -> bool:
    with slots._open(folder / f"queue-{slots.fingerprint(names)[:16]}.lock") as door:
        return slots._lock(door)


def test_jobs_of_one_gpu_do_not_starve_a_job_of_two(jobs, tmp_path):
    folder = tmp_path / "locks"
    with slots.taken(["0", "1"], 1, 1, folder) as first:
        both = jobs(["0", "1"], wanted=2)
        until(lambda: not queue_is_free(folder, ["0", "1"]))
        single = jobs(["0", "1"])  # a GPU is free, but the other job came first
        until(lambda: len(jobs.events(waits=True)) == 2)
        assert not jobs.events()
    assert first == ["0"]
    assert both.wait(60) == single.wait(60) == 0
    assert [len(mine) for _, _, mine in jobs.events()] == [2, 2, 1, 1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_slot_of_a_killed_job_is_free_again(jobs, number):
    holder = jobs(["0"], hold=600)
    until(jobs.events)
    waiting = jobs(["0"])
    until(lambda: jobs.events(waits=True))
    assert len(jobs.events()) == 1
    os.kill(holder.pid, number)
    assert waiting.wait(60) == 0
    holder.wait()
    assert [what for what, *_ in jobs.events()] == ["takes", "takes", "gives"]


def test_a_killed_job_in_the_queue_does_not_hold_it_up(jobs, tmp_path):
    folder = tmp_path / "locks"
    with slots.taken(["0"], 1, 1, folder):
        first = jobs(["0"])
        until(lambda: not queue_is_free(folder, ["0"]))
        second = jobs(["0"])
        first.kill()
        first.wait()
    assert second.wait(60) == 0


def test_jobs_spread_before_they_share(tmp_path):
    with ExitStack() as stack:
        mine = [stack.enter_context(slots.taken(FOUR, 1, 2, tmp_path)) for _ in range(6)]
    assert mine == [["0"], ["1"], ["2"], ["3"], ["0"], ["1"]]


def test_a_lock_file_has_a_name_for_every_kind_of_gpu(tmp_path):
    names = ["GPU-1a2b", "MIG-GPU-1a2b/3/0"]
    with slots.taken(names, 2, 1, tmp_path) as mine:
        assert mine == names
        locks = sorted(path.name for path in tmp_path.glob("*.0.lock"))
    assert locks == ["GPU-1a2b.0.lock", "MIG-GPU-1a2b_3_0.0.lock"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    taken = slots.taken(["0"], 1, 1, tmp_path / "file" / "locks")
    with pytest.raises(UserError, match="file/locks: lock files cannot be written"), taken:
        pass


# The environment of a job


@pytest.fixture
def machine(monkeypatch, tmp_path, configured):
    """A function that gives this machine a number of invented GPUs."""
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)  # tempfile looks the folder up only once

    def make(count: int, listed: str | None = None, slurm: str | None = None) -> None:
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        # Set even if it is removed below, so that monkeypatch restores it after the test.
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed or "")
        if listed is None:
            os.environ.pop("CUDA_VISIBLE_DEVICES")
        if slurm:
            monkeypatch.setenv("SLURM_JOB_ID", slurm)

    return make


def locks(folder) -> list[str]:
    """Return the slots that a process holds."""
    taken = []
    for path in sorted(folder.glob("model-soups-gpu-*/*.lock")):
        with slots._open(path) as file:
            if not slots._lock(file):
                taken.append(path.name.removesuffix(".lock"))
    return taken


def test_each_job_gets_a_gpu_by_its_number(machine, configured, tmp_path):
    machine(2)
    configured()
    with slots.held(1):
        assert compute.current().device == "cuda:0"
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
        configured(device="cuda")
        with slots.held(1):
            assert compute.current().device == "cuda:1"
            assert locks(tmp_path) == ["0.0", "1.0"]
    assert locks(tmp_path) == []


def test_jobs_share_only_the_gpus_of_cuda_visible_devices(machine, configured, tmp_path):
    machine(2, "5, 7")
    configured(jobs_per_gpu=2)
    with slots.held(1):
        assert compute.current().device == "cuda:0"  # torch counts the visible GPUs
        configured(jobs_per_gpu=2)
        with slots.held(1):
            assert compute.current().device == "cuda:1"
            assert locks(tmp_path) == ["5.0", "7.0"]
    configured(jobs_per_gpu=1)
    with slots.held(2):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"
        assert compute.current().device == "auto"
        assert locks(tmp_path) == ["5.0", "7.0"]


def test_a_job_of_several_gpus_passes_them_on_to_its_processes(machine, configured, tmp_path):
    machine(4)
    configured(gpus=2)
    with slots.taken(["0"], 1, 1, slots.folder()), slots.held(2):
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "1,2"
        assert locks(tmp_path) == ["0.0", "1.0", "2.0"]


def test_the_configured_gpu_is_taken(machine, configured, tmp_path):
    machine(2, "4,6")
    configured(device="cuda:1")
    with slots.held(1):
        assert compute.current().device == "cuda:1"
        assert locks(tmp_path) == ["6.0"]


@pytest.mark.parametrize(
    ("count", "wanted", "settings"),
    [
        (0, 1, {}), (0, 1, {"device": "cuda"}), (2, 0, {}), (2, 1, {"device": "cpu"}),
        (2, 1, {"device": "mps"}), (2, 3, {"gpus": 3}), (2, 1, {"device": "cuda:7"}),
    ],
)  # fmt: skip
def test_a_job_holds_nothing_without_enough_gpus(
    machine, configured, tmp_path, count, wanted, settings
):
    machine(count)
    configured(**settings)
    before = compute.current()
    with slots.held(wanted):
        assert compute.current() == before
        assert "CUDA_VISIBLE_DEVICES" not in os.environ
    assert not list(tmp_path.glob("model-soups-gpu-*"))


def test_one_job_at_a_time_has_the_gpu_of_an_allocation(machine, configured, tmp_path):
    """In `salloc --gpus=1`, a workflow runs several jobs at a time."""
    machine(1, "3", slurm="17")
    configured()
    with slots.held(1):
        assert compute.current().device == "cuda:0"
        assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"
        assert slots._grab(["3"], 1, 1, slots.folder()) is None
    for lock in slots._grab(["3"], 1, 1, slots.folder()).values():
        lock.close()


def test_jobs_in_one_allocation_share_it(machine, configured, tmp_path):
    machine(2, "0,1", slurm="17")
    configured()
    with slots.held(1):
        configured()
        with slots.held(1):
            assert compute.current().device == "cuda:1"
            assert [path.name for path in tmp_path.iterdir()] == [
                f"model-soups-gpu-{os.getuid()}-17"
            ]


def test_waiting_is_logged_and_an_event(machine, configured, tmp_path, caplog, attached):
    caplog.set_level(logging.INFO, "soups")
    machine(1)
    configured()
    process = multiprocessing.get_context("fork").Process(target=take_for_a_while)
    process.start()
    until(lambda: locks(tmp_path) == ["0.0"])
    with slots.held(1):
        process.join(60)
        assert caplog.messages == ["waiting for a GPU", "on GPU 0"]
        seen = [{k: v for k, v in event.items() if k != "time"} for event in events.read(attached)]
        assert seen == [{"event": "waiting", "what": "a GPU"}, {"event": "gpus", "names": ["0"]}]
    caplog.clear()
    configured()
    with slots.held(1):
        assert caplog.messages == ["on GPU 0"]


@pytest.fixture
def attached(tmp_path):
    """The events file of this process, as in a job."""
    events.attach(tmp_path / "m00.log")
    yield tmp_path / "m00.events.jsonl"
    events.detach()


def take_for_a_while() -> None:
    events.detach()  # this process is no part of the job
    with slots.taken(["0"], 1, 1, slots.folder()):
        time.sleep(1)


def test_a_job_holds_the_gpus_that_its_rule_asks_for(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    machine(2)
    seen, before = [], list(job.log.handlers)
    task = SimpleNamespace(log=[tmp_path / "rule.log"], threads=1, config={"compute": {}})
    try:
        job.run(lambda _: seen.append(locks(tmp_path)), task)
        task.resources = {"gpu": 1, "mem_mb": 2000}
        job.run(lambda _: seen.append(locks(tmp_path)), task)
        job.run(lambda _: seen.append(compute.current().device), task)
    finally:
        for handler in set(job.log.handlers) - set(before):
            job.log.removeHandler(handler)
            handler.close()
    assert seen == [[], ["0.0"], "cuda:0"]
    assert locks(tmp_path) == []


def test_sharing_gpus_imports_no_torch_before_it_counts_them(root):
    code = "import sys, soups.jobs.slots; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root / "scripts")
