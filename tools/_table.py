"""Tables that the benchmarks write, and the options that several of them have."""

import argparse
import csv
from collections.abc import Mapping, Sequence
from pathlib import Path


def write_table(path: Path, rows: Sequence[Mapping]) -> None:
    """Write rows with the same keys as a CSV file, and make its folder if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def options(about: str, repeats: int, hardware: str, result: Path) -> argparse.Namespace:
    """The options ``repeats``, ``hardware`` and ``result`` of the command line.

    Args:
        about: the docstring of the benchmark.
        repeats, hardware, result: their defaults.
    """
    parser = argparse.ArgumentParser(description=about.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=repeats)
    parser.add_argument("--hardware", default=hardware)
    parser.add_argument("--result", type=Path, default=result)
    return parser.parse_args()
