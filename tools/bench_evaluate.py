"""Compares the evaluation of several models with a plain loop that decodes the images each time.

`python tools/bench_evaluate.py` writes results/recorded/bench/evaluate.csv. The models are CLIP
ViT-B/32 with random weights and 1,000 classes, on the held-out set, the test set and five shifts.
The images are JPEG files of 500 × 375 pixels. The two sides take turns, each in a process of its
own, whose imports are not counted. Our side decodes every image once, which is counted.
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

ARCHITECTURE, CLASSES, SIZE = "ViT-B-32-quickgelu", 1000, 224
HELDOUT = "heldout"
SETS = (HELDOUT, "test", "shift1", "shift2", "shift3", "shift4", "shift5")
PLAIN = "plain re-implementation of the reference's loop"
SIDES = {
    "plain": (PLAIN, "float32"),
    "ours": ("evaluate", "float32"),
    "bfloat16": ("evaluate", "bfloat16"),
}
RESULT = Path("results/recorded/bench/evaluate.csv")


def prepare(folder: Path, models: int, count: int) -> None:
    """Write the models, and the images of every set, which are smooth as photos are."""
    import numpy as np
    import torch
    from PIL import Image

    from soups.models import checkpoints
    from soups.models.pretrained import Pretrained

    torch.manual_seed(0)
    pretrained = Pretrained(ARCHITECTURE, None)
    pretrained.save(folder / "pretrained.safetensors", {})
    state = pretrained.classifier(CLASSES).state_dict()
    for i in range(models):
        moved = {name: t + 1e-3 * torch.randn_like(t) for name, t in state.items()}
        checkpoints.save(folder / f"m{i}.safetensors", moved, {"pretrained": "same"})
    rng = np.random.default_rng(0)
    for name in SETS:
        (folder / name).mkdir()
        for i in range(count):
            small = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
            image = small.resize((500, 375), Image.Resampling.BICUBIC)
            image.save(folder / name / f"{i:04d}.jpg", quality=90)


def _paths(folder: Path, name: str) -> list[str]:
    return sorted(path.name for path in (folder / name).iterdir())


def _models(folder: Path):
    from soups.models.classifier import load_classifier

    for path in sorted(folder.glob("m*.safetensors")):
        yield load_classifier(folder / "pretrained.safetensors", path)


def plain(folder: Path) -> dict:
    """Evaluate one model after the other. Worker processes decode every image for every model."""
    import torch
    from torch.utils.data import DataLoader
    from torchvision.datasets.folder import default_loader
    from torchvision.transforms import v2

    steps = [
        v2.Resize(SIZE, interpolation=v2.InterpolationMode.BICUBIC),
        v2.CenterCrop(SIZE),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    ]
    transform = v2.Compose(steps)

    class Files(torch.utils.data.Dataset):
        def __init__(self, name: str) -> None:
            self.paths = [folder / name / path for path in _paths(folder, name)]

        def __len__(self) -> int:
            return len(self.paths)

        def __getitem__(self, row: int):
            return transform(default_loader(self.paths[row]))

    guesses = {}
    for number, model in enumerate(_models(folder)):
        for name in SETS:
            with torch.no_grad():
                batches = DataLoader(Files(name), batch_size=125, num_workers=2)
                logits = torch.cat([model(images) for images in batches])
            guesses[f"{number} {name}"] = logits.argmax(1).tolist()
    return guesses


def ours(folder: Path) -> dict:
    """Prepare every set once, and evaluate every model as the jobs of the workflow do."""
    import numpy as np

    from soups import files
    from soups.data.decode import ImageFiles, blocks
    from soups.models.forward import forward

    for name in SETS:
        images = ImageFiles(folder / name, _paths(folder, name), SIZE, upright=False)
        decoded = blocks(images, threads=2)
        files.write_blocks(folder / f"{name}.{os.getpid()}.npy", decoded, len(images))
    guesses = {}
    for number, model in enumerate(_models(folder)):
        for name in SETS:
            pixels = np.load(folder / f"{name}.{os.getpid()}.npy", mmap_mode="r")
            logits = forward(model, pixels, exact=name == HELDOUT)
            guesses[f"{number} {name}"] = logits.argmax(1).tolist()
    return guesses


def once(side: str, folder: Path, threads: int) -> dict:
    """Run one side in this process.

    Returns:
        seconds, seconds of all cores, and the classes that the models name.
    """
    import torch  # noqa: F401
    import torchvision.transforms.v2  # noqa: F401

    import soups.models.classifier
    import soups.models.forward  # noqa: F401
    from soups.jobs import compute, job

    job.limit_threads(threads)
    compute.configure({"device": "cpu", "inference": SIDES[side][1]})
    next(_models(folder))  # imports the architecture
    begin, before = time.perf_counter(), sum(os.times()[:4])
    guesses = plain(folder) if side == "plain" else ours(folder)
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "core_seconds": sum(os.times()[:4]) - before, "guesses": guesses}


def _agreement(theirs: dict, ours: dict) -> float:
    """The share of images for which both sides name the same class."""
    pairs = [zip(theirs[key], ours[key], strict=True) for key in theirs]
    equal = [a == b for pair in pairs for a, b in pair]
    return sum(equal) / len(equal)


def main(chosen: argparse.Namespace) -> None:
    """Let the sides take turns, and write a row for each of them after every turn."""
    runs: dict[str, list[dict]] = {side: [] for side in SIDES}
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), chosen.models, chosen.images)
        for _ in range(chosen.repeats):
            for side in SIDES:
                arguments = [sys.executable, __file__, "--side", side, "--folder", folder]
                out = subprocess.check_output([*arguments, "--threads", str(chosen.threads)])
                runs[side].append(json.loads(out.splitlines()[-1]))
                print(side, f"{runs[side][-1]['seconds']:.1f} s", flush=True)
            write(chosen, runs)
    print(chosen.result.read_text(encoding="utf-8"))


def write(chosen: argparse.Namespace, runs: dict[str, list[dict]]) -> None:
    """Write medians of seconds, and medians of the ratios of runs in the same turn."""
    rows = []
    for side, (name, precision) in SIDES.items():
        pairs = list(zip(runs["plain"], runs[side], strict=True))
        row = {"hardware": chosen.hardware, "command": "python tools/bench_evaluate.py"}
        row |= {"n": len(pairs), "models": chosen.models, "images": chosen.images * len(SETS)}
        row |= {"loop": name, "precision": precision}
        for key in ("seconds", "core_seconds"):
            row[key] = round(statistics.median(here[key] for _, here in pairs), 1)
            ratio = statistics.median(theirs[key] / here[key] for theirs, here in pairs)
            row[f"ratio_of_{key}"] = round(ratio, 2)
        row["same_class"] = round(_agreement(*(each["guesses"] for each in pairs[0])), 4)
        rows.append(row)
    write_table(chosen.result, rows)


def arguments() -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=3)
    parser.add_argument("--images", type=int, default=25, help="images in each of the seven sets")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hardware", default="2 cores of an AMD EPYC")
    parser.add_argument("--result", type=Path, default=RESULT)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    chosen = arguments()
    if chosen.side:
        print(json.dumps(once(chosen.side, chosen.folder, chosen.threads)))
    else:
        main(chosen)
