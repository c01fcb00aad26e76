"""Measure greedy over checkpoints of CLIP ViT-B/32, with JPEGs on disk, against the plain loop.

`python tools/bench_greedy.py prepare FOLDER` makes the checkpoints, the images and the held-out
logits of each model. `python tools/bench_greedy.py run FOLDER` then times whole processes in turn,
and writes `results/recorded/bench/greedy.csv`. The *plain loop* is our own version of what the
authors' code does: for each candidate it loads its weights, averages, copies the weights into a
new model, and decodes and evaluates all images.

The models are random. What a trial costs depends on how many errors a candidate has, and on where
they are, so the sweep imitates the published one: 17% of the held-out labels are wrong for the
final soup, the members have the ranks of the 72 published models (1, 2, 11, 17, 18), and the
averages with other models are a little worse. Models are copies of one start with noise. Members
have less noise. The order of the trials is given, because the accuracy of a random model says
little.
"""

import argparse
import copy
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _table import write_table

import _library  # noqa: F401

ARCHITECTURE, CLASSES, SIZE = "ViT-B-32-quickgelu", 1000, 224
MEMBERS = (1, 2, 11, 17, 18)  # ranks of the members of the published greedy soup
ERRORS = 0.17  # of the published greedy soup on its held-out set, about
NOISE, MORE_NOISE = 0.003, 0.006  # of members and of other models, in deviations of a tensor
ACROSS, DOWN = 500, 375  # pixels of an image, the usual size in ImageNet
FEATURES = 64  # principal components of the features that the random head reads
ROOT = Path(__file__).resolve().parents[1]


def prepare(folder: Path, models: int, count: int, architecture: str) -> None:
    """Write images, checkpoints, labels and held-out logits."""
    import torch

    from soups.jobs import devices
    from soups.mixing.mixed_model import MixedModel
    from soups.models import checkpoints
    from soups.models.batch_norm import kept
    from soups.models.forward import forward
    from soups.models.pretrained import Pretrained

    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    (folder / "images").mkdir(parents=True)
    for i in range(count):
        _picture(rng).save(folder / "images" / f"{i:05d}.jpg", quality=90)
    images = _decoded(folder)
    pretrained = Pretrained(architecture, None)
    pretrained.save(folder / "pretrained.safetensors", {})
    model = pretrained.classifier(CLASSES).to(devices.device()).eval()
    model.head.weight.data = _head(forward(model.features, images)).to(devices.device())
    start = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    for i in range(models):
        noise = NOISE if i + 1 in MEMBERS else MORE_NOISE
        state = {name: _noisy(tensor, noise) for name, tensor in start.items()}
        checkpoints.save(_paths(folder, models)[f"m{i:02d}"], state, {"pretrained": "same"})
    mixed = MixedModel(model, _paths(folder, models), kept)
    for name in _paths(folder, models):
        np.save(folder / f"{name}.npy", forward(mixed.single(name), images, exact=True).numpy())
    members = [f"m{rank - 1:02d}" for rank in MEMBERS if rank <= models]
    labels = forward(mixed.average(members), images, exact=True).numpy().argmax(1)
    wrong = rng.random(count) < ERRORS
    labels[wrong] = (labels[wrong] + rng.integers(1, CLASSES, wrong.sum())) % CLASSES
    np.save(folder / "labels.npy", labels)


def _picture(rng: np.random.Generator):
    """A picture with large shapes and some noise, so that its JPEG has the size of a photograph."""
    from PIL import Image

    small = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
    pixels = np.asarray(small.resize((ACROSS, DOWN), Image.Resampling.BICUBIC), np.float32)
    return Image.fromarray((pixels + rng.normal(0, 12, pixels.shape)).clip(0, 255).astype(np.uint8))


def _head(features):
    """Random directions of whitened features, so that predictions differ between images."""
    import torch

    mean = features.mean(0)
    _, scale, axes = torch.pca_lowrank(features - mean, q=min(FEATURES, len(features) - 1))
    weight = torch.randn(CLASSES, len(scale)) @ (axes / scale).T
    along = mean / mean.norm()
    return weight - (weight @ along)[:, None] * along


def _noisy(tensor, amount: float):
    import torch

    if not tensor.is_floating_point() or tensor.numel() < 2:
        return tensor
    return tensor + amount * tensor.std() * torch.randn(tensor.shape)


def _paths(folder: Path, models: int) -> dict[str, Path]:
    return {f"m{i:02d}": folder / f"m{i:02d}.safetensors" for i in range(models)}


def _files(folder: Path):
    from soups.data.decode import ImageFiles

    return ImageFiles(folder / "images", sorted(p.name for p in folder.glob("images/*.jpg")), SIZE)


def _decoded(folder: Path, threads: int = 2) -> np.ndarray:
    from soups.data import decode

    return np.concatenate(list(decode.blocks(_files(folder), threads)))


