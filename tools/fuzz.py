"""Try broken configurations, checkpoints and images: all of them must end in one sentence.

python tools/fuzz.py                       # 10,000 configurations and checkpoints, 1,000 images
python tools/fuzz.py --images 0 --checkpoints 0 --configs 1 --first 4711   # one case again

A case passes if it is accepted, or refused by a UserError, within `SECONDS` and `MEMORY`, without
a change of its files. Some checkpoints are pickles that would write a file if they were executed.
Old pickles of torch hold addresses of memory, and all pickles here hold the name of a temporary
folder. A few cases therefore differ between two runs with the same seed.
"""

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import fuzz_cases

import _library  # noqa: F401
from soups.errors import UserError

SECONDS = 20  # for one case
MEMORY = 4 * 2**30  # bytes of address space that a case may add


class Slow(BaseException):
    """Raised in a case that takes longer than `SECONDS`. No code under test can catch it."""


@dataclass
class Report:
    """The results of all cases of a kind.

    Attributes:
        kind: ``configs``, ``checkpoints`` or ``images``.
        accepted, refused: numbers of cases.
        failed: place of an error to the first case with it, and the number of such cases.
        slowest: seconds of the slowest case, and its number.
    """

    kind: str
    accepted: int = 0
    refused: int = 0
    failed: dict[str, list] = field(default_factory=dict)
    slowest: tuple[float, int] = (0.0, 0)

    def fail(self, reason: str, number: int) -> None:
        self.failed.setdefault(reason, [number, 0])[1] += 1

    def lines(self) -> list[str]:
        """The report as text."""
        failures = sum(count for _, count in self.failed.values())
        seconds, number = self.slowest
        head = (
            f"{self.kind}: {self.accepted:,} accepted, {self.refused:,} refused, {failures:,} "
            f"failed; the slowest took {seconds:.1f} s (case {number})"
        )
        found = sorted(self.failed.items(), key=lambda item: -item[1][1])
        return [head, *(f"  {n} × {reason} (first: case {i})" for reason, (i, n) in found)]


def attempt(kind: str, seed: int, numbers: range, make: Callable, folder: Path) -> Report:
    """Try all cases of a kind.

    Args:
        kind: see `Report`.
        seed: of all cases.
        numbers: of the cases. Each case depends on the seed and its number alone.
        make: takes a random generator; returns a function to call, and a function that tells what
            the call has broken, or None.
        folder: the working folder, in which no file may appear.
    """
    report, before = Report(kind), set(folder.rglob("*"))
    for number in numbers:
        call, broken = make(Random(f"{seed} {kind} {number}"))
        begin = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            call()
            report.accepted += 1
        except UserError:
            report.refused += 1
        except Slow:
            report.fail(f"more than {SECONDS} s", number)
        except Exception as error:
            report.fail(_place(error), number)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        report.slowest = max(report.slowest, (time.monotonic() - begin, number))
        if reason := broken():
            report.fail(reason, number)
    if new := set(folder.rglob("*")) - before:
        report.fail(f"new files: {', '.join(sorted(path.name for path in new))}", numbers[-1])
    return report


def _place(error: Exception) -> str:
    """The type of an error, and the last line of this project that raised it."""
    root = str(Path(__file__).resolve().parents[1] / "scripts")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(root)]
    where = f"{frames[-1].filename.removeprefix(root)}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {where}: {str(error)[:100]}"


def run(seed: int, counts: dict[str, int], first: int = 0) -> list[Report]:
    """Try cases of all kinds.

    Args:
        seed: of all cases.
        counts: kind to its number of cases.
        first: number of the first case.
    """
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_slow)
    before = resource.getrlimit(resource.RLIMIT_AS)
    reports = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "cases").mkdir()
        for kind, count in counts.items():
            make = fuzz_cases.KINDS[kind](folder / "cases")
            resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, before[1]))
            try:
                numbers = range(first, first + count)
                if count:
                    reports.append(attempt(kind, seed, numbers, make, folder))
            finally:
                resource.setrlimit(resource.RLIMIT_AS, before)
    return reports


def _too_slow(*_) -> None:
    raise Slow


def _address_space() -> int:
    """Bytes of this process's address space now."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    for kind, count in {"configs": 10_000, "checkpoints": 10_000, "images": 1_000}.items():
        parser.add_argument(f"--{kind}", type=int, default=count, metavar="COUNT")
    given = parser.parse_args()
    counts = {kind: getattr(given, kind) for kind in fuzz_cases.KINDS}
    begin = time.monotonic()
    reports = run(given.seed, counts, given.first)
    for report in reports:
        print("\n".join(report.lines()))
    print(f"seed {given.seed}, {(time.monotonic() - begin) / 60:.1f} minutes")
    sys.exit(any(report.failed for report in reports))


if __name__ == "__main__":
    main()
