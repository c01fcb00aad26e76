"""The ingredients, their start and the held-out set, from which methods make recipes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from soups import files
from soups.data.prepared import PreparedSet
from soups.errors import UserError
from soups.evaluation import metric as metrics
from soups.evaluation.metric import ACCURACY, Metric
from soups.jobs import devices, left_out
from soups.mixing import recipes
from soups.mixing.mix import mix
from soups.mixing.mixed_model import MixedModel
from soups.mixing.select import AT_LEAST, by_score, greedy
from soups.mixing.trial import Known, Run, Trials, evaluate, margins, race
from soups.models import usable
from soups.models.batch_norm import Settle, kept, settler
from soups.models.checkpoints import Checkpoint
from soups.models.forward import forward
from soups.roles import BEST, GREEDY, UNIFORM


@dataclass
class Kitchen:
    """The ingredients, and everything that a method may use to choose among them.

    Attributes:
        ingredients: ids, in the order of the sweep.
        pool: ids of the ingredients among which the best individual model is chosen.
        start: id of the model that the ingredients were fine-tuned from, None if they were
            fine-tuned from several.
        paths: id to safetensors file, for ingredients and start.
        logits: reads the held-out logits of an ingredient, shape (n, classes).
        labels: labels of the held-out images, shape (n,).
        inputs: the held-out examples, as the model takes them; may be a memory map.
        make_model: builds a classifier whose weights are then overwritten. It is called only
            if a method needs a model.
        settle: sets the statistics of batch normalisation in a mixed model, see `batch_norm`.
        made: id of a soup made before to its recipe.
        metric: the metric of all held-out scores.
        accept: the rule of the greedy soups in `usual`, see `select.greedy`.
    """

    ingredients: Sequence[str]
    pool: Sequence[str]
    start: str | None
    paths: Mapping[str, str | Path]
    logits: Callable[[str], np.ndarray]
    labels: np.ndarray
    inputs: np.ndarray
    make_model: Callable[[], nn.Module]
    settle: Settle
    made: Mapping[str, dict] = field(default_factory=dict)
    metric: Metric = ACCURACY
    accept: str = AT_LEAST

    @classmethod
    def of_job(cls, job, made: Sequence[str] = ()) -> "Kitchen":
        """Build the kitchen of a rule that makes recipes.

        Models that are left out (`usable`) are no ingredients of it.

        Args:
            job: a job with the held-out set (`experiment.places.Places.heldout`), ``weights`` and
                ``logits`` of its ingredients as inputs,
                and with ``params.entry``, see `catalog.soups`.
            made: recipe files of soups made before, in the order of the entry's ``of``.

        Raises:
            UserError: if all ingredients or the start are left out.
        """

        def make_model() -> nn.Module:
            # The import takes seconds, and many methods need no model.
            from soups.models.classifier import load_classifier

            return load_classifier(job.input.pretrained, paths[ingredients[0]])

        entry, paths = job.params.entry, weight_files(job)
        heldout = PreparedSet(job.input.heldout[0])
        logits = dict(zip(entry["ingredients"], job.input.logits, strict=True))
        ingredients = usable.by_logits(logits)
        return cls(
            ingredients=ingredients,
            pool=[name for name in entry["pool"] if name in ingredients],
            start=entry["start"],
            paths=paths,
            logits=lambda name: np.load(logits[name]),
            labels=heldout.labels,
            inputs=heldout.inputs,
            make_model=make_model,
            settle=settler(heldout.inputs, job.params.recalibrate),
            made={Path(path).stem: files.read_json(path) for path in made},
            metric=metrics.of_job(job),
            accept=entry.get("accept", AT_LEAST),
        )

    @cached_property
    def own(self) -> dict[str, Known]:
        """The trial of every ingredient on its own, from its cached logits."""

        def known(logits: np.ndarray) -> Known:
            score = self.metric.of(logits, self.labels)
            return Known(score, evaluated=0, margins=margins(logits, self.labels))

        return {name: known(self.logits(name)) for name in self.ingredients}

    @cached_property
    def scores(self) -> dict[str, float]:
        """Held-out score of every ingredient on its own."""
        return {name: known.score for name, known in self.own.items()}

    @cached_property
    def ranking(self) -> list[str]:
        """Ingredients by falling held-out score."""
        return by_score(self.scores)

    @cached_property
    def model(self) -> nn.Module:
        """A classifier on the device of this job, whose weights may be overwritten."""
        return self.make_model().to(devices.device())

    @property
    def targets(self) -> Tensor:
        """The labels as a tensor."""
        return torch.from_numpy(np.asarray(self.labels))

    @cached_property
    def mixed(self) -> MixedModel:
        """The model into which soups are mixed to score them."""
        return MixedModel(self.model, self.paths, self.settle, self.start)

    @cached_property
    def rises(self) -> bool:
        """Whether trials may end early, see `Metric.rises`."""
        return self.metric.rises(self.logits(self.ingredients[0]).shape[1])

    @cached_property
    def average(self) -> Trials:
        """Trials of uniform averages, each of which is evaluated no further than needed."""
        return Trials(
            lambda names: self._run(self.mixed.average(names)),
            self.own,
            self.labels,
            self.metric,
            self.rises,
            # Recalibration changes even a single model, so its cached score cannot be used.
            reused=self.settle is kept,
        )

    def score(self, recipe: dict) -> float:
        """Held-out score of any recipe, or NaN if a logit is NaN or infinite."""
        return self._score(self.mixed.of(recipe))

    def score_line(self, recipe: dict, amounts: Sequence[float]) -> list[Known]:
        """Trials of start + amount · (recipe − start), with the recipe mixed once, see `race`."""
        end = mix(recipe, self.paths, self.start)
        start = Checkpoint(self.paths[self.start]).state()
        mixed = (
            self.mixed.load({name: _between(start[name], end[name], amount) for name in end})
            for amount in amounts
        )
        return race(map(self._run, mixed), self.labels, self.metric, self.rises)

    def _score(self, model: nn.Module) -> float:
        return evaluate(self._run(model), self.labels, self.metric).score

    def _run(self, model: nn.Module) -> Run:
        return lambda rows: forward(model, self.inputs, rows, exact=True).numpy()

    def present(self, names: Sequence[str]) -> list[str]:
        """Those of some models that are ingredients, in the same order."""
        return [name for name in names if name in self.ingredients]

    def checkpoints(self) -> list[Checkpoint]:
        """The ingredients as checkpoints, whose tensors are not read yet."""
        return [Checkpoint(self.paths[name]) for name in self.ingredients]

    def usual(self, names: Sequence[str]) -> dict[str, dict]:
        """Recipes of the best individual model, the uniform soup and the greedy soup.

        Args:
            names: the ingredients among which these are made.

        Returns:
            row of the methods table to recipe.
        """
        order = by_score({name: self.scores[name] for name in names})
        chosen, trace = greedy(order, self.average, self.accept)
        # Keys name roles, and the text in a recipe names the method that made it.
        return {
            BEST: recipes.recipe({order[0]: 1.0}, BEST),
            UNIFORM: recipes.uniform(names),
            GREEDY: recipes.uniform(chosen, "greedy", trace=trace),
        }

    def recipe(self, name: str) -> dict:
        """The recipe of a soup made before, or of the best individual model.

        Args:
            name: id of the soup, or `BEST`.

        Raises:
            UserError: for `BEST`, if all models among which it is chosen are left out.
        """
        if name == BEST:
            if not self.pool:
                raise UserError(
                    "all models among which the best individual one is chosen are left out, "
                    "expected at least one that is not"
                )
            best = by_score({name: self.scores[name] for name in self.pool})[0]
            return recipes.recipe({best: 1.0}, BEST)
        return self.made[name]


def weight_files(job) -> dict[str, str]:
    """Map the ids of a soup's ingredients, and of their start if they have one, to files.

    Args:
        job: a job with the inputs ``weights`` and ``start`` and with ``params.entry``.

    Raises:
        UserError: if the start is a model that is left out.
    """
    entry = job.params.entry
    paths = dict(zip(entry["ingredients"], job.input.weights, strict=True))
    if entry["start"] is not None:
        paths[entry["start"]] = job.input.start[0]
        if why := left_out.reason(job.input.start[0]):
            raise UserError(f"{job.input.start[0]} cannot be the start of the ingredients: {why}")
    return paths


def _between(start: Tensor, end: Tensor, amount: float) -> Tensor:
    if not start.is_floating_point():
        return start
    return ((1 - amount) * start.double() + amount * end.double()).to(start.dtype)
