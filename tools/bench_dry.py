"""Measure dry runs of the main experiment with 72 and 1,000 models and seven sets.

`python tools/bench_dry.py [FOLDER ...]` prints one row for each case, and writes
`results/recorded/bench/dry.csv`. The sets have ImageNet's layouts and a few empty files, because a
dry run opens no image. Each FOLDER is another checkout of the project. It is measured in turn with
this one.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _table import write_table

import _library  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENT = "experiments/imagenet.yaml"
CASES = {  # name to models and profile
    "72": (72, None),
    "72 slurm": (72, "slurm"),
    "1000": (1000, None),
    "1000 slurm": (1000, "slurm"),
    "1000 generic": (1000, "generic"),
}
EMPTY = "empty workflow"  # the part that no workflow can save
HARDWARE = "2 cores of an AMD EPYC"
OBJECT, CLASS = "banana", 954
TRAINING = 27  # images of each class, of which the experiment holds out 26


def data(root: Path) -> None:
    """Write training images and six test sets of 1,000 classes, as empty files."""
    from soups.data.imagenet import MAPPINGS, imagenet_classes

    classes = imagenet_classes()
    for folder in ("imagenet/train", "imagenet/val", "imagenet-r", "sketch", "imagenet-a"):
        for name in classes:
            for image in range(TRAINING if folder == "imagenet/train" else 1):
                _touch(root / folder / name / f"{image}.JPEG")
    for number in range(len(classes)):
        _touch(root / "imagenetv2-matched-frequency-format-val" / str(number) / "0.jpeg")
    _touch(root / "objectnet-1.0" / "images" / OBJECT / "0.png")
    mappings = root / "objectnet-1.0" / "mappings"
    mappings.mkdir()
    lines = [f"class {number}" for number in range(len(classes))]
    contents = (
        json.dumps({OBJECT: "Banana"}),
        json.dumps({"Banana": lines[CLASS]}),
        json.dumps({str(number): number for number in range(len(classes))}),
        "".join(f"{line}\n" for line in lines),
    )
    for file, content in zip(MAPPINGS, contents, strict=True):
        (mappings / file).write_text(content, encoding="utf-8")


def _touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def command(checkout: Path, case: str) -> list[str]:
    """Return the command of a dry run of a checkout."""
    if case == EMPTY:
        return [sys.executable, "-m", "snakemake", "-n", "--cores", "1", "-s", "empty.smk"]
    models, profile = CASES[case]
    chosen = ["--profile", str(checkout / "profiles" / profile)] if profile else []
    return [
        *(sys.executable, "-m", "snakemake", "-n", *chosen),
        *("-s", str(checkout / "Snakefile"), "--configfile", str(checkout / EXPERIMENT)),
        *("--config", f"sweep={{random: {{n: {models}}}}}"),
    ]


def measure(asked: list[str], folder: Path) -> tuple[float, float, float]:
    """Return the seconds, the seconds of CPU and the peak memory in MB of a command in a folder."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    log = folder / "log.txt"
    start = time.perf_counter()
    with open(log, "w", encoding="utf-8") as file:
        process = subprocess.Popen(asked, cwd=folder, stdout=file, stderr=file, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(asked)} failed:\n{log.read_text(encoding='utf-8')}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    """Measure all cases and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--cases", nargs="+", default=[EMPTY, *CASES], choices=[EMPTY, *CASES])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=ROOT / "results/recorded/bench/dry.csv")
    asked = parser.parse_args()
    checkouts = [path.resolve() for path in asked.checkouts] + [ROOT]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data(folder / "data")
        (folder / "empty.smk").write_text("rule all:\n")
        for case in asked.cases:
            found = {checkout: [] for checkout in checkouts}
            for _ in range(asked.runs):
                for checkout in checkouts:
                    found[checkout].append(measure(command(checkout, case), folder))
            for checkout, values in found.items():
                seconds, cpu, memory = zip(*values, strict=True)
                rows.append(
                    {
                        "hardware": HARDWARE,
                        "command": "python tools/bench_dry.py",
                        "n": len(values),
                        "case": case,
                        "code": "this" if checkout == ROOT else checkout.name,
                        "seconds": round(statistics.median(seconds), 2),
                        "fastest": round(min(seconds), 2),
                        "cpu_seconds": round(statistics.median(cpu), 2),
                        "memory_mb": round(statistics.median(memory)),
                    }
                )
                print(rows[-1], flush=True)
    write_table(asked.output, rows)


if __name__ == "__main__":
    main()
