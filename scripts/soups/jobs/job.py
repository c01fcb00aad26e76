"""What every script does around its `main`: log, threads, and errors in one sentence."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from soups.errors import UserError
from soups.jobs import compute, slots

log = logging.getLogger("soups")


def run(main: Callable, snakemake) -> None:
    """Call ``main(snakemake)`` as a job of the workflow.

    Progress goes to the rule's log file. A `UserError` ends the job with its one
    sentence on the terminal and in the log; anything else keeps its traceback. A job with a
    resource `gpu` has GPUs of its own while it runs (`slots`).
    """
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("")
    log_to(path)
    limit_threads(snakemake.threads)
    try:
        compute.configure(snakemake.config.get("compute", {}))
        with slots.held(slots.asked(snakemake)):
            main(snakemake)
    except UserError as error:
        log.error("error: %s", error)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # whoever pressed Ctrl-C knows why it ends
        log.info("stopped by SIGINT")
        raise SystemExit(128 + signal.SIGINT) from None
    except Exception:
        log.error(traceback.format_exc())
        raise


def log_to(path: str | Path) -> None:
    """Add what is logged from here on to a file; several processes may do so."""
    handler = logging.FileHandler(path, mode="a", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


def limit_threads(count: int) -> None:
    """Compute with so many threads, however many cores there are."""
    # Two single-threaded jobs beat one job of two threads on two cores, and
    # results do not depend on how many cores happen to be free.
    os.environ["OMP_NUM_THREADS"] = str(count)
    # What cuBLAS asks for to give the same sums every time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
