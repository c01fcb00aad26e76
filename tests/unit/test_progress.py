import logging
import os
import pty
import signal
import sys
import termios

import pytest
import torch

from soups.jobs import progress
from soups.jobs.job import log_to
from soups.jobs.progress import Progress
from soups.jobs.resume import Keeper, Resumable

log = logging.getLogger("soups")


@pytest.fixture
def told(caplog):
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


def test_an_epoch_tells_speed_and_waiting(told):
    clock = Clock()
    progress = Progress(0, 20, clock)
    [begin] = told()
    assert begin.startswith(f"step 0 of 20: begins, process {os.getpid()} on ")

    def slow():
        for _ in range(4):
            clock.now += 0.5
            yield "batch"

    for batch in progress.waiting(slow()):
        assert batch == "batch"
        clock.now += 1.5
        progress.step(16, torch.tensor(3.0))
    assert told() == []  # it took less than half a minute
    progress.epoch(1, torch.tensor(2.5))
    assert told() == ["epoch 1, step 4 of 20: loss 2.5000, 8 images/s, 25% waiting for data"]


def test_a_long_epoch_says_when_it_will_end(told):
    clock = Clock()
    progress = Progress(100, 1000, clock)  # resumed
    told()
    said = []
    for _ in range(50):
        clock.now += 10
        progress.step(32, torch.tensor(1.0))
        said += told()
    # 10 seconds a step, a line every third.
    assert len(said) == 16
    assert said[0] == (
        "step 103 of 1000: loss 1.0000, 3 images/s, 0% waiting for data, 2 h 30 min left"
    )
    assert said[-1].startswith("step 148 of 1000")
    assert said[-1].endswith("2 h 22 min left")


def test_the_last_step_is_left_to_the_epoch(told):
    clock = Clock()
    progress = Progress(0, 1, clock)
    told()
    clock.now += 1000
    progress.step(1, torch.tensor(1.0))
    assert told() == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59.6, "60 s"), (3599, "60 min"), (9000, "2 h 30 min"), (200_000, "2 d 8 h")],
)
def test_durations(seconds, words):
    assert progress.duration(seconds) == words


@pytest.fixture
def logged(tmp_path):
    """A log that this process writes to as a job does, and what is read from it."""
    path = tmp_path / "m00.log"
    path.write_text("")
    before = list(log.handlers)
    log_to(path)
    yield path
    for handler in [handler for handler in log.handlers if handler not in before]:
        log.removeHandler(handler)
        handler.close()


def test_what_is_told_can_be_read(logged):
    assert progress.read(logged) == progress.Told()
    clock = Clock()
    training = Progress(5, 20, clock)
    told = progress.read(logged)
    assert (told.first, told.step, told.total, told.kept) == (5, 5, 20, True)
    assert (told.process, told.host) == (os.getpid(), progress.HOST)
    assert (told.loss, told.speed, told.rate, told.error) == (None, None, None, None)

    clock.now += 31
    training.step(62, torch.tensor(2.0))
    told = progress.read(logged)
    assert (told.step, told.loss, told.speed) == (6, 2.0, 2)
    clock.now += 31
    training.step(62, torch.tensor(float("nan")))
    training.epoch(1, torch.tensor(float("nan")))
    told = progress.read(logged)
    assert told.step == 7
    assert str(told.loss) == "nan"
    assert told.last.startswith("epoch 1, step 7 of 20: loss nan")

    log.error("error: %s", "compute.gpus is 2, expected 1")
    assert progress.read(logged).error == "compute.gpus is 2, expected 1"


def test_a_saved_state_is_read(logged, tmp_path):
    Progress(0, 20)
    assert not progress.read(logged).kept
    Resumable(tmp_path / ".state", {"lr": 0.1}).keep(1, model=torch.nn.Linear(2, 2))
    assert progress.read(logged).kept


