"""Measure training, evaluation and reading on a GPU, each beside a bare loop.

`python tools/bench_gpu.py training` measures CLIP ViT-B/32 with random weights under 1,000 classes.
The other parts are evaluation, checkpoints and readers. With `--small`, the miniature's model runs
on the CPU, to try the tool. Each figure is printed as a JSON object as soon as it is measured. The
*bare loops* are loops of plain torch that do the same work on data that is on the GPU already. The
*plain loop* over checkpoints decodes all images again for each of them.
"""

import argparse
import statistics
import tempfile
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

import _library  # noqa: F401
from _gpu import FULL, SMALL, Sizes, batch_on_device, new_model, rates, say, tune
from soups.data import decode
from soups.data.decode import ImageFiles
from soups.data.loading import Reader, Transforms
from soups.images.samples import photos, random_images
from soups.jobs import compute, devices, job, timing
from soups.models import checkpoints
from soups.models.classifier import Classifier, load_classifier
from soups.models.forward import forward
from soups.models.pretrained import Pretrained

SETS = 7  # the held-out set, the test set and five shifts
CHANGES = {  # of images that are read from JPEGs
    "centre": {},
    "crop and flip": {"crop": 0.9, "flip": 0.5},
    "crop, flip and RandAugment": {
        "crop": 0.9, "flip": 0.5, "rand_augment_ops": 2, "rand_augment_magnitude": 9,
    },
}  # fmt: skip


