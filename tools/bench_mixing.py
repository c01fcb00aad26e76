"""Mixing and learned soups against one plain read of the same files, at the size of ViT-B/32.

The files are in the system's cache. A plain read copies each of them, piece by piece, into one
small buffer, which is the fastest way to get at their bytes. Plain reads and the others alternate
in one process. With ``--cold``, the files leave the cache before each measurement. If there are
more models than files, a piece that is read again is in the cache of the core, which is faster.
"""

import argparse
import csv
import os
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import _library

ROOT = Path(_library.__file__).parents[1]
HARDWARE = "2 cores of an AMD EPYC"
WIDTH, BLOCKS, CLASSES = 768, 12, 1000
PIECE = 2**17  # bytes


def shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of ViT-B/32 with a head of 1,000 classes, 88 million numbers."""
    found = {
        "visual.conv1.weight": (WIDTH, 3, 32, 32),
        "visual.positional_embedding": (50, WIDTH),
        "visual.proj": (WIDTH, 512),
        "head.weight": (CLASSES, 512),
        "head.bias": (CLASSES,),
    }
    for i in range(BLOCKS):
        block = f"visual.transformer.resblocks.{i}."
        for name, rows in (("attn.in_proj", 3), ("attn.out_proj", 1), ("mlp.c_fc", 4)):
            found[f"{block}{name}.weight"] = (rows * WIDTH, WIDTH)
            found[f"{block}{name}.bias"] = (rows * WIDTH,)
        found[f"{block}mlp.c_proj.weight"] = (WIDTH, 4 * WIDTH)
        found |= {f"{block}{name}": (WIDTH,) for name in ("mlp.c_proj.bias", "ln_1", "ln_2")}
    return found


def write(folder: Path, files: int) -> list[Path]:
    """Write checkpoints of random numbers."""
    from soups.models import checkpoints

    paths = [folder / f"{i}.safetensors" for i in range(files)]
    for i, path in enumerate(paths):
        generator = torch.Generator().manual_seed(i)
        state = {name: torch.randn(s, generator=generator) for name, s in shapes().items()}
        checkpoints.save(path, state, {"pretrained": "same"})
    return paths


def read(paths: list[Path]) -> None:
    """Read all bytes of some files into one buffer."""
    buffer = memoryview(bytearray(PIECE))
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            while file.readinto(buffer):
                pass


def mix(paths: list[Path]) -> None:
    """Mix the uniform soup."""
    from soups.mixing.mix import mix
    from soups.mixing.recipes import uniform

    named = {f"m{i}": path for i, path in enumerate(paths)}
    mix(uniform(named), named)


def learn() -> Callable[[list[Path]], None]:
    """Return a function for a step of a learned soup by layer, without the model's own passes."""
    from soups.mixing import learned
    from soups.models.checkpoints import Checkpoint
    from soups.models.stack import Stack

    parameters = {name: torch.nn.Parameter(torch.zeros(s)) for name, s in shapes().items()}
    for parameter in parameters.values():
        parameter.grad = torch.randn(parameter.shape)
    state = {name: parameter.detach() for name, parameter in parameters.items()}

    def step(paths: list[Path]) -> None:
        with Stack([Checkpoint(path) for path in paths]) as stack:
            for name in state:
                gradient = learned.coefficient_gradient(parameters, stack, [name])
                learned.write(state, stack, (1e-9 * gradient).softmax(0), [name])

    return step


def forget(paths: list[Path]) -> None:
    """Remove files from the system's cache."""
    for path in set(paths):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def peak(work: Callable[[], None]) -> float:
    """MB of memory that a call needs at its peak, above the size before it."""
    from bench import _peak_mb, _restart_peak

    before = _restart_peak()
    work()
    return _peak_mb() - before


def measure(asked: argparse.Namespace, paths: list[Path]) -> list[dict]:
    """Return a row for mixing and for a step of a learned soup, for each number of models."""
    torch.set_num_threads(1)
    megabytes = paths[0].stat().st_size / 2**20
    rows = []
    for title, work, reads in (("mix", mix, 1), ("learned step", learn(), 2)):
        for k in asked.models:
            chosen = [paths[i % len(paths)] for i in range(k)]
            found: dict[str, list[tuple[float, float]]] = {"read": [], title: []}
            memory = 0.0
            for _ in range(asked.runs):
                for name, call in (("read", read), (title, work)):
                    if asked.cold:
                        forget(chosen)
                    start, cpu = time.perf_counter(), time.process_time()
                    if name == title:
                        memory = max(memory, peak(lambda: call(chosen)))  # noqa: B023
                    else:
                        call(chosen)
                    used = time.perf_counter() - start, time.process_time() - cpu
                    found[name].append(used)
            plain, ours = (
                [statistics.median(part) for part in zip(*values, strict=True)]
                for values in found.values()
            )
            rows.append({
                "hardware": HARDWARE,
                "command": shlex.join(["python", "tools/bench_mixing.py", *sys.argv[1:]]),
                "n": asked.runs,
                "what": title,
                "models": k,
                "files": min(k, len(paths)),
                "file_mb": round(megabytes),
                "reads": reads,
                "read_seconds": round(plain[0], 2),
                "seconds": round(ours[0], 2),
                "to_reads": round(ours[0] / plain[0] / reads, 2),
                "read_cpu_seconds": round(plain[1], 2),
                "cpu_seconds": round(ours[1], 2),
                "cpu_to_reads": round(ours[1] / plain[1] / reads, 2),
                "peak_mb": round(memory),
            })  # fmt: skip
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", type=int, default=[8, 24])
    parser.add_argument(
        "--files", type=int, default=24, help="files on disk, read repeatedly for more models"
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--output", type=Path, default=ROOT / "results/recorded/bench/mixing.csv")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        rows = measure(asked, write(Path(name), asked.files))
    kept = []
    if asked.output.exists():
        with open(asked.output, newline="", encoding="utf-8") as file:
            mine = {row["command"] for row in rows}
            kept = [r for r in csv.DictReader(file) if r["command"] not in mine]
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    with open(asked.output, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(kept + rows)


if __name__ == "__main__":
    main()
