import logging
import os
import pty
import signal
import sys
import termios

import pytest
import torch

from soups.jobs import events, progress
from soups.jobs.events import JobRecord
from soups.jobs.progress import TrainingProgress
from soups.jobs.resume import Keeper, Resumable


@pytest.fixture
def logged(caplog):
    """A function that returns what was logged since it was last called."""
    caplog.set_level(logging.INFO, logger="soups")

    def lines() -> list[str]:
        messages = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return messages

    return lines


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_epoch_reports_speed_and_waiting(logged):
    clock = Clock()
    progress = TrainingProgress(0, 20, clock)
    [begin] = logged()
    assert begin.startswith(f"step 0 of 20: begins, process {os.getpid()} on ")

    def slow():
        for _ in range(4):
            clock.now += 0.5
            yield "batch"

    for batch in progress.waiting(slow()):
        assert batch == "batch"
        clock.now += 1.5
        progress.step(16, torch.tensor(3.0))
    assert logged() == []  # it took less than half a minute
    progress.epoch(1, torch.tensor(2.5))
    assert logged() == ["epoch 1, step 4 of 20: loss 2.5000, 8 images/s, 25% waiting for data"]
    texts = TrainingProgress(0, 20, clock, "texts")
    texts.step(16, torch.tensor(3.0))
    texts.epoch(1, torch.tensor(2.5))
    assert " texts/s, 0% waiting" in logged()[1]


def test_a_long_epoch_says_when_it_will_end(logged):
    clock = Clock()
    progress = TrainingProgress(100, 1000, clock)  # resumed
    logged()
    said = []
    for _ in range(50):
        clock.now += 10
        progress.step(32, torch.tensor(1.0))
        said += logged()
    # 10 seconds a step, a line every third.
    assert len(said) == 16
    assert said[0] == (
        "step 103 of 1000: loss 1.0000, 3 images/s, 0% waiting for data, 2 h 30 min left"
    )
    assert said[-1].startswith("step 148 of 1000")
    assert said[-1].endswith("2 h 22 min left")


def test_the_last_step_is_left_to_the_epoch(logged):
    clock = Clock()
    progress = TrainingProgress(0, 1, clock)
    logged()
    clock.now += 1000
    progress.step(1, torch.tensor(1.0))
    assert logged() == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59.6, "60 s"), (3599, "60 min"), (9000, "2 h 30 min"), (200_000, "2 d 8 h")],
)
def test_durations(seconds, words):
    assert progress.duration(seconds) == words


@pytest.fixture
def record(tmp_path):
    """A function that reads the events that this process has written as a job does."""
    events.attach(tmp_path / "m00.log")
    yield lambda: JobRecord.read(tmp_path / "m00.events.jsonl")
    events.detach()


def test_events_have_the_numbers_of_the_log(record):
    clock = Clock()
    training = TrainingProgress(5, 20, clock)
    begun = record()
    assert (begun.first, begun.step, begun.total, begun.saved) == (5, 5, 20, True)
    assert (begun.process, begun.host) == (os.getpid(), events.HOST)
    assert (begun.loss, begun.speed, begun.rate, begun.error) == (None, None, None, None)

    clock.now += 31
    training.step(62, torch.tensor(2.0))
    assert (record().step, record().loss, record().speed) == (6, 2.0, 2)
    clock.now += 31
    training.step(62, torch.tensor(float("nan")))
    training.epoch(1, torch.tensor(float("nan")))
    assert record().step == 7
    assert str(record().loss) == "nan"


def test_a_saved_state_is_an_event(record, tmp_path):
    TrainingProgress(0, 20)
    assert not record().saved
    state = Resumable(tmp_path / ".state", {"lr": 0.1})
    state.keep(1, model=torch.nn.Linear(2, 2))
    state.wait()
    assert record().saved
    [saved] = [e for e in events.read(tmp_path / "m00.events.jsonl") if e["event"] == "saved"]
    assert saved["step"] == 1
    assert 0 < saved["megabytes"] < 1


def test_a_stop_is_an_event(record, tmp_path):
    TrainingProgress(0, 20)
    state = Resumable(tmp_path / ".state", {"lr": 0.1})

    def train() -> None:
        with Keeper(state, 10, {"model": torch.nn.Linear(2, 2)}) as keeper:
            signal.raise_signal(signal.SIGTERM)
            keeper.after(3)

    with pytest.raises(SystemExit):
        train()
    assert (record().signal, record().saved, record().step) == ("SIGTERM", True, 3)


@pytest.fixture
def terminal():
    """A terminal to write to, and a function that returns what it shows."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(theirs, "w") as stream:

        def shown() -> str:
            print("the end", file=stream, flush=True)
            text = ""
            while "the end" not in text:
                text += os.read(ours, 65536).decode()
            return text

        yield stream, shown
    os.close(ours)


@pytest.mark.parametrize(
    ("threads", "cores", "bar"), [("2", "2", True), ("1", "2", False), ("2", None, False)]
)
def test_a_job_that_has_all_cores_shows_a_bar(logged, terminal, monkeypatch, threads, cores, bar):
    stream, shown = terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.delenv(progress.CORES, raising=False)
    if cores:
        monkeypatch.setenv(progress.CORES, cores)
    training = TrainingProgress(1, 3)
    for _ in range(2):
        training.step(8, torch.tensor(1.0))
    assert ("1/3" in shown()) == bar


def test_no_bar_without_a_terminal_or_a_log(monkeypatch, terminal, caplog):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv(progress.CORES, "1")
    monkeypatch.setattr(sys, "stderr", terminal[0])
    caplog.set_level(logging.WARNING, logger="soups")  # as in all processes but the first
    assert not progress.alone_on_terminal()
    caplog.set_level(logging.INFO, logger="soups")
    assert progress.alone_on_terminal()
    with open(os.devnull, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert not progress.alone_on_terminal()
