"""Seconds of a run by rule, and the share of the run that is overhead.

python tools/bench_rules.py results/miniature

Every job has one thread on two cores, so the seconds of a job are its core-seconds. The work of a
run is to draw, to train and to run models. Time counts as work in the rules of `WORK`, between the
events `started` and `ended` of a job. The overhead is the rest: the start and the imports of
every process, and the rules of tables, figures and plans. Imports within a job's work count as
work, and so do the mixing and the writing of soups.

`make bench` prints the table for the last run of the miniature, and writes it as CSV.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import _library  # noqa: F401
from soups.jobs import events

HARDWARE = "2 cores of an AMD EPYC"
OUTPUT = Path("results/recorded/bench/miniature.csv")
WORK = {
    "draw_set", "draw_adversarial", "draw_corpus", "pretrain", "initialize", "finetune", "teacher",
    "evaluate", "recipe", "cook", "plan_wise_ft", "plan_number_of_models", "plan_large_lr",
    "plan_slices", "evaluate_curve", "evaluate_pairs", "evaluate_landscape",
}  # fmt: skip


class Sums(NamedTuple):
    """Sums over the jobs of a rule: their number, their seconds, and the seconds of work."""

    jobs: int = 0
    seconds: float = 0.0
    work: float = 0.0

    @property
    def overhead(self) -> float:
        return self.seconds - self.work


def by_rule(results: Path) -> dict[str, Sums]:
    """Read the benchmark files of a finished run, longest rule first.

    Args:
        results: folder of the run.
    """
    folder = results / "benchmarks"
    found: dict[str, Sums] = defaultdict(Sums)
    for path in sorted(folder.rglob("*.tsv")):
        place = path.relative_to(folder)
        rule = place.parts[0].removesuffix(".tsv")
        with path.open(encoding="utf-8", newline="") as file:
            seconds = sum(float(row["s"]) for row in csv.DictReader(file, delimiter="\t"))
        work = 0.0
        if rule in WORK:
            log = results / "logs" / place.with_suffix(".log")
            times = {event["event"]: event["time"] for event in events.read(events.beside(log))}
            # A file may have the time of one run alone. Its job was then stopped, and resumed.
            work = min(seconds, times.get("ended", 0.0) - times.get("started", 0.0))
        jobs, so_far, worked = found[rule]
        found[rule] = Sums(jobs + 1, so_far + seconds, worked + max(0.0, work))
    return dict(sorted(found.items(), key=lambda item: -item[1].seconds))


def section(results: Path = Path("results/miniature"), output: Path = OUTPUT) -> None:
    """Print a run by rule, and write the same as CSV. Prints a hint if there is no run."""
    rules = by_rule(results)
    if not rules:
        print(f"\nNo benchmarks are in {results}, so there is no table by rule (make run).")
        return
    total = Sums(*(sum(column) for column in zip(*rules.values(), strict=True)))
    rules = {**rules, "all rules": total}
    print("\n| rule | jobs | core-seconds | of them overhead |\n|---|---|---|---|")
    for rule, sums in rules.items():
        print(f"| {rule} | {sums.jobs} | {sums.seconds:.1f} | {sums.overhead:.1f} |")
    print(f"\n{total.overhead / total.seconds:.0%} neither draw nor train nor run models.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("w", encoding="utf-8", newline="") as file:
        columns = ("hardware", "command", "n", "rule", "jobs", "seconds", "overhead")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for rule, sums in rules.items():
            row = sums.jobs, round(sums.seconds, 1), round(sums.overhead, 1)
            writer.writerow((HARDWARE, "make run", 1, rule, *row))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", nargs="?", default="results/miniature", type=Path)
    parser.add_argument("--output", default=OUTPUT, type=Path, help="the CSV to write")
    given = parser.parse_args()
    section(given.results, given.output)
