"""The speed of each kind of work on this machine, measured for a few seconds.

Each function times code that real runs use, on random weights and on the examples of a
`data.samples.SampleSet`.
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

from soups.errors import UserError
from soups.jobs import compute, devices, timing
from soups.mixing import learned, recipes
from soups.mixing.mix import mix
from soups.models import blocks, checkpoints
from soups.models.classifier import Classifier
from soups.models.forward import BATCH, GPU_BATCH, forward
from soups.training.finetune import finetune
from soups.training.probe import linear_probe

STEPS = 4  # training steps on a GPU between two readings of the clock
FEW, MORE = 4, 16  # batch sizes on a CPU that is too slow for a whole batch


class _Enough(Exception):
    """Raised to end a training that has been measured for long enough."""


class _Stopwatch:
    """Measures the time of epochs. Training uses it in place of its saved state.

    Args:
        seconds: time after which training ends.
    """

    busy = False  # nothing is written

    def __init__(self, seconds: float) -> None:
        self._wanted, self._begin = seconds, 0.0
        self.seconds, self.epochs = 0.0, -1

    def restore(self, /, **parts) -> int:
        return 0

    def keep(self, done: int, /, **parts) -> None:
        now = time.perf_counter()
        self.epochs += 1
        if self.epochs == 0:  # the first epoch warms up caches and is not counted
            self._begin = now
            return
        self.seconds = now - self._begin
        if self.seconds >= self._wanted:
            raise _Enough

    def wait(self) -> None:
        pass


def training(model: Classifier, row: dict, inputs: Callable) -> tuple[float, int]:
    """Seconds per example of fine-tuning, without the time to load and transform examples.

    The time of a step has a part per example and a fixed part. If a CPU is too slow for a whole
    batch, both parts are derived from two small batches.

    Args:
        model: the model to train. Its weights change.
        row: hyperparameters. With several GPUs, this one processes its share of the batch.
        inputs: function from a number to that number of examples, see `SampleSet`.

    Returns:
        seconds per example, and the largest batch that was measured.

    Raises:
        UserError: if a step does not fit into memory.
    """
    batch = -(-row["batch_size"] // compute.current().gpus)
    try:
        if devices.kind() != "cpu":
            return _step(model, row, batch, inputs, STEPS, timing.SECONDS) / batch, batch
        few = _step(model, row, min(batch, FEW), inputs, 1, 0)
        if batch <= MORE or few / FEW * batch <= timing.SECONDS:
            return _step(model, row, batch, inputs, 1, timing.SECONDS) / batch, batch
        more = _step(model, row, MORE, inputs, 1, 0)
        each = max(more - few, 0) / (MORE - FEW)
        return each + max(few - FEW * each, 0) / batch, MORE
    except torch.OutOfMemoryError:
        parts = compute.current().accumulate
        raise UserError(
            f"compute.accumulate is {parts}, but a training step of {batch} "
            f"{model.problem.examples} does not fit "
            f"into the memory of {device_name()}, expected more parts of a batch, such as "
            f"{2 * parts}"
        ) from None


def _step(model, row: dict, batch: int, inputs: Callable, steps: int, seconds: float) -> float:
    """Seconds per training step.

    Args:
        model: the model to train.
        row: hyperparameters.
        batch: examples per step.
        inputs: function from a number to that number of examples, see `SampleSet`.
        steps: steps between two readings of the clock.
        seconds: shortest time to measure.
    """
    classes = model.head.out_features
    rows = np.tile(np.arange(batch), steps)
    labels = np.random.default_rng(0).integers(0, classes, batch)
    teacher = np.zeros((len(rows), classes), np.float32) if row["distill"] else None
    alone = {"crop": 1, "flip": 0, "rand_augment_ops": 0, "batch_size": batch}
    watch = _Stopwatch(seconds)
    with _quiet(), suppress(_Enough):
        hyperparameters = row | alone | {"epochs": 10**6}  # the stopwatch ends the training
        finetune(model, inputs(batch), labels, rows, hyperparameters, watch, teacher)
    return watch.seconds / (watch.epochs * steps)


@contextmanager
def _quiet():
    """Hide log messages, because a measurement has no progress to report."""
    log = logging.getLogger("soups")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


def evaluation(model: Classifier, inputs: Callable) -> float:
    """Seconds per example of computing logits."""
    model = model.to(devices.device()).eval()
    cpu = devices.kind() == "cpu"
    batch = compute.current().batch_size or (BATCH if cpu else GPU_BATCH)
    examples, few = inputs(2 * batch), inputs(FEW)
    forward(model, few)
    if cpu and timing.once(lambda: forward(model, few)) / FEW * len(examples) > timing.SECONDS:
        examples = inputs(MORE)
    return timing.repeated(lambda: forward(model, examples)) / len(examples)


def probing(model: Classifier, settings: dict) -> float:
    """Seconds per example and epoch of the linear probe, without the time to compute features."""
    n = 8 * settings["batch_size"]
    start = torch.zeros_like(model.head.weight, device="cpu")
    features = torch.nn.functional.normalize(torch.randn(n, start.shape[1]), dim=1)
    labels = torch.arange(n) % len(start)
    return (
        timing.repeated(lambda: linear_probe(features, labels, start, settings | {"epochs": 1})) / n
    )


def mixing(pair: Sequence[Path], merge: dict | None = None) -> float:
    """Seconds per byte of averaging checkpoints, or of merging them element by element.

    Args:
        pair: two checkpoints, which are read several times.
        merge: rule for merging, see `mixing.recipes.recipe`; None to average.
    """
    paths = {f"m{i}": pair[i % 2] for i in range(2 * len(pair))}
    recipe = recipes.recipe(dict.fromkeys(paths, 1 / len(paths)), "probe", merge)
    total = len(paths) * checkpoints.Checkpoint(pair[0]).size()
    return timing.repeated(lambda: mix(recipe, paths)) / total


def two_models(model: Classifier, folder: Path) -> list[Path]:
    """Write checkpoints of a model and of a slightly different model, and return their paths."""
    state = {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    beside = {n: t + 1e-3 * torch.randn(t.shape) if t.is_floating_point() else t
              for n, t in state.items()}  # fmt: skip
    paths = [folder / f"{i}.safetensors" for i in range(2)]
    for path, tensors in zip(paths, (state, beside), strict=True):
        checkpoints.save(path, tensors, {"pretrained": "random"})
    return paths


def learning(model: Classifier, path: Path, options: dict, inputs: Callable) -> tuple[float, float]:
    """Seconds per step of a learned soup: per example, and per byte of its ingredients.

    Args:
        model: the model to train. Its weights change.
        path: a checkpoint, which is used as every ingredient.
        options: options of the method.
        inputs: function from a number to that number of examples, see `SampleSet`.
    """
    checkpoint, most = checkpoints.Checkpoint(path), 5
    group = blocks.groups(list(checkpoint.shapes()), "tensor")

    def step(number: int, n: int) -> float:
        examples, labels = inputs(n), torch.zeros(n, dtype=torch.int64)
        fit = {"lr": options["lr"], "epochs": 1, "batch_size": n, "seed": 0}
        ingredients = learned.within([path] * number, 0)
        with _quiet():
            return timing.repeated(
                lambda: learned.learn(model, ingredients, examples, labels, group, **fit)
            )

    n = options["batch_size"] if devices.kind() != "cpu" else min(MORE, options["batch_size"])
    one, several = step(1, 1), step(1, n)
    ingredients = max(step(most, 1) - one, 0) / (most - 1)
    return max(several - one, 0) / max(n - 1, 1), ingredients / checkpoint.size()


def starting(modules: Sequence[str]) -> float:
    """Seconds that a job needs for its imports.

    Args:
        modules: names of the modules.

    Raises:
        CalledProcessError: if an import fails.
    """
    scripts = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", f"import {', '.join(modules)}"]
    environment = os.environ | {"PYTHONPATH": scripts}
    return timing.once(lambda: subprocess.run(command, check=True, env=environment))


def peak_memory() -> int:
    """Peak memory in bytes: allocated by torch on a GPU, or resident in this process on a CPU."""
    if devices.kind() == "cuda":
        return torch.cuda.max_memory_allocated(devices.device())
    return resident_peak()


def resident_peak() -> int:
    """Peak resident memory of this process in bytes.

    On Linux the usage that `resource` reports begins with that of the process that started this
    one, so the kernel's own count is read.
    """
    with suppress(FileNotFoundError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def device_name() -> str:
    """Name of the device for messages."""
    if devices.kind() == "cuda":
        return torch.cuda.get_device_name(devices.device())
    if devices.kind() == "mps":
        return "an Apple GPU"
    threads = torch.get_num_threads()
    return f"the CPU with {threads} {'thread' if threads == 1 else 'threads'}"
