import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from soups.errors import UserError
from soups.jobs import compute, job


@pytest.fixture
def task(tmp_path, monkeypatch, configured):
    """What a rule's script would get; the log's handlers go again."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = list(job.log.handlers)
    yield SimpleNamespace(
        log=[tmp_path / "logs" / "rule.log"], threads=1, config={"compute": {"batch_size": 7}}
    )
    for handler in set(job.log.handlers) - set(before):
        job.log.removeHandler(handler)
        handler.close()


def test_a_job_computes_as_configured_and_logs(task):
    seen = []

    def main(given) -> None:
        seen.append((given, compute.current().batch_size))
        logging.getLogger("soups").info("at work")

    job.run(main, task)
    assert seen == [(task, 7)]
    assert task.log[0].read_text().endswith("at work\n")


def test_what_the_user_can_mend_is_one_sentence(task, capsys):
    def main(given) -> None:
        raise UserError("data.root is 'nowhere', expected a folder")

    with pytest.raises(SystemExit) as error:
        job.run(main, task)
    assert error.value.code == 1
    sentence = "error: data.root is 'nowhere', expected a folder\n"
    assert capsys.readouterr().err == sentence
    assert task.log[0].read_text().endswith(sentence)
    assert "Traceback" not in task.log[0].read_text()


def test_a_log_is_of_one_run_and_several_processes(task):
    job.run(lambda given: job.log.info("first"), task)
    job.run(lambda given: task.log[0].open("a").write("from beside\n"), task)
    assert "first" not in task.log[0].read_text()
    job.log.info("after")
    assert "from beside" in task.log[0].read_text()
    assert "after" in task.log[0].read_text()


def test_threads_are_those_of_the_rule(task):
    seen, before = [], torch.get_num_threads()

    def main(given) -> None:
        seen.append((torch.get_num_threads(), os.environ["OMP_NUM_THREADS"]))

    try:
        for task.threads in (3, 1):
            job.run(main, task)
    finally:
        torch.set_num_threads(before)
    assert seen == [(3, "3"), (1, "1")]


def test_threads_are_those_of_the_rule_if_torch_comes_later(root):
    """On one core this says nothing; torch never takes more threads than there are cores."""
    code = "from soups import job; job.limit_threads(1); import torch as t; "
    command = [sys.executable, "-c", code + "print(t.get_num_threads())"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        command, cwd=root / "scripts", env=environment, stdout=subprocess.PIPE, check=True
    )
    assert done.stdout == b"1\n"


def test_a_job_that_was_stopped_keeps_its_status(task):
    def main(given) -> None:
        raise SystemExit(143)

    with pytest.raises(SystemExit) as end:
        job.run(main, task)
    assert end.value.code == 143
    assert task.log[0].read_text() == ""
