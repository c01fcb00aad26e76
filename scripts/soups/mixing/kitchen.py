"""What a method may use to make a recipe: ingredients, their start, and the held-out set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from soups import files
from soups.data.images import PreparedSet
from soups.jobs import devices
from soups.mixing import recipes
from soups.mixing.mix import mix
from soups.mixing.scoring import HeldoutScorer
from soups.mixing.select import Score, by_score, greedy, remembered
from soups.models.batch_norm import Settle, kept, settler
from soups.models.checkpoints import Checkpoint
from soups.models.forward import accuracy
from soups.roles import BEST


@dataclass
class Kitchen:
    """Ingredients and everything that may be known when choosing among them.

    Attributes:
        ingredients: ids, in the order of the sweep.
        pool: those of them that the best individual model is among.
        start: id of the model they were fine-tuned from, None if of several.
        paths: id to safetensors file, of ingredients and start.
        logits: reads an ingredient's held-out logits, shape (n, classes).
        labels: of the held-out images, shape (n,).
        images: uint8, shape (n, h, w, 3), may be a memory map.
        make_model: builds a classifier to pour weights into; called when it is needed.
        settle: gives a mixed model its batch statistics, see `batch_norm`.
        made: recipes of soups made before.
    """

    ingredients: Sequence[str]
    pool: Sequence[str]
    start: str | None
    paths: Mapping[str, str | Path]
    logits: Callable[[str], np.ndarray]
    labels: np.ndarray
    images: np.ndarray
    make_model: Callable[[], nn.Module]
    settle: Settle
    made: Mapping[str, dict] = field(default_factory=dict)

    @classmethod
    def of_job(cls, job, made: Sequence[str] = ()) -> "Kitchen":
        """From the inputs of a rule that chooses (``HELDOUT`` and its ingredients' files).

        Args:
            job: with ``params.entry``, see `catalog.soups`.
            made: recipe files of soups made before, in the order of the entry's ``of``.
        """

        def make_model() -> nn.Module:
            from soups.models.classifier import (
                load_classifier,  # seconds that many methods do without
            )

            return load_classifier(job.input.pretrained, job.input.weights[0])

        entry = job.params.entry
        ingredients, start = entry["ingredients"], entry["start"]
        heldout = PreparedSet(job.input.heldout[0])
        logits = dict(zip(ingredients, job.input.logits, strict=True))
        return cls(
            ingredients=ingredients,
            pool=entry["pool"],
            start=start,
            paths=weight_files(job),
            logits=lambda name: np.load(logits[name]),
            labels=heldout.labels,
            images=heldout.images,
            make_model=make_model,
            settle=settler(heldout.images, job.params.recalibrate),
            made={Path(path).stem: files.read_json(path) for path in made},
        )

    @cached_property
    def scores(self) -> dict[str, float]:
        """Held-out accuracy of every ingredient by itself."""
        return {
            name: float((self.logits(name).argmax(1) == self.labels).mean())
            for name in self.ingredients
        }

    @cached_property
    def ranking(self) -> list[str]:
        """Ingredients by falling held-out accuracy."""
        return by_score(self.scores)

    @cached_property
    def model(self) -> nn.Module:
        return self.make_model().to(devices.device())

    @property
    def targets(self) -> Tensor:
        return torch.from_numpy(np.asarray(self.labels))

    @cached_property
    def average(self) -> Score:
        """Held-out accuracy of uniform averages; each is computed once."""
        scorer = HeldoutScorer(self.model, self.paths, self.images, self.targets, self.settle)
        # Measured anew, even a single model's statistics are others than it was scored with.
        known = self.settle is kept
        return remembered(
            lambda names: self.scores[names[0]] if known and len(names) == 1 else scorer(names)
        )

    def score(self, recipe: dict) -> float:
        """Held-out accuracy of any recipe."""
        return self._score_state(mix(recipe, self.paths, self.start))

    def score_line(self, recipe: dict, amounts: Sequence[float]) -> list[float]:
        """Held-out accuracy of start + amount · (recipe − start); the recipe is mixed once."""
        end = mix(recipe, self.paths, self.start)
        start = Checkpoint(self.paths[self.start]).state()
        return [
            self._score_state({name: _between(start[name], end[name], a) for name in end})
            for a in amounts
        ]

    def _score_state(self, state: Mapping[str, Tensor]) -> float:
        self.model.load_state_dict(state)
        self.settle(self.model)
        return accuracy(self.model, self.images, self.targets)

    def checkpoints(self) -> list[Checkpoint]:
        """The ingredients, unread."""
        return [Checkpoint(self.paths[name]) for name in self.ingredients]

    def usual(self, names: Sequence[str]) -> dict[str, dict]:
        """Recipes of the best individual, the uniform and the greedy soup of some ingredients."""
        order = by_score({name: self.scores[name] for name in names})
        chosen, trace = greedy(order, self.average)
        return {
            BEST: recipes.recipe({order[0]: 1.0}, BEST),
            "uniform": recipes.uniform(names),
            "greedy": recipes.uniform(chosen, "greedy", trace=trace),
        }

    def recipe(self, name: str) -> dict:
        """That of a soup made before, or of the best individual model."""
        if name == BEST:
            best = by_score({name: self.scores[name] for name in self.pool})[0]
            return recipes.recipe({best: 1.0}, BEST)
        return self.made[name]


def weight_files(job) -> dict[str, str]:
    """Model id to safetensors file: a soup's ingredients and, if they have one, their start."""
    entry = job.params.entry
    paths = dict(zip(entry["ingredients"], job.input.weights, strict=True))
    if entry["start"] is not None:
        paths[entry["start"]] = job.input.start[0]
    return paths


def _between(start: Tensor, end: Tensor, amount: float) -> Tensor:
    if not start.is_floating_point():
        return start
    return ((1 - amount) * start.double() + amount * end.double()).to(start.dtype)
