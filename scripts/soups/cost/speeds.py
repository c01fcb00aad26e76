"""How long things take on this machine: a few seconds each of what a run does for hours.

The functions that are timed are those of a run, on random weights and made-up images.
"""

import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from soups.data.decode import QUALITY, ImageFiles, square
from soups.data.loading import Pixels, Transforms
from soups.errors import UserError
from soups.jobs import compute, devices
from soups.mixing import learned, recipes
from soups.mixing.mix import mix
from soups.models import blocks, checkpoints
from soups.models.classifier import Classifier, Pretrained, bring_in
from soups.models.forward import BATCH, GPU_BATCH, forward
from soups.training.finetune import finetune
from soups.training.probe import linear_probe
from soups.world.sets import draw_set

SECONDS = 3.0  # of measuring, for each speed
PHOTO = (400, 350)  # pixels; ImageNet's are about so large
PHOTOS = 32
STEPS = 4  # of training between two looks at a GPU's clock
FEW, MORE = 4, 16  # images, where a whole batch takes too long


def random_model(architecture: str | dict, words: list[str]) -> Pretrained:
    """A pre-trained model's shape with random weights; nothing is fetched."""
    if isinstance(architecture, dict):
        return Pretrained(architecture, words)
    return bring_in(architecture, None)


class _Enough(Exception):
    """Training has gone on for long enough."""


class _Stopwatch:
    """In place of a training's saved state: looks at the clock at the end of every epoch."""

    def __init__(self, seconds: float) -> None:
        self._wanted, self._begin = seconds, 0.0
        self.seconds, self.epochs = 0.0, -1

    def restore(self, /, **parts) -> int:
        return 0

    def keep(self, done: int, /, **parts) -> None:
        now = time.perf_counter()
        self.epochs += 1
        if self.epochs == 0:  # everything is warm now
            self._begin = now
            return
        self.seconds = now - self._begin
        if self.seconds >= self._wanted:
            raise _Enough


