"""Benchmarks at the paper's scale: CLIP ViT-B/32 with 1,000 classes, random weights, 224 pixels.

`make bench-scale` prints the time and peak memory of each stage, on a GPU if there is one. Every
stage runs in a process of its own. The memory is the peak resident size, imports included. On a
GPU, it is also the peak that torch allocated there.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _library  # noqa: F401

ARCHITECTURE, CLASSES, MODELS = "ViT-B-32-quickgelu", 1000, 8
STAGES = ("start", "forward", "probe", "finetune", "mix", "greedy")


def start(folder: Path, images) -> int:
    """Write the pre-trained model, and copies with a little noise in place of fine-tuned models."""
    import torch

    from soups.models import checkpoints
    from soups.models.pretrained import Pretrained

    torch.manual_seed(0)
    pretrained = Pretrained(ARCHITECTURE, None)
    pretrained.save(folder / "pretrained.safetensors", {})
    state = pretrained.classifier(CLASSES).state_dict()
    for i in range(MODELS):
        moved = {name: t + 1e-4 * torch.randn_like(t) for name, t in state.items()}
        checkpoints.save(folder / f"m{i}.safetensors", moved, {"pretrained": "same"})
    return MODELS


def forward(folder: Path, images) -> int:
    """Compute the logits of all images."""
    from soups.models.forward import forward

    model = _model(folder)
    forward(model, images[:8])
    forward(model, images)
    return len(images)


def probe(folder: Path, images) -> int:
    """Train a linear probe for one epoch on the features of ten images per class."""
    import torch

    from soups.training.probe import linear_probe

    features = torch.nn.functional.normalize(torch.randn(10 * CLASSES, 512), dim=1)
    labels = torch.arange(len(features)) % CLASSES
    settings = {"lr": 0.001, "epochs": 1, "batch_size": 512, "weight_decay": 0, "seed": 0}
    linear_probe(features, labels, torch.zeros(CLASSES, 512), settings)
    return len(features)


def finetune(folder: Path, images) -> int:
    """Fine-tune for two steps with the settings of config.yaml, mixup and label smoothing."""
    import numpy as np
    import yaml

    from soups.jobs.resume import Resumable
    from soups.training.finetune import finetune

    row = yaml.safe_load(Path("config.yaml").read_text(encoding="utf-8"))["finetune"]
    row |= {"batch_size": len(images) // 2, "epochs": 1, "mixup": 0.5, "label_smoothing": 0.1}
    labels = np.arange(len(images)) % CLASSES
    state = Resumable(folder / "state", {})
    finetune(_model(folder), images, labels, np.arange(len(images)), row, state)
    return len(images)


def mix(folder: Path, images) -> int:
    """Mix the uniform soup of all models."""
    from soups.mixing.mix import mix
    from soups.mixing.recipes import uniform

    paths = _paths(folder)
    mix(uniform(paths), paths)
    return len(paths)


def greedy(folder: Path, images) -> int:
    """Choose the greedy soup of all models, with each average evaluated on all images."""
    import numpy as np

    from soups.evaluation.metric import ACCURACY
    from soups.mixing.mixed_model import MixedModel
    from soups.mixing.select import full, greedy
    from soups.mixing.trial import evaluate
    from soups.models.batch_norm import kept
    from soups.models.forward import forward

    paths = _paths(folder)
    labels = np.arange(len(images)) % CLASSES
    mixed = MixedModel(_model(folder), paths, kept)

    def score(names: tuple[str, ...]) -> float:
        average = mixed.average(names)
        return evaluate(lambda rows: forward(average, images, rows).numpy(), labels, ACCURACY).score

    greedy(list(paths), full(score))
    return len(paths)


def _paths(folder: Path) -> dict[str, Path]:
    return {f"m{i}": folder / f"m{i}.safetensors" for i in range(MODELS)}


def _model(folder: Path):
    from soups.jobs import devices
    from soups.models.classifier import load_classifier

    model = load_classifier(folder / "pretrained.safetensors", folder / "m0.safetensors")
    return model.to(devices.device())


def once(stage: str, folder: Path, count: int, threads: int, settings: dict) -> dict:
    """Run one stage in this process.

    Args:
        stage: name of the stage.
        folder: folder for the models, which the stage ``start`` writes.
        count: number of images.
        threads: number of CPU threads.
        settings: the ``compute`` section.

    Returns:
        seconds, number of images or models, and peak memory of the process and the GPU in MB.
    """
    import numpy as np
    import torch

    from soups.cost import speeds
    from soups.jobs import compute, job

    job.limit_threads(threads)
    compute.configure(settings)
    images = np.random.default_rng(0).integers(0, 256, (count, 224, 224, 3), np.uint8)
    begin = time.perf_counter()
    number = globals()[stage](folder, images)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    seconds = time.perf_counter() - begin
    peak = speeds.resident_peak() / 2**20
    gpu = torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0
    return {"seconds": seconds, "number": number, "peak_mb": peak, "gpu_mb": gpu}


def main(count: int, threads: int, settings: dict) -> None:
    """Print a row for each stage.

    Args:
        count: number of images.
        threads: number of CPU threads.
        settings: the ``compute`` section.
    """
    import torch

    device = (
        torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {threads} threads"
    )
    print(f"{ARCHITECTURE}, {CLASSES} classes, {count} images, {device}, {settings}\n")
    print("| stage | number | seconds | per second | peak memory (MB) | on the GPU (MB) |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for stage in STAGES:
            command = [sys.executable, __file__, stage, folder, str(count), str(threads)]
            out = subprocess.check_output([*command, json.dumps(settings)], text=True)
            row = json.loads(out.splitlines()[-1])
            what = "models" if stage in ("start", "mix", "greedy") else "images"
            print(
                f"| {stage} | {row['number']} {what} | {row['seconds']:.1f} "
                f"| {row['number'] / row['seconds']:.3g} | {row['peak_mb']:,.0f} "
                f"| {row['gpu_mb']:,.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in STAGES:
        stage, folder, count, threads, settings = sys.argv[1:]
        result = once(stage, Path(folder), int(count), int(threads), json.loads(settings))
        print(json.dumps(result))
    else:
        arguments = sys.argv[1:]
        main(
            int(arguments[0]) if arguments else 64,
            int(arguments[1]) if arguments[1:] else 1,
            json.loads(arguments[2]) if arguments[2:] else {},
        )