def test_a_stop_is_read(logged, tmp_path):
    Progress(0, 20)
    state = Resumable(tmp_path / ".state", {"lr": 0.1})

    def train() -> None:
        with Keeper(state, 10, {"model": torch.nn.Linear(2, 2)}) as keeper:
            signal.raise_signal(signal.SIGTERM)
            keeper.after(3)

    with pytest.raises(SystemExit):
        train()
    told = progress.read(logged)
    assert (told.stopped, told.kept, told.step) == (True, True, 3)


def test_an_unexpected_error_is_its_last_line(logged):
    try:
        torch.zeros(2) @ torch.zeros(3)
    except RuntimeError:
        log.exception("Traceback of a job:")
    assert progress.read(logged).error.startswith("RuntimeError: inconsistent tensor size")


def write(path, *lines: str, end: str = "\n") -> progress.Told:
    path.write_text("\n".join(lines) + end, encoding="utf-8")
    return progress.read(path)


BEGIN = "step 0 of 100: begins, process 7 on node1"
STEP = "step 10 of 100: loss 1.5000, 64 images/s, 0% waiting for data"


def test_the_rate_is_that_of_this_process(tmp_path):
    told = write(
        tmp_path / "log",
        "10:00:00 resumed after step 40 from results/x/.state/0.pt",
        "10:00:20 step 40 of 100: begins, process 7 on node1",
        "10:01:00 step 60 of 100: loss 1.5000, 64 images/s, 0% waiting for data, 2 min left",
        "10:01:30 epoch 2, step 70 of 100: loss 1.2500, 60 images/s, 0% waiting for data",
    )
    assert (told.first, told.step, told.total, told.rate) == (40, 70, 100, 70 / 30)
    assert (told.loss, told.speed, told.seconds) == (1.25, 60, 90)


def test_midnight_and_the_end_of_summer(tmp_path):
    told = write(tmp_path / "log", f"23:59:50 {BEGIN}", f"00:00:20 {STEP}")
    assert (told.seconds, told.rate) == (30, 3)
    lines = [f"{hour % 24:02}:00:00 {STEP}" for hour in range(60)]
    assert write(tmp_path / "log", *lines).seconds == 59 * 3600
    # The clock is put back: no day has passed.
    assert write(tmp_path / "log", f"02:59:50 {BEGIN}", f"02:00:20 {STEP}").seconds == 0


@pytest.mark.parametrize("end", ["", "\nstep 20 of 100", "\n10:00:59 step 99 of 1"])
def test_a_line_that_is_not_whole_is_passed_over(tmp_path, end):
    half = f"10:00:30 {STEP}" + end
    told = write(tmp_path / "log", f"10:00:00 {BEGIN}", half, end="")
    assert (told.step, told.total) == ((0, 100) if not end else (10, 100))


def test_foreign_lines_are_passed_over(tmp_path):
    path = tmp_path / "log"
    path.write_bytes(b"\xff\xfe\0\0step 3 of 4: loss 1\r\n\n99 bottles\nerror: not ours\n")
    assert progress.read(path) == progress.Told()
    told = write(path, "UserWarning: x", f"10:00:00 {BEGIN}", "  warn(", "10:00:10 step one of two")
    assert (told.step, told.total, told.error) == (0, 100, None)
    assert told.last == "step one of two"


def test_of_a_huge_log_the_end_is_read(tmp_path):
    filler = "x" * 99
    told = write(
        tmp_path / "log",
        f"10:00:00 {BEGIN}",
        *[filler] * (progress.LONGEST // len(filler)),
        f"10:01:00 {STEP}",
        "10:02:00 step 30 of 100: loss 1.0000, 64 images/s, 0% waiting for data",
    )
    assert (told.first, told.step, told.rate) == (None, 30, 3)


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
def test_a_job_that_has_all_cores_shows_a_bar(told, terminal, monkeypatch, threads, cores, bar):
    stream, shown = terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    monkeypatch.delenv(progress.CORES, raising=False)
    if cores:
        monkeypatch.setenv(progress.CORES, cores)
    training = Progress(1, 3)
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