def training(sizes: Sizes, folder: Path) -> None:
    """A bare training loop, and fine-tunes in several modes."""
    bare_training(sizes)
    fast = {"precision": "bfloat16", "deterministic": False}
    modes = [{"precision": "bfloat16"}, fast, {"precision": "float32"}]
    modes += [fast | {"compile": True}] if sizes is FULL else []
    for settings in modes:
        slow = settings["precision"] == "float32"
        count = max(sizes.batch, sizes.images // 4) if slow else sizes.images
        inputs = random_images(count, sizes.side)
        name = ", ".join(f"{key} {value}" for key, value in settings.items())
        tune(sizes, folder, inputs, settings, {}, f"finetune from an array, {name}")


def bare_training(sizes: Sizes) -> None:
    """Steps of plain torch on one batch that is on the GPU, and their share of its peak."""
    device, side = devices.device(), 8192 if sizes is FULL else 64
    matrix = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    products = [each / 1e12 for each in rates(lambda: matrix @ matrix, 2 * side**3, sizes)]
    say("matrix product, bfloat16", products, "TFLOP/s", 4)
    model = new_model(sizes).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    images, labels = batch_on_device(sizes, sizes.batch)

    def step(precision: torch.dtype) -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = F.cross_entropy(model(images).float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    with FlopCounterMode(display=False) as counter:
        step(torch.float32)
    teraflop = counter.get_total_flops() / sizes.batch / 1e12
    for precision in (torch.bfloat16, torch.float32):
        name = f"bare training loop, {str(precision).removeprefix('torch.')}"
        chosen = sizes if precision == torch.bfloat16 else sizes.fewer()
        found = rates(lambda precision=precision: step(precision), sizes.batch, chosen)
        say(name, found, "images/s")
        share = statistics.median(found) * teraflop / statistics.median(products)
        say(f"{name}: share of the bfloat16 matrix product", [share], "", 3)


@torch.inference_mode()
def evaluation(sizes: Sizes, folder: Path) -> None:
    """A bare forward loop, and `forward` from an array."""
    device, model = devices.device(), new_model(sizes).eval()
    images, _ = batch_on_device(sizes, 4 * sizes.batch)
    inputs = random_images(sizes.images, sizes.side)
    for name in ("bfloat16", "float32"):
        chosen = sizes if name == "bfloat16" else sizes.fewer()
        with torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16"):
            found = rates(lambda: model(images), len(images), chosen)
        say(f"bare forward loop, {name}, batch {len(images)}", found, "images/s")
        compute.configure({"device": device.type, "inference": name})
        found = rates(lambda: forward(model, inputs), len(inputs), replace(chosen, steps=1))
        say(f"forward from an array, {name}", found, "images/s")


def jpegs(sizes: Sizes, folder: Path, count: int) -> ImageFiles:
    """Images in files: a few photos, each of them many times."""
    made = photos(folder / "photos", sizes.side)
    names = sorted(path.name for path in (folder / "photos").glob("*.jpg"))
    return ImageFiles(made.folder, [names[i % len(names)] for i in range(count)], sizes.side)


@torch.inference_mode()
def checkpoints_on_sets(sizes: Sizes, folder: Path) -> None:
    """Evaluate checkpoints on seven sets: decoded once, against the plain loop."""
    pretrained = Pretrained(sizes.architecture, sizes.words)
    pretrained.save(folder / "pretrained.safetensors", {})
    paths = [folder / f"{i}.safetensors" for i in range(sizes.models)]
    for path in paths:
        checkpoints.save(path, pretrained.classifier(sizes.classes).state_dict(), {})
    files = jpegs(sizes, folder, sizes.in_a_set)
    device = devices.device()

    def load(path: Path) -> Classifier:
        return load_classifier(folder / "pretrained.safetensors", path).to(device)

    def here() -> None:
        sets = [np.concatenate(list(decode.blocks(files, sizes.workers))) for _ in range(SETS)]
        for path in paths:
            model = load(path)
            for images in sets:
                forward(model, images)

    def plain() -> None:
        for path in paths[:2]:
            model = load(path)
            for _ in range(SETS):
                batches = DataLoader(
                    files, sizes.batch, num_workers=sizes.workers, collate_fn=stacked
                )
                for images in batches:
                    model(images.to(device)).cpu()

    name = f"{sizes.models} checkpoints on {SETS} sets of {sizes.in_a_set} JPEGs"
    forward(load(paths[0]), files[np.arange(len(files))])
    took: dict[str, float] = {}
    for title, way, precision in (
        ("decoded once, float32", here, "float32"),
        ("decoded once, bfloat16", here, "bfloat16"),
        ("plain loop, float32", plain, "float32"),
    ):
        compute.configure({"device": device.type, "inference": precision})
        took[title] = timing.once(way) / (2 if way is plain else len(paths))
        say(f"{name}, {title}", [took[title]], "s a checkpoint", 2)
    for precision in ("float32", "bfloat16"):
        ratio = took["plain loop, float32"] / took[f"decoded once, {precision}"]
        say(f"{name}: plain loop over decoded once in {precision}", [ratio], "×", 2)


def stacked(images: list[np.ndarray]) -> torch.Tensor:
    """A batch of decoded images."""
    return torch.from_numpy(np.stack(images))


def readers(sizes: Sizes, folder: Path) -> None:
    """Reading JPEGs with worker processes, and a fine-tune that reads them."""
    files = jpegs(sizes, folder, 2 * sizes.images)
    small = max(1, sizes.batch // 8)  # so that many batches come from every worker
    batches = np.arange(sizes.images).reshape(-1, small)
    for title, changes in CHANGES.items():
        transforms = Transforms.of(changes, sizes.side)
        with closing(Reader(files, sizes.workers, transforms).read(batches)) as ready:
            ends = [time.perf_counter() for _ in ready][2 * sizes.workers :]
        name = f"reading JPEGs with {sizes.workers} workers, {title}"
        say(name, [(len(ends) - 1) * small / (ends[-1] - ends[0])], "images/s")
    settings = {"precision": "bfloat16", "deterministic": False}
    tune(sizes, folder, files, settings, changes, f"finetune from JPEGs with {title}, bfloat16")


PARTS = {
    "training": training,
    "evaluation": evaluation,
    "checkpoints": checkpoints_on_sets,
    "readers": readers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--small", action="store_true", help="the miniature's model on the CPU")
    asked = parser.parse_args()
    sizes = SMALL if asked.small else FULL
    job.limit_threads(1 + sizes.workers)
    compute.configure({"device": "cpu" if asked.small else "cuda"})
    with tempfile.TemporaryDirectory() as folder:
        PARTS[asked.part](sizes, Path(folder))


if __name__ == "__main__":
    main()
