"""What the parts of bench_gpu.py share: sizes, models, rates, and a fine-tune that is timed."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import yaml

import _library  # noqa: F401
from soups.data.decode import ImageFiles
from soups.images.samples import random_images
from soups.jobs import compute, devices, events, timing
from soups.jobs.resume import Resumable
from soups.models.classifier import Classifier
from soups.models.pretrained import Pretrained
from soups.training.finetune import finetune

CONFIG = yaml.safe_load((Path(__file__).parents[1] / "config.yaml").read_text(encoding="utf-8"))


@dataclass(frozen=True)
class Sizes:
    """What is measured.

    Attributes:
        architecture: see `Pretrained`.
        classes: number of classes.
        side: pixels per side of an image.
        images: number of images of an epoch.
        batch: images of a training step.
        steps: steps between two readings of the clock.
        repeats: readings of the clock.
        models: number of checkpoints.
        in_a_set: images of each set on which checkpoints are evaluated.
        workers: processes that read JPEGs.
        words: vocabulary of the text tower, None for CLIP's own.
    """

    architecture: str | dict
    classes: int
    side: int
    images: int
    batch: int
    steps: int
    repeats: int
    models: int
    in_a_set: int
    workers: int
    words: list[str] | None = None

    def fewer(self) -> "Sizes":
        """The sizes for float32, which is slower on a GPU."""
        return replace(self, steps=max(1, self.steps // 5), repeats=2)


FULL = Sizes("ViT-B-32-quickgelu", 1000, 224, 16_384, 512, 15, 5, 8, 500, 15)
SMALL = Sizes(CONFIG["model"]["architecture"], 4, 32, 32, 16, 1, 2, 2, 4, 1, ["a"])


def say(what: str, values: list[float], unit: str, digits: int = 0) -> None:
    """Print the median of a figure's values."""
    value = round(statistics.median(values), digits or None)
    print(json.dumps({"what": what, "value": value, "unit": unit, "n": len(values)}), flush=True)


def rates(call: Callable, count: int, sizes: Sizes) -> list[float]:
    """Examples per second of a call that processes ``count`` examples, one value for each reading.

    The first calls warm up and are not counted.
    """

    def block() -> None:
        for _ in range(sizes.steps):
            call()

    timing.once(block)
    return [sizes.steps * count / timing.once(block) for _ in range(sizes.repeats)]


def new_model(sizes: Sizes) -> Classifier:
    """A classifier with random weights on the device."""
    torch.manual_seed(0)
    model = Pretrained(sizes.architecture, sizes.words).classifier(sizes.classes)
    torch.nn.init.normal_(model.head.weight, std=0.02)
    return model.to(devices.device())


def batch_on_device(sizes: Sizes, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images, uint8, and their labels."""
    images = torch.from_numpy(random_images(count, sizes.side)).to(devices.device())
    return images, torch.arange(count, device=images.device) % sizes.classes


class Timed(Resumable):
    """A saved state that also notes when each epoch ends."""

    def __init__(self, *given) -> None:
        super().__init__(*given)
        self.ended: list[float] = []

    def keep(self, done: int, /, **parts) -> None:
        super().keep(done, **parts)
        self.ended.append(time.perf_counter())


def tune(sizes: Sizes, folder: Path, inputs, settings: dict, changes: dict, name: str) -> None:
    """Fine-tune for some epochs, of which the first is not counted, and print two figures."""
    compute.configure(settings | {"device": devices.device().type})
    row = CONFIG["finetune"] | {"batch_size": sizes.batch, "epochs": 1 + min(3, sizes.repeats)}
    labels = np.arange(len(inputs)) % sizes.classes
    state = Timed(folder / "state", {"name": name})
    log = folder / f"{len(list(folder.iterdir()))}.log"
    events.attach(log)
    workers = sizes.workers if changes or isinstance(inputs, ImageFiles) else 0
    given = inputs, labels, np.arange(len(inputs)), row | {"augment": 0, "mixup": 0} | changes
    finetune(new_model(sizes), *given, state, workers=workers)
    events.detach()
    state.wait()
    state.remove()
    seen = len(inputs) // sizes.batch * sizes.batch
    say(name, list(seen / np.diff(state.ended)), "images/s")
    waits = [
        each["data_wait"] for each in events.read(events.beside(log)) if each["event"] == "epoch"
    ]
    say(f"{name}: share of time waiting for data", waits[1:], "", 3)
