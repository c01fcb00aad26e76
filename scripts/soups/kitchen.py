"""What a method may use to make a recipe: ingredients, their start, and the held-out set."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from soups import files, optim, recipes
from soups.catalog import BEST
from soups.checkpoints import Checkpoint
from soups.evaluate import HeldoutScorer, accuracy
from soups.images import PreparedSet
from soups.mixing import mix
from soups.select import Score, by_score, remembered


@dataclass
class Kitchen:
    """Ingredients and everything that may be known when choosing among them.

    Attributes:
        ingredients: ids, in the order of the sweep.
        start: id of the model they were fine-tuned from.
        paths: id to safetensors file, of ingredients and start.
        logits: reads an ingredient's held-out logits, shape (n, classes).
        labels: of the held-out images, shape (n,).
        images: held-out, uint8, shape (n, h, w, 3).
        make_model: builds a classifier to pour weights into; called when it is needed.
        made: recipes of soups made before.
    """

    ingredients: Sequence[str]
    start: str
    paths: Mapping[str, str | Path]
    logits: Callable[[str], np.ndarray]
    labels: np.ndarray
    images: np.ndarray
    make_model: Callable[[], nn.Module]
    made: Mapping[str, dict] = field(default_factory=dict)

    @classmethod
    def of_job(cls, job, made: Sequence[str] = ()) -> "Kitchen":
        """From the inputs of a rule that chooses (``HELDOUT`` and its ingredients' files).

        Args:
            job: with ``params.entry`` (see `catalog.soups`) and ``params.start``.
            made: recipe files of soups made before, in the order of the entry's ``of``.
        """

        def make_model() -> nn.Module:
            from soups.model import load_classifier  # seconds that many methods do without

            return load_classifier(job.input.pretrained, job.input.start)

        ingredients, start = job.params.entry["ingredients"], job.params.start
        data, rows = PreparedSet(job.input.images), files.read_array(job.input.heldout)
        paths = dict(zip(ingredients, job.input.weights, strict=True)) | {start: job.input.start}
        logits = dict(zip(ingredients, job.input.logits, strict=True))
        return cls(
            ingredients=ingredients,
            start=start,
            paths=paths,
            logits=lambda name: np.load(logits[name]),
            labels=data.labels[rows],
            images=data.images[rows],
            make_model=make_model,
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
        return self.make_model().to(optim.device())

    @property
    def targets(self) -> Tensor:
        return torch.from_numpy(np.asarray(self.labels))

    @cached_property
    def average(self) -> Score:
        """Held-out accuracy of uniform averages; each is computed once."""
        scorer = HeldoutScorer(self.model, self.paths, self.images, self.targets)
        return remembered(lambda names: self.scores[names[0]] if len(names) == 1 else scorer(names))

    def score(self, recipe: dict) -> float:
        """Held-out accuracy of any recipe."""
        self.model.load_state_dict(mix(recipe, self.paths, self.start))
        return accuracy(self.model, self.images, self.targets)

    def checkpoints(self) -> list[Checkpoint]:
        """The ingredients, unread."""
        return [Checkpoint(self.paths[name]) for name in self.ingredients]

    def recipe(self, name: str) -> dict:
        """That of a soup made before, or of the best individual model."""
        if name == BEST:
            return recipes.recipe({self.ranking[0]: 1.0}, BEST)
        return self.made[name]