def here(folder: Path, models: int, threads: int) -> dict:
    """Choose by the rule of this project. The images are decoded once."""
    from soups.mixing import select
    from soups.mixing.kitchen import Kitchen
    from soups.models.batch_norm import kept
    from soups.models.classifier import load_classifier

    paths = _paths(folder, models)
    kitchen = Kitchen(
        ingredients=list(paths),
        pool=[],
        start=None,
        paths=paths,
        logits=lambda name: np.load(folder / f"{name}.npy"),
        labels=np.load(folder / "labels.npy"),
        inputs=_decoded(folder, threads),
        make_model=lambda: load_classifier(folder / "pretrained.safetensors", paths["m00"]),
        settle=kept,
    )
    chosen, trace = select.greedy(list(paths), kitchen.average)
    refused = [step for step in trace if not step["accepted"]]
    return {
        "chosen": chosen,
        "accuracy": kitchen.average(chosen).score,
        "evaluated": kitchen.average.evaluated,
        "refused": sum(step["evaluated"] for step in refused),
    }


def _stacked(batch: list[np.ndarray]):
    import torch

    return torch.from_numpy(np.stack(batch))


def plain(folder: Path, models: int, threads: int) -> dict:
    """Choose by the plain loop, with all images decoded and evaluated for each candidate."""
    import torch
    from safetensors.torch import load_file
    from torch.utils.data import DataLoader

    from soups.jobs import devices
    from soups.models.classifier import load_classifier

    paths, device = _paths(folder, models), devices.device()
    base = load_classifier(folder / "pretrained.safetensors", paths["m00"])
    labels, logits = np.load(folder / "labels.npy"), np.load(folder / "m00.npy")
    loader = DataLoader(
        _files(folder),
        batch_size=128,
        num_workers=threads,
        collate_fn=_stacked,
    )

    def accuracy(state) -> float:
        model = copy.deepcopy(base)
        model.load_state_dict(state)
        model = model.to(device).eval()
        with torch.inference_mode():
            guesses = torch.cat([model(images.to(device)).argmax(1).cpu() for images in loader])
        return float((guesses.numpy() == labels).mean())

    chosen, soup = ["m00"], load_file(paths["m00"])
    best, scores = float((logits.argmax(1) == labels).mean()), {}
    for name in list(paths)[1:]:
        more, k = load_file(paths[name]), len(chosen)
        grown = {key: (k * value + more[key]) / (k + 1) for key, value in soup.items()}
        scores[name] = accuracy(grown) - best
        if scores[name] >= 0:
            chosen, soup, best = [*chosen, name], grown, best + scores[name]
    lost = [-gap for gap in scores.values() if gap < 0]
    count = (models - 1) * len(labels)
    return {"chosen": chosen, "accuracy": best, "evaluated": count, "gap": float(np.median(lost))}


def _processor_seconds() -> float:
    """Processor time of all ended child processes. Other jobs on the machine matter less to it."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(folder: Path, models: int, threads: int, repeats: int, hardware: str, out: Path) -> None:
    """Time both ways in turn, and write a row for each."""
    rows = {"here": [], "plain": []}
    for _ in range(repeats):
        for way, done in rows.items():
            command = [sys.executable, __file__, way, folder]
            command += ["--models", models, "--threads", threads]
            begin, before = time.perf_counter(), _processor_seconds()
            text = subprocess.check_output(list(map(str, command)), text=True)
            took = {"seconds": time.perf_counter() - begin, "cpu": _processor_seconds() - before}
            done.append(json.loads(text.splitlines()[-1]) | took)
            print(way, done[-1], flush=True)
    if len({tuple(row["chosen"]) for done in rows.values() for row in done}) > 1:
        raise SystemExit("error: the two ways chose different soups")
    images = len(np.load(folder / "labels.npy"))

    def ratio(key: str) -> float:
        pairs = zip(rows["plain"], rows["here"], strict=True)
        return round(statistics.median(a[key] / b[key] for a, b in pairs), 2)

    def median(way: str, key: str) -> float:
        return round(statistics.median(each[key] for each in rows[way]), 1)

    first = rows["here"][0]
    refused = models - len(first["chosen"])
    row = {
        "hardware": hardware,
        "command": f"python tools/bench_greedy.py run FOLDER --models {models} --images {images} "
        f"--threads {threads} --repeats {repeats}",
        "n": repeats,
        "models": models,
        "images": images,
        "chosen": len(first["chosen"]),
        "accuracy": round(first["accuracy"], 4),
        "median_gap_of_refused": round(rows["plain"][0]["gap"], 4),
        "plain_seconds": median("plain", "seconds"),
        "here_seconds": median("here", "seconds"),
        "plain_core_seconds": median("plain", "cpu"),
        "here_core_seconds": median("here", "cpu"),
        "ratio": ratio("seconds"),
        "ratio_processor_time": ratio("cpu"),
        "evaluated_share": round(first["evaluated"] / ((models - 1) * images), 4),
        "evaluated_share_of_refused": round(first["refused"] / max(1, refused * images), 4),
    }
    write_table(out, [row])
    print(row)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["prepare", "run", "here", "plain"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=8)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--architecture", default=ARCHITECTURE)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hardware", default="2 cores of an AMD EPYC")
    out = ROOT / "results" / "recorded" / "bench" / "greedy.csv"
    parser.add_argument("--out", type=Path, default=out)
    asked = parser.parse_args()
    if asked.what == "prepare":
        prepare(asked.folder, asked.models, asked.images, asked.architecture)
    elif asked.what == "run":
        run(asked.folder, asked.models, asked.threads, asked.repeats, asked.hardware, asked.out)
    else:
        from soups.jobs import job

        job.limit_threads(asked.threads)
        print(json.dumps(globals()[asked.what](asked.folder, asked.models, asked.threads)))


if __name__ == "__main__":
    main()
