"""Measure all speeds that an estimate needs, on random models and sample sets."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from soups import problems
from soups.cost import estimate, speeds
from soups.cost.estimate import Sizes
from soups.data.samples import SampleSet
from soups.experiment.registry import SOUP_METHODS
from soups.jobs import compute
from soups.jobs.job import limit_threads
from soups.models.classifier import Classifier
from soups.models.pretrained import Pretrained
from soups.models.sizes import size_of

log = logging.getLogger("soups")


@dataclass(frozen=True)
class Samples:
    """A model and examples to measure with.

    Attributes:
        pretrained: the pre-trained model, with random weights.
        model: the classifier made from it.
        examples: see `SampleSet`.
        folder: folder for files.
    """

    pretrained: Pretrained
    model: Classifier
    examples: SampleSet
    folder: Path

    @classmethod
    def of(cls, params, classes: Sequence[str], folder: Path) -> "Samples":
        """Make the model and the examples of an experiment.

        Args:
            params: see `experiment.estimated.estimated`.
            classes: names of the training classes.
            folder: folder for files.
        """
        problem = problems.of_source(params.data["source"])
        pretrained = problem.random_model(
            {"data": params.data, "model": params.model}, list(classes)
        )
        examples = problem.samples(pretrained, params.data, params.plan["store"], folder)
        return cls(pretrained, pretrained.classifier(len(classes)), examples, folder)

    def sizes(self, numbers: Mapping[str, int]) -> Sizes:
        """Sizes of the data and the models.

        Args:
            numbers: set to its number of examples, see `Sizes`.
        """
        return Sizes(
            examples=numbers,
            classes=self.model.head.out_features,
            checkpoint=size_of(self.model),
            pretrained=size_of(self.pretrained.whole),
            prepared=self.examples.prepared,
            stored=self.examples.stored,
        )


@dataclass(frozen=True)
class Measured:
    """Speeds of this machine.

    Attributes:
        seconds: name of a speed to seconds per example or byte.
        start: seconds that a job needs for its imports.
        trained: kind of training step to seconds per example, see `estimate.kind`. Empty if the
            experiment trains no models.
        batch: the largest batch that a training step was measured with; 0 without training.
        load: transforms to seconds per example that one process needs to load it.
        workers: number of processes that load examples for training.
        memory: peak bytes of training.
        device: name of the device.
    """

    seconds: dict[str, float]
    start: float
    trained: dict[tuple, float]
    batch: int
    load: dict[tuple, float]
    workers: int
    memory: int
    device: str


def measure(params, samples: Samples, needed: set[str], threads: int) -> Measured:
    """Measure all speeds. Afterwards, this process uses one thread.

    Args:
        params: see `experiment.estimated.estimated`.
        samples: the model and the examples to measure with.
        needed: names of speeds, see `estimate.needed`.
        threads: threads of a job that trains.

    Raises:
        UserError: if a training step does not fit into memory.
    """
    log.info("measuring %d speeds", len(needed))
    workers = threads // params.compute["gpus"] - 1
    # Training is measured first, because the peak memory is that of training, and because only
    # training uses several threads.
    trained, batch = {}, 0
    if not params.plan["ready_made"]:
        trained, batch = training(samples.model, params.plan["rows"], samples.examples)
    memory, device = speeds.peak_memory(), speeds.device_name()
    limit_threads(1)
    seconds, load = _of_training(params, samples, trained, workers)
    seconds |= _of_the_rest(params, samples, needed, workers)
    start = speeds.starting(problems.of_source(params.data["source"]).modules)
    for name, value in seconds.items():
        log.info("%s: %.3g s per example or byte", name, value)
    log.info("imports of a job: %.3g s", start)
    return Measured(seconds, start, trained, batch, load, workers, memory, device)


def training(
    model: Classifier, rows: Mapping[str, dict], examples: SampleSet
) -> tuple[dict[tuple, float], int]:
    """Measure the training steps of all rows of the sweep.

    On a slow CPU, only the most frequent kind of step is measured. The other kinds are assumed
    to take the same time per forward and backward pass.

    Args:
        model: the model to train. Its weights change.
        rows: model to hyperparameters.
        examples: examples to train on.

    Returns:
        kind of step to seconds per example; and the largest batch that the most frequent kind was
        measured with.
    """
    kinds = {estimate.kind(row): row for row in rows.values()}
    first = most_frequent(rows)
    took, batch = speeds.training(model, kinds[first], examples.inputs)
    slow = batch < -(-first[0] // compute.current().gpus)
    trained = {first: took}
    for key, row in kinds.items():
        if key == first:
            continue
        passes = estimate.passes(row) / estimate.passes(kinds[first])
        trained[key] = took * passes if slow else speeds.training(model, row, examples.inputs)[0]
    for key, value in trained.items():
        log.info("training %s: %.3g %s/s", key, 1 / value, model.problem.examples)
    return trained, batch


def most_frequent(rows: Mapping[str, dict]) -> tuple:
    """The kind of training step that most rows have, see `estimate.kind`."""
    return Counter(map(estimate.kind, rows.values())).most_common(1)[0][0]


def _of_training(
    params, samples: Samples, trained: Mapping[tuple, float], workers: int
) -> tuple[dict[str, float], dict[tuple, float]]:
    """Speeds of fine-tuning and pre-training, and seconds per example to load training examples."""
    seconds, load = {}, {}
    if not trained:
        return seconds, load
    rows = params.plan["rows"]
    for row in rows.values():
        key = estimate.transforms(row)
        if key not in load:
            load[key] = samples.examples.loading(row)
        step = trained[estimate.kind(row)]
        seconds[estimate.train_speed(row)] = estimate.loaded(step, load[key], workers)
    seconds["pretrain"] = trained[most_frequent(rows)]
    return seconds, load


def _of_the_rest(params, samples: Samples, needed: set[str], workers: int) -> dict[str, float]:
    """Speeds of everything but training."""
    model, examples = samples.model, samples.examples
    seconds = {"forward": speeds.evaluation(model, examples.inputs)}
    seconds["features"] = estimate.loaded(seconds["forward"], examples.reading(), workers)
    pair = speeds.two_models(model, samples.folder)
    options = [
        entry["options"]
        for entry in params.plan["soups"].values()
        if SOUP_METHODS[entry["method"]].cost(entry["options"], 1, 0).epochs
    ]
    if options:
        learned = speeds.learning(model, pair[0], options[0], examples.inputs)
        seconds["gradient"], seconds["learn"] = learned
    others = {
        "mix": lambda: speeds.mixing(pair),
        "merge": lambda: speeds.mixing(pair, {"rule": "trimmed_mean", "trim": 1}),
        "probe": lambda: speeds.probing(model, params.probe),
    } | dict(examples.preparing())
    return seconds | {name: timed() for name, timed in others.items() if name in needed}