def training(model: Classifier, row: dict, side: int) -> tuple[float, int]:
    """Seconds per image of fine-tuning, without reading and transforming single images.

    A step takes a time for every image and a time for itself. Where a CPU takes too long for a
    whole batch, both follow from small ones.

    Args:
        model: its weights are changed.
        row: hyperparameters; of several GPUs, this one takes its part of the batch.
        side: pixels of an image.

    Returns:
        seconds, and the most images that they were measured with.

    Raises:
        UserError: if a step does not fit into memory.
    """
    batch = -(-row["batch_size"] // compute.current().gpus)
    try:
        if devices.kind() != "cpu":
            return _step(model, row, batch, side, STEPS, SECONDS) / batch, batch
        few = _step(model, row, min(batch, FEW), side, 1, 0)
        if batch <= MORE or few / FEW * batch <= SECONDS:
            return _step(model, row, batch, side, 1, SECONDS) / batch, batch
        more = _step(model, row, MORE, side, 1, 0)
        each = max(more - few, 0) / (MORE - FEW)
        return each + max(few - FEW * each, 0) / batch, MORE
    except torch.OutOfMemoryError:
        parts = compute.current().accumulate
        raise UserError(
            f"a training step of {batch} images does not fit into the memory of {device_name()}; "
            f"compute.accumulate is {parts}, expected more parts of a batch, such as {2 * parts}"
        ) from None


def _step(model, row: dict, batch: int, side: int, steps: int, seconds: float) -> float:
    """Seconds of a step, from so many of them at a time for at least ``seconds``."""
    classes = model.head.out_features
    rows = np.tile(np.arange(batch), steps)
    labels = np.random.default_rng(0).integers(0, classes, batch)
    teacher = np.zeros((len(rows), classes), np.float32) if row["distill"] else None
    alone = {"crop": 1, "flip": 0, "rand_augment_ops": 0, "batch_size": batch}
    watch = _Stopwatch(seconds)
    with _quiet(), suppress(_Enough):
        h = row | alone | {"epochs": 10**6}  # until it is enough
        finetune(model, _images(batch, side), labels, rows, h, watch, teacher)
    return watch.seconds / (watch.epochs * steps)


@contextmanager
def _quiet():
    """Training says how far it is, which is nowhere here."""
    log = logging.getLogger("soups")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def evaluation(model: Classifier, side: int) -> float:
    """Seconds per image of `evaluate.forward`."""
    model = model.to(devices.device()).eval()
    cpu = devices.kind() == "cpu"
    batch = compute.current().batch_size or (BATCH if cpu else GPU_BATCH)
    images = _images(2 * batch, side)
    few = images[:FEW]
    forward(model, few)
    if cpu and _once(lambda: forward(model, few)) / FEW * len(images) > SECONDS:
        images = images[:MORE]
    return _repeated(lambda: forward(model, images)) / len(images)


def probing(model: Classifier, settings: dict) -> float:
    """Seconds per image and epoch of the linear probe, whose features are known."""
    n = 8 * settings["batch_size"]
    start = torch.zeros_like(model.head.weight, device="cpu")
    features = torch.nn.functional.normalize(torch.randn(n, start.shape[1]), dim=1)
    labels = torch.arange(n) % len(start)
    return _repeated(lambda: linear_probe(features, labels, start, settings | {"epochs": 1})) / n


def mixing(pair: Sequence[Path], merge: dict | None = None) -> float:
    """Seconds per byte of averaging checkpoints, or of merging them element by element.

    Args:
        pair: two of them, which stand for all.
        merge: the rule, see `merging`.
    """
    paths = {f"m{i}": pair[i % 2] for i in range(2 * len(pair))}
    recipe = recipes.recipe(dict.fromkeys(paths, 1 / len(paths)), "probe", merge)
    total = len(paths) * checkpoints.Checkpoint(pair[0]).size()
    return _repeated(lambda: mix(recipe, paths)) / total


def two_models(model: Classifier, folder: Path) -> list[Path]:
    """Checkpoints of a model and of one beside it, to mix."""
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    beside = {n: t + 1e-3 * torch.randn(t.shape) if t.is_floating_point() else t
              for n, t in state.items()}  # fmt: skip
    paths = [folder / f"{i}.safetensors" for i in range(2)]
    for path, tensors in zip(paths, (state, beside), strict=True):
        checkpoints.save(path, tensors, {"pretrained": "random"})
    return paths


def learning(model: Classifier, path: Path, options: dict, side: int) -> tuple[float, float]:
    """Seconds of a learned soup's step: per image, and per byte of its ingredients.

    Args:
        model: its weights are changed.
        path: a checkpoint, which stands for all ingredients.
        options: of the method.
        side: pixels of an image.
    """
    checkpoint, most = checkpoints.Checkpoint(path), 5
    group = blocks.groups(list(checkpoint.shapes()), "tensor")

    def step(number: int, n: int) -> float:
        images, labels = _images(n, side), torch.zeros(n, dtype=torch.int64)
        fit = {"lr": options["lr"], "epochs": 1, "batch_size": n, "seed": 0}
        ingredients = learned.within([path] * number, 0)
        with _quiet():
            return _repeated(
                lambda: learned.learn(model, ingredients, images, labels, group, **fit)
            )

    n = options["batch_size"] if devices.kind() != "cpu" else min(MORE, options["batch_size"])
    one, images = step(1, 1), step(1, n)
    ingredients = max(step(most, 1) - one, 0) / (most - 1)
    return max(images - one, 0) / max(n - 1, 1), ingredients / checkpoint.size()


def photos(folder: Path, size: int, short: int | None = None) -> ImageFiles:
    """JPEGs with the spectrum of photographs, so that they take as many bytes and as long.

    Args:
        folder: to write them to.
        size: pixels a side that they are decoded to.
        short: pixels of their short side, in place of `PHOTO`'s.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scale = short / min(PHOTO) if short else 1
    width, height = (round(side * scale) for side in PHOTO)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / width)
    rng = np.random.default_rng(0)

    def layer() -> np.ndarray:
        phases = np.exp(2j * np.pi * rng.random(amplitude.shape))
        values = np.fft.irfft2(amplitude * phases, (height, width))
        return (values - values.mean()) / values.std()

    names = [f"{i}.jpg" for i in range(PHOTOS)]
    for name in names:
        grey = layer()  # brightness varies more than colours do
        pixels = np.stack([128 + 45 * grey + 10 * layer() for _ in range(3)], axis=-1)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(folder / name, "JPEG", quality=QUALITY)
    return ImageFiles(folder, names, size)


def decoding(images: ImageFiles) -> float:
    """Seconds per image of one thread that decodes, resizes and crops."""
    rows = range(len(images))
    return _repeated(lambda: [square(images._image(row), images.size) for row in rows]) / len(rows)


def loading(images: ImageFiles | np.ndarray, row: dict) -> float:
    """Seconds per image of one process that reads training images and transforms each.

    Zero for an array that is taken as it is: fine-tuning has been measured with that.
    """
    transforms = Transforms.of(row, images.shape[1])
    if isinstance(images, np.ndarray) and transforms is None:
        return 0.0
    pixels, rows = Pixels(images, transforms, row["seed"]), np.arange(len(images))
    return _repeated(lambda: pixels.__getitems__((0, rows))) / len(rows)


def drawing(seed: int, variants: int) -> float:
    """Seconds per image of the world; shapes are prepared once for many."""
    few, many = (_once(lambda n=n: draw_set("train", n, seed, variants)) for n in (200, 2200))
    return (many - few) / 2000


def starting() -> float:
    """Seconds until a job has imported what it needs."""
    here = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", "import soups.train, soups.model"]
    environment = os.environ | {"PYTHONPATH": here}
    return _once(lambda: subprocess.run(command, check=True, env=environment))


def peak_memory() -> int:
    """Most bytes so far: what torch allocated on a GPU, or what of this process was resident."""
    if devices.kind() == "cuda":
        return torch.cuda.max_memory_allocated(devices.device())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def device_name() -> str:
    """The device in words."""
    if devices.kind() == "cuda":
        return torch.cuda.get_device_name(devices.device())
    if devices.kind() == "mps":
        return "an Apple GPU"
    return f"the CPU, {torch.get_num_threads()} thread(s)"


def _images(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, side, side, 3), np.uint8)


def _once(call: Callable) -> float:
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def _repeated(call: Callable) -> float:
    """Seconds of a call, the first one not counted unless it is long enough by itself."""
    first = _once(call)
    if first > SECONDS:
        return first
    spent, calls = 0.0, 0
    while spent < SECONDS / 2 or not calls:
        spent, calls = spent + _once(call), calls + 1
    return spent / calls
