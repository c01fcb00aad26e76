"""Signals that Snakemake's process gets: its jobs save their states, and finished results stay.

On SIGINT, Snakemake waits for its running jobs and then forgets that they ended, so that the next
run makes their outputs again. On SIGHUP it dies at once. `watch` replaces both: the scheduler
starts no more jobs and takes in those that end, and the running jobs get the same signal.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
PAUSE = 0.2  # seconds between two looks for jobs that began after the signal

_pipe: int | None = None  # where the numbers of signals are read
_came: set[int] = set()  # numbers of the signals that were read
_watched = False  # whether a thread reads the pipe


def note() -> None:
    """Note the signals that this process gets from now on, for `came`.

    Snakemake does not tell its handlers why a run ended. Python writes the number of each signal
    into a pipe, and the signal handlers stay in place.
    """
    global _pipe, _watched
    _watched = False
    _pipe, written = os.pipe()
    os.set_blocking(_pipe, False)
    os.set_blocking(written, False)
    signal.set_wakeup_fd(written, warn_on_full_buffer=False)
    _came.clear()


def came() -> bool:
    """Return whether a signal of `ENDING` has come since `note`; forget older signals."""
    if _pipe is not None and not _watched:
        with suppress(BlockingIOError):  # no signal
            _came.update(os.read(_pipe, 2**16))
    found = bool(_came.intersection(ENDING))
    _came.clear()
    return found


def watch(stop: Callable[[], None], jobs: Callable[[], Iterable[int]]) -> None:
    """End a run on a signal of `ENDING`, without losing what its jobs have finished.

    Call this in the main thread, after `note`. The main thread waits for a lock of Snakemake's
    scheduler, where Python runs no signal handler. A thread therefore reads the numbers of signals.
    Signals that this process ignores (`nohup`) stay ignored.

    SIGINT is blocked in the main thread and so in the jobs that it starts. A job lets it through
    when its imports are done (`job.run`), because an interrupted import prints a traceback.

    Args:
        stop: tells the scheduler to start no more jobs; may wait for a lock of the main thread.
        jobs: returns the process ids of the jobs that run now.
    """
    global _watched
    _watched = True
    os.set_blocking(_pipe, True)
    for number in ENDING:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    threading.Thread(target=_wait, args=(stop, jobs), daemon=True).start()


def _wait(stop: Callable[[], None], jobs: Callable[[], Iterable[int]]) -> None:
    """Read the numbers of signals for the life of the process, and act on those of `ENDING`."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    told = False
    while numbers := os.read(_pipe, 2**16):
        for number in sorted(set(numbers).intersection(ENDING)):
            _came.add(number)
            if not told:
                told = True
                name = signal.Signals(number).name
                say(f"{name}: no more jobs start, and the running jobs save their states and stop.")
            stop()
            threading.Thread(target=_pass_on, args=(number, jobs), daemon=True).start()


def _pass_on(number: int, jobs: Callable[[], Iterable[int]]) -> None:
    """Send a signal to every job once, and to those that Snakemake had begun to start."""
    sent: set[int] = set()
    while True:
        for process in set(jobs()) - sent:
            sent.add(process)
            with suppress(OSError):  # it has just ended
                os.kill(process, number)
        time.sleep(PAUSE)


def children() -> list[int]:
    """Return the process ids of this process's children."""
    import psutil  # Snakemake depends on it, but a job does not need it

    with suppress(psutil.Error):  # processes that end meanwhile; the next look finds the others
        return [child.pid for child in psutil.Process().children()]
    return []


def say(sentence: str) -> None:
    """Print a sentence to standard error, which is gone if the terminal has closed."""
    with suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


class Once:
    """Raises KeyboardInterrupt on the first SIGINT, and ignores more of them.

    Ctrl-C reaches a job twice, from the terminal and from Snakemake. Without this context, the
    second SIGINT would interrupt the handling of the first one.
    """

    def __enter__(self) -> "Once":
        self._before, self._interrupted = signal.getsignal(signal.SIGINT), False
        self._mine = (
            threading.current_thread() is threading.main_thread() and self._before != signal.SIG_IGN
        )
        if self._mine:
            signal.signal(signal.SIGINT, self._interrupt)
            # A SIGINT that came during the imports raises KeyboardInterrupt here.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        return self

    def __exit__(self, *_) -> None:
        if self._mine and not self._interrupted:
            signal.signal(signal.SIGINT, self._before or signal.SIG_DFL)

    def _interrupt(self, *_) -> None:
        self._interrupted = True
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt
