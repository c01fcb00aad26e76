"""Signals to Snakemake's process and to its jobs."""

import os
import signal
import subprocess
import sys
import time

import pytest

from soups.jobs import signals
from tests.conftest import ROOT

NOTED = """
import os, signal, sys
from soups.jobs import signals
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.signal(signal.SIGHUP, lambda *_: print("handled"))
assert not signals.came()
signals.note()
assert not signals.came()
os.kill(os.getpid(), signal.SIGCHLD)
assert not signals.came()
try:
    os.kill(os.getpid(), int(sys.argv[1]))
except KeyboardInterrupt:
    print("handled")
assert signals.came()
assert not signals.came()
"""

# The main thread waits for a lock, as Snakemake's scheduler does. Its job ignores the first signal.
WATCHED = """
import os, signal, subprocess, sys, threading, time
from soups.jobs import signals
number = int(sys.argv[1])
job = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
waiting, stopped = threading.Semaphore(0), []
def stop():
    stopped.append(1)
    threading.Thread(target=lambda: (job.wait(), waiting.release())).start()
signals.note()
signals.watch(stop, signals.children)
print("ready", flush=True)
waiting.acquire()
print(len(stopped), -job.returncode == number, signals.came(), flush=True)
"""


def start(code: str, number: int, **options) -> subprocess.Popen:
    """Start Python in the library's folder, with Python's own handler of SIGINT."""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(int(number))],
        cwd=ROOT / "scripts",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        **options,
    )


@pytest.mark.parametrize("number", signals.ENDING)
def test_signals_are_noted_and_still_handled(number):
    assert start(NOTED, number).communicate(timeout=60) == ("handled\n", "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_a_waiting_process_alone_reaches_its_jobs(number):
    process = start(WATCHED, number)
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert out == "1 True True\n"
    name = signal.Signals(number).name
    assert err == f"{name}: no more jobs start, and the running jobs save their states and stop.\n"


# The job was started before SIGINT was blocked. A later one has it blocked until `Once`.
LATER = WATCHED.replace("waiting, stopped", "job.kill(); waiting, stopped").replace(
    'print("ready"', 'job = subprocess.Popen([sys.executable, "-c", JOB]); print("ready"'
)
JOB = """
import time
time.sleep(1)  # imports
from soups.jobs import signals
try:
    with signals.Once():
        time.sleep(60)
except KeyboardInterrupt:
    raise SystemExit(130)
"""


def test_a_job_that_still_imports_ends_without_a_traceback():
    process = start(
        f"JOB = {JOB!r}{LATER}".replace("-job.returncode == number", "job.returncode"), 2
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert out == "1 130 True\n"
    assert "Traceback" not in err


def test_a_second_sigint_does_not_interrupt_the_handling_of_the_first():
    code = """
import os, signal
from soups.jobs import signals
try:
    with signals.Once():
        os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    os.kill(os.getpid(), signal.SIGINT)
    print("ended")
"""
    assert start(code, 0).communicate(timeout=60) == ("ended\n", "")


def test_a_process_that_was_not_interrupted_has_its_handler_back():
    before = signal.getsignal(signal.SIGINT)
    with signals.Once():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_a_sentence_to_a_closed_terminal_raises_nothing():
    read, written = os.pipe()
    os.close(read)
    code = "from soups.jobs import signals; signals.say('x'); import os; os._exit(7)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT / "scripts", stderr=written).returncode == 7
    os.close(written)
