"""Measures how long training waits for its state to be saved, and how long the writing takes.

`python tools/bench_state.py` writes results/recorded/bench/state.csv. The model is CLIP ViT-B/32
under 1,000 classes with AdamW. Without the thread that writes, training would wait for both.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from _table import write_table

import _library  # noqa: F401

ARCHITECTURE, CLASSES = "ViT-B-32-quickgelu", 1000
RESULT = Path("results/recorded/bench/state.csv")


def measure(repeats: int) -> list[tuple[float, float, float]]:
    """Save the state several times.

    Returns:
        seconds of copying, seconds until the state is on the disk, and megabytes, for each save.
    """
    import torch

    from soups.jobs import job
    from soups.jobs.resume import Resumable
    from soups.models.pretrained import Pretrained
    from soups.training import optim

    job.limit_threads(1)
    torch.manual_seed(0)
    model = Pretrained(ARCHITECTURE, None).classifier(CLASSES)
    optimizer = optim.adamw(model, 1e-5, 0.1)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    found = []
    with tempfile.TemporaryDirectory(dir=".") as folder:
        state = Resumable(folder, {})
        for done in range(repeats + 1):
            begin = time.perf_counter()
            state.keep(done, model=model, optimizer=optimizer)
            copied = time.perf_counter()
            state.wait()
            ended = time.perf_counter()
            found.append((copied - begin, ended - copied, state.path.stat().st_size / 1e6))
    return found[1:]  # the first one asks the system for memory


def main(chosen: argparse.Namespace) -> None:
    """Measure, and write the medians."""
    copying, writing, megabytes = zip(*measure(chosen.repeats), strict=True)
    row = {
        "hardware": chosen.hardware,
        "command": "python tools/bench_state.py",
        "n": chosen.repeats,
        "megabytes": round(megabytes[0]),
        "copied_seconds": round(statistics.median(copying), 2),
        "written_seconds": round(statistics.median(writing), 2),
    }
    write_table(chosen.result, [row])
    print(chosen.result.read_text(encoding="utf-8"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hardware", default="2 cores of an AMD EPYC")
    parser.add_argument("--result", type=Path, default=RESULT)
    main(parser.parse_args())
