import json
import logging
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from soups.errors import UserError
from soups.jobs import compute, events, job


@pytest.fixture
def task(tmp_path, monkeypatch, configured):
    """The `snakemake` object of a rule; the log's handlers are removed afterwards."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = list(job.log.handlers)
    yield SimpleNamespace(
        log=[tmp_path / "logs" / "rule.log"], threads=1, config={"compute": {"batch_size": 7}}
    )
    for handler in set(job.log.handlers) - set(before):
        job.log.removeHandler(handler)
        handler.close()


def told(task) -> list[dict]:
    """The events of the job, without their times and where the process ran."""
    lines = (task.log[0].parent / "rule.events.jsonl").read_text().splitlines()
    assert all(isinstance(json.loads(line)["time"], float) for line in lines)
    left_out = ("time", "process", "host")
    return [{k: v for k, v in json.loads(line).items() if k not in left_out} for line in lines]


def test_a_job_computes_as_configured_and_logs(task):
    seen = []

    def main(given) -> None:
        seen.append((given, compute.current().batch_size))
        logging.getLogger("soups").info("at work")

    job.run(main, task)
    assert seen == [(task, 7)]
    assert task.log[0].read_text().endswith("at work\n")
    assert told(task) == [{"event": "started"}, {"event": "ended"}]


def test_a_warning_is_on_the_terminal_and_in_the_log(task, capsys):
    def main(given) -> None:
        logging.getLogger("soups").info("at work")
        for _ in range(2):
            logging.getLogger("soups").warning("there are %d images", 3)

    job.run(main, task)
    assert capsys.readouterr().err == "warning of rule: there are 3 images\n"
    assert task.log[0].read_text().endswith("there are 3 images\n")
    job.log.warning("after the job")
    assert capsys.readouterr().err == ""


def test_a_user_error_is_reported_as_one_sentence(task, capsys):
    def main(given) -> None:
        raise UserError("data.root is 'nowhere', expected a folder")

    with pytest.raises(SystemExit) as error:
        job.run(main, task)
    assert error.value.code == 1
    sentence = "error: data.root is 'nowhere', expected a folder\n"
    assert capsys.readouterr().err == sentence
    assert task.log[0].read_text().endswith(sentence)
    assert "Traceback" not in task.log[0].read_text()
    failed = {"event": "failed", "error": "data.root is 'nowhere', expected a folder"}
    assert told(task) == [{"event": "started"}, failed]


def test_any_other_error_keeps_its_traceback(task):
    def main(given) -> None:
        raise ValueError("a batch of no images\n")

    with pytest.raises(ValueError, match="a batch"):
        job.run(main, task)
    assert "Traceback" in task.log[0].read_text()
    assert told(task)[-1] == {"event": "failed", "error": "ValueError: a batch of no images"}


def test_ctrl_c_is_an_event(task):
    def main(given) -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as end:
        job.run(main, task)
    assert end.value.code == 130
    assert told(task)[-1] == {"event": "stopped", "signal": "SIGINT"}


def test_a_log_has_the_lines_of_one_run_and_of_several_processes(task):
    def first(given) -> None:
        job.log.info("first")
        events.emit("waiting", what="a GPU")

    job.run(first, task)
    job.run(lambda given: task.log[0].open("a").write("from beside\n"), task)
    assert "first" not in task.log[0].read_text()
    assert told(task) == [{"event": "started"}, {"event": "ended"}]
    job.log.info("after")
    assert "from beside" in task.log[0].read_text()
    assert "after" in task.log[0].read_text()


def test_a_job_has_the_threads_of_its_rule(task):
    seen, before = [], torch.get_num_threads()

    def main(given) -> None:
        seen.append((torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]))

    try:
        for task.threads in (3, 1):
            job.run(main, task)
    finally:
        torch.set_num_threads(before)
    assert seen == [(3, "3"), (1, "1")]


def test_a_job_has_the_threads_of_its_rule_if_it_imports_torch_later(root):
    """On one core this test cannot fail: torch never uses more threads than there are cores."""
    code = "from soups.jobs import job; job.limit_threads(1); import torch as t; "
    command = [sys.executable, "-c", code + "print(t.get_num_threads())"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        command, cwd=root / "scripts", env=environment, stdout=subprocess.PIPE, check=True
    )
    assert done.stdout == b"1\n"


def test_a_stopped_job_keeps_its_exit_status(task):
    def main(given) -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit) as end:
        job.run(main, task)
    assert end.value.code == 143
    assert task.log[0].read_text() == ""
    assert told(task) == [{"event": "started"}]


def test_sigint_during_a_job_is_one_event_and_no_traceback(task, capsys):
    def main(given) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as end:
            job.run(main, task)
    finally:
        signal.signal(signal.SIGINT, before)
    assert end.value.code == 130
    assert told(task)[-1] == {"event": "stopped", "signal": "SIGINT"}
    assert capsys.readouterr().err == ""
