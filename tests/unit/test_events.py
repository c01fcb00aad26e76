"""Events are written by jobs and read by `status`."""

import json
import multiprocessing

import pytest

from soups.jobs import events
from soups.jobs.events import JobRecord


@pytest.fixture
def path(tmp_path):
    """The events file of a job that this process is attached to."""
    events.attach(tmp_path / "a.b.log")
    yield tmp_path / "a.b.events.jsonl"
    events.detach()


def write(path, *lines, end: str = "\n") -> JobRecord:
    """Write events or whole lines to a file and read them as a record."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + end, encoding="utf-8")
    return JobRecord.read(path)


def begin(time: float, step: int = 0) -> dict:
    at = {"step": step, "total": 100, "process": 7, "host": "node1"}
    return {"event": "begin", "time": time, **at}


def step(time: float, number: int, loss=1.5, speed=64.4) -> dict:
    seen = {"loss": loss, "examples_per_second": speed, "data_wait": 0}
    return {"event": "step", "time": time, "step": number, "total": 100, **seen}


def test_an_event_is_a_line_of_json(path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1234.56789)
    events.emit("stopped", signal="SIGTERM", step=3)
    events.emit("waiting", what="a GPU — or two")
    first, second = path.read_text(encoding="utf-8").splitlines()
    assert first == '{"event": "stopped", "time": 1234.568, "signal": "SIGTERM", "step": 3}'
    assert json.loads(second)["what"] == "a GPU — or two"


def test_a_number_that_json_lacks_is_written_as_a_word(path):
    seen = {"loss": float("nan"), "examples_per_second": 8.0, "data_wait": 0.0}
    events.emit("step", step=1, total=2, **seen)
    assert "NaN" not in path.read_text()
    assert str(JobRecord.read(path).loss) == "nan"


@pytest.mark.parametrize(
    ("event", "sentence"), [("sleep", "event is 'sleep'"), ("failed", "no field 'error'")]
)
def test_an_unknown_event_or_a_missing_field_is_refused(path, event, sentence):
    with pytest.raises(ValueError, match=sentence):
        events.emit(event)


def test_a_process_without_a_log_writes_no_events(tmp_path, path):
    events.detach()
    events.emit("ended")
    assert not path.exists()
    events.attach(tmp_path / "none" / "x.log")  # nor does it fail if it cannot write
    events.emit("ended")


def emit_many(log, number: int) -> None:
    events.attach(log)
    for _ in range(300):
        events.emit("failed", error=str(number) * 500)


def test_several_processes_append_whole_lines(tmp_path):
    context = multiprocessing.get_context("fork")
    log = tmp_path / "m00.log"
    jobs = [context.Process(target=emit_many, args=[log, number]) for number in range(2)]
    for process in jobs:
        process.start()
    for process in jobs:
        process.join(60)
    found = events.read(events.beside(log))
    assert sorted({event["error"] for event in found}) == ["0" * 500, "1" * 500]
    assert len(found) == 600


def test_the_rate_is_that_of_this_process(tmp_path):
    record = write(
        tmp_path / "events",
        {"event": "started", "time": 1000, "process": 6, "host": "node1"},
        {"event": "resumed", "time": 1010, "step": 40},
        begin(1020, 40),
        step(1060, 60),
        step(1090, 70, 1.25, 60) | {"event": "epoch", "epoch": 2},
        {"event": "saved", "time": 1091, "step": 70, "megabytes": 8.5},
    )
    assert (record.first, record.step, record.total, record.rate) == (40, 70, 100, 70 / 30)
    assert (record.loss, record.speed, record.process, record.host) == (1.25, 60, 7, "node1")
    assert (record.start, record.last, record.saved) == (1000, 1091, True)
    # At 70 / 30 seconds a step, from the last step on.
    assert record.left(1090) == pytest.approx(70)
    assert record.left(1100) == pytest.approx(60)
    assert record.left(2000) == 0
    assert record.left(0) == pytest.approx(70)  # a clock that is behind


def test_a_rate_needs_two_moments(tmp_path):
    assert write(tmp_path / "events", begin(1000)).left(1001) is None
    assert write(tmp_path / "events", begin(1000), step(1000, 3)).rate is None
    assert write(tmp_path / "events", step(1000, 3)).rate is None


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ({"event": "waiting", "what": "a GPU"}, {"waiting": "a GPU"}),
        ({"event": "gpus", "names": ["0"]}, {}),
        ({"event": "stopped", "signal": "SIGTERM", "step": 25},
         {"signal": "SIGTERM", "step": 25, "saved": True}),
        ({"event": "stopped", "signal": "SIGINT"}, {"signal": "SIGINT", "step": 10}),
        ({"event": "failed", "error": "no GPU here"}, {"error": "no GPU here"}),
        ({"event": "done", "heldout_accuracy": 0.7}, {"ended": True}),
        ({"event": "ended"}, {"ended": True}),
    ],
)  # fmt: skip
def test_the_last_event_says_how_a_job_is(tmp_path, last, expected):
    before = [{"event": "waiting", "time": 0, "what": "a GPU"}, begin(1), step(2, 10)]
    record = write(tmp_path / "events", *before, last | {"time": 3})
    normal = {"waiting": None, "signal": None, "error": None, "ended": False, "step": 10}
    normal |= {"saved": False}
    assert {name: getattr(record, name) for name in normal} == normal | expected


@pytest.mark.parametrize(
    "end", ["", '\n{"event": "step", "time": 1', "\n" + json.dumps(step(9, 99))]
)
def test_a_line_that_is_not_whole_is_passed_over(tmp_path, end):
    record = write(tmp_path / "events", begin(0), json.dumps(step(30, 10)) + end, end="")
    assert record.step == (10 if end else 0)


def test_foreign_lines_are_passed_over(tmp_path):
    path = tmp_path / "events"
    path.write_bytes(b"\xff\xfe\0\0\r\n\n99\n[]\nnull\nstep 3 of 4: loss 1\n")
    assert JobRecord.read(path) == JobRecord()
    late = {"event": "sleep", "time": 3}, {"event": "failed", "time": 4}, {"event": ["step"]}
    unfit = {"event": "ended"}, {"event": "ended", "time": "now"}, {"event": [], "time": 1}
    assert write(path, begin(0), *late, *unfit) == write(path, begin(0))


def test_of_a_very_long_file_only_the_end_is_read(tmp_path):
    filler = "x" * 99
    lines = [filler] * (events.LONGEST // len(filler))
    record = write(tmp_path / "events", begin(0), *lines, step(60, 10), step(120, 30))
    assert (record.first, record.host, record.step, record.rate) == (None, None, 30, 3)
