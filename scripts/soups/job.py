"""What every script does around its `main`: log, threads, and errors in one sentence."""

import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from soups.errors import UserError

log = logging.getLogger("soups")


def run(main: Callable, snakemake) -> None:
    """Call ``main(snakemake)`` as a job of the workflow.

    Progress goes to the rule's log file. A `UserError` ends the job with its one
    sentence on the terminal and in the log; anything else keeps its traceback.
    """
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    _limit_threads(snakemake.threads)
    try:
        main(snakemake)
    except UserError as error:
        log.error("error: %s", error)
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except Exception:
        log.error(traceback.format_exc())
        raise


def _limit_threads(count: int) -> None:
    # Two single-threaded jobs beat one job of two threads on two cores, and
    # results do not depend on how many cores happen to be free.
    os.environ["OMP_NUM_THREADS"] = str(count)
    # What cuBLAS asks for to give the same sums every time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
