"""From a recipe to weights, one ingredient in memory at a time."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from soups.errors import UserError
from soups.mixing import recipes
from soups.mixing.merge import merge
from soups.mixing.select import RunningSum
from soups.models.checkpoints import DTYPES, Checkpoint


class Mixture:
    """A weighted sum of state dicts, accumulated in float64.

    Holds the sum and nothing else, so memory does not grow with what is added.
    """

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}
        self._first: Checkpoint | None = None

    def add(self, checkpoint: Checkpoint, weight: recipes.Coefficient) -> None:
        """Add ``weight`` (a number, or one per tensor) times a checkpoint, tensor by tensor.

        Integer tensors (counters of batch normalisation) are not averaged: they are
        taken from the first checkpoint.

        Raises:
            UserError: if names, shapes, dtypes or the pre-trained model differ from the first.
        """
        self.check(checkpoint)
        for name, tensor in checkpoint.items():
            factor = weight[name] if isinstance(weight, Mapping) else weight
            if not tensor.is_floating_point():
                self.total.setdefault(name, tensor)
            elif name in self.total:
                self.total[name].add_(tensor.double(), alpha=factor)
            else:
                # In place: a temporary per tensor would leave holes as large as the sum.
                self.total[name] = tensor.to(torch.float64, copy=True).mul_(factor)

    def check(self, checkpoint: Checkpoint) -> None:
        """Refuse a checkpoint that cannot be mixed with the first; see `check_compatible`."""
        self._first = self._first or checkpoint
        check_compatible(self._first, checkpoint)

    @torch.no_grad()
    def write(self, module: nn.Module, scale: float = 1, extra: Checkpoint | None = None) -> None:
        """Copy ``scale`` times the sum, with ``extra`` added to it, into a module's weights."""
        target = module.state_dict()
        if extra is None:
            for name, tensor in self.total.items():
                target[name].copy_(tensor * scale if tensor.is_floating_point() else tensor)
            return
        self.check(extra)
        for name, tensor in extra.items():
            if tensor.is_floating_point():
                tensor = tensor.double()
                tensor = (self.total[name] + tensor if name in self.total else tensor) * scale
            target[name].copy_(tensor)

    def state(self) -> dict[str, Tensor]:
        """The sum in the first checkpoint's dtypes. The mixture is spent."""
        shapes = self._first.shapes()
        state = {}
        for name in list(self.total):
            # Popping frees each float64 sum as its copy is made.
            tensor = self.total.pop(name)
            state[name] = tensor.to(DTYPES[shapes[name][1]])
        return state


def growing(paths: Mapping[str, str | Path]) -> RunningSum:
    """Plain sums of models as `Mixture`, cheap to extend by one more.

    Args:
        paths: model id to safetensors file.
    """

    def add(soup: Mixture, name: str) -> Mixture:
        soup.add(Checkpoint(paths[name]), 1)
        return soup

    return RunningSum(Mixture, add)


def mix(
    recipe: dict,
    paths: Mapping[str, str | Path],
    start: str | None = None,
) -> dict[str, Tensor]:
    """Cook a recipe: the weighted average of its ingredients' weights (paper, section 2).

    Args:
        recipe: see `recipes.recipe`; ingredients with coefficient 0 are not read.
        paths: model id to safetensors file.
        start: id of the model the ingredients were fine-tuned from, None if of several.

    Returns:
        a state dict in the ingredients' dtypes.
    """
    names = recipes.used(recipe)
    if not names:
        raise UserError(f"recipe {recipe['method']!r}: all coefficients are 0, nothing to mix")
    mixture = Mixture()
    if "merge" in recipe:
        ingredients = [Checkpoint(paths[name]) for name in names]
        # Only TIES asks where changes start from, and the catalogue has seen that there is one.
        origin = Checkpoint(paths[start]) if start is not None else ingredients[0]
        for checkpoint in [origin, *ingredients]:
            mixture.check(checkpoint)
        return merge(origin, ingredients, **recipe["merge"])
    for name in names:
        mixture.add(Checkpoint(paths[name]), recipe["coefficients"][name])
    return mixture.state()


def check_compatible(first: Checkpoint, other: Checkpoint) -> None:
    """Two checkpoints can be averaged: same tensors, same start.

    Raises:
        UserError: naming the first difference.
    """
    ours, theirs = first.shapes(), other.shapes()
    for name in sorted(ours | theirs):
        if ours.get(name) != theirs.get(name):
            raise UserError(
                f"{other.path}: tensor {name!r} is {theirs.get(name, 'missing')}, "
                f"expected {ours.get(name, 'no such tensor')} as in {first.path}"
            )
    start, start_here = first.note.get("pretrained"), other.note.get("pretrained")
    if start != start_here:
        raise UserError(
            f"{other.path}: fine-tuned from pre-trained model {str(start_here)[:12]}, but "
            f"{first.path} from {str(start)[:12]}; only models with the same start can be averaged"
        )
