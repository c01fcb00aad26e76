"""The frame around the `main` of every script: log, events, threads, GPUs and errors."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from soups import files
from soups.errors import UserError
from soups.jobs import compute, events, signals, slots

log = logging.getLogger("soups")


def run(main: Callable, snakemake) -> None:
    """Call ``main(snakemake)`` as a job of the workflow.

    Messages go to the rule's log file, and warnings to the terminal as well. Events go to the file
    beside the log (`events`). A `UserError` ends the job with its sentence on the terminal and in
    the log. Any other error keeps its traceback. A job with a resource `gpu` has GPUs of its own
    while it runs (`slots`).
    """
    try:
        with signals.Once():
            _run(main, snakemake)
    except KeyboardInterrupt:  # Ctrl-C before the first line of the log
        raise SystemExit(128 + signal.SIGINT) from None
    except OSError as error:
        # The log cannot hold this sentence, because it is on the same disk in most cases.
        if (sentence := files.no_space(error)) is None:
            raise
        signals.say(f"error: {sentence}")
        raise SystemExit(1) from None


def _run(main: Callable, snakemake) -> None:
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    for file in (path, events.beside(path)):
        file.write_text("")
    log_to(path)
    warnings = say_warnings(path)
    events.emit("started", process=os.getpid(), host=events.HOST)
    limit_threads(snakemake.threads)
    try:
        compute.configure(snakemake.config.get("compute", {}))
        with slots.held(slots.asked(snakemake)):
            main(snakemake)
        events.emit("ended")
    except UserError as error:
        _fail(str(error))
    except KeyboardInterrupt:  # Ctrl-C needs no traceback
        log.info("stopped by SIGINT")
        events.emit("stopped", signal="SIGINT")
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception as error:
        if sentence := files.no_space(error):
            _fail(sentence)
        text = traceback.format_exc()
        log.error(text)
        events.emit("failed", error=text.strip().splitlines()[-1].strip())
        raise
    finally:
        log.removeHandler(warnings)
        events.detach()


def _fail(sentence: str) -> NoReturn:
    """End the job with a sentence on the terminal, in its log and in its events."""
    log.error("error: %s", sentence)
    events.emit("failed", error=sentence)
    signals.say(f"error: {sentence}")
    raise SystemExit(1) from None


class _Handler(logging.FileHandler):
    """Drops lines that cannot be written: a full disk must not end a job because of its log."""

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exception(), OSError):
            super().handleError(record)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class _Warnings(logging.Handler):
    """Says the warnings of a job on the terminal, with the name of the job."""

    def __init__(self, job: str) -> None:
        super().__init__(logging.WARNING)
        self.job, self.said = job, set()
        self.addFilter(lambda record: record.levelno == logging.WARNING)

    def emit(self, record: logging.LogRecord) -> None:
        sentence = record.getMessage()
        if sentence not in self.said:
            signals.say(f"warning of {self.job}: {sentence}")
            self.said.add(sentence)


def say_warnings(path: str | Path) -> logging.Handler:
    """Say what this process warns of on the terminal too, and each sentence once.

    Args:
        path: the log file of the job, whose name is that of the job.

    Returns:
        the handler, which the log has from now on.
    """
    handler = _Warnings(Path(path).stem)
    log.addHandler(handler)
    return handler


def log_to(path: str | Path) -> None:
    """Append what this process logs from now on to a file, and its events to the file beside it.

    Several processes may append to the same files.
    """
    handler = _Handler(path, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    events.attach(path)


def limit_threads(count: int) -> None:
    """Compute with ``count`` threads, for any number of cores."""
    # Two jobs of one thread finish earlier than one job of two threads on two cores.
    # A fixed count also keeps results independent of the number of free cores.
    os.environ["OMP_NUM_THREADS"] = str(count)
    # cuBLAS gives the same sums in every run only with this setting.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
