"""The mixer, which turns a recipe into weights.

It reads a small piece of one tensor of every ingredient at a time. The memory is that of the
result and does not grow with the number of ingredients.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from soups.errors import UserError
from soups.mixing import recipes
from soups.mixing.merge import merge
from soups.models.checkpoints import DTYPES, Checkpoint
from soups.models.stack import Stack


class Mixture:
    """A sum of state dicts in float64, which can be extended.

    Attributes:
        total: the sum in float64, and the tensors that are not averaged in their own dtype.
    """

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}
        self._first: Checkpoint | None = None

    def add(self, checkpoint: Checkpoint) -> None:
        """Add a checkpoint.

        Integer tensors (counters of batch normalisation) are not averaged. They are taken from
        the first checkpoint.

        Raises:
            UserError: if names, shapes, dtypes or the pre-trained model differ from those of the
                first checkpoint.
        """
        first = not self.total
        self._check(checkpoint)
        with Stack([checkpoint]) as stack:
            for name, (shape, dtype) in stack.shapes().items():
                if DTYPES[dtype].is_floating_point:
                    if first:
                        self.total[name] = torch.empty(shape, dtype=torch.float64)
                    _add(stack, name, self.total[name], [1], first)
                elif first:
                    self.total[name] = stack.first(name)

    def _check(self, checkpoint: Checkpoint) -> None:
        self._first = self._first or checkpoint
        check_compatible(self._first, checkpoint)

    @torch.no_grad()
    def write(self, module: nn.Module, scale: float, extra: Checkpoint | None = None) -> None:
        """Copy ``scale`` times the sum into the weights of a module.

        Args:
            module: the module, whose weights are overwritten.
            scale: factor of the sum.
            extra: a checkpoint to add before scaling. The mixture itself does not change.
        """
        target = module.state_dict()
        if extra is None:
            for name, tensor in self.total.items():
                target[name].copy_(tensor * scale if tensor.is_floating_point() else tensor)
            return
        self._check(extra)
        with Stack([extra]) as stack:
            for name, (shape, dtype) in stack.shapes().items():
                if not DTYPES[dtype].is_floating_point:
                    target[name].copy_(stack.first(name))
                    continue
                total, made = self.total.get(name), torch.empty(shape, dtype=target[name].dtype)
                for piece in stack.parts(name):
                    values = next(stack.rows(name, piece)).to(torch.float64, copy=True)
                    if total is not None:
                        values += total.view(-1)[piece]
                    made.view(-1)[piece] = values.mul_(scale)
                target[name].copy_(made)


def mix(
    recipe: dict,
    paths: Mapping[str, str | Path],
    start: str | None = None,
) -> dict[str, Tensor]:
    """Mix a recipe: the weighted sum of its ingredients' weights (paper, section 2) or a merge.

    Args:
        recipe: see `recipes.recipe`. Ingredients with coefficient 0 are not read.
        paths: model id to safetensors file.
        start: id of the model that the ingredients were fine-tuned from, None if they were
            fine-tuned from several.

    Returns:
        a state dict in the ingredients' dtypes.

    Raises:
        UserError: if all coefficients are 0, or if the ingredients cannot be mixed.
    """
    names = recipes.used(recipe)
    if not names:
        raise UserError(
            f"recipe {recipe['method']!r}: all coefficients are 0, expected one that is not"
        )
    ingredients = [Checkpoint(paths[name]) for name in names]
    if "merge" in recipe:
        # Only TIES uses the values of the start, and the catalog ensures that it has one.
        origin = Checkpoint(paths[start]) if start is not None else ingredients[0]
        for checkpoint in ingredients:
            check_compatible(origin, checkpoint)
        return merge(origin, ingredients, **recipe["merge"])
    for checkpoint in ingredients:
        check_compatible(ingredients[0], checkpoint)
    coefficients = [recipe["coefficients"][name] for name in names]
    with Stack(ingredients) as stack:
        return {
            name: total.to(DTYPES[stack.shapes()[name][1]])
            for name, total in weighted(stack, coefficients, stack.shapes())
        }


def weighted(
    stack: Stack, coefficients: Sequence[recipes.Coefficient], names: Iterable[str]
) -> Iterator[tuple[str, Tensor]]:
    """Compute the weighted sum of k checkpoints, one tensor after the other.

    Args:
        stack: the checkpoints, with the same tensors.
        coefficients: for each checkpoint a number, or a number per tensor.
        names: the tensors to sum.

    Yields:
        name and sum, float64. Integer tensors (counters of batch normalisation) are those of the
        first checkpoint.
    """
    for name in names:
        shape, dtype = stack.shapes()[name]
        if not DTYPES[dtype].is_floating_point:
            yield name, stack.first(name)
            continue
        factors = [c[name] if isinstance(c, Mapping) else c for c in coefficients]
        total = torch.empty(shape, dtype=torch.float64)
        _add(stack, name, total, factors, fresh=True)
        yield name, total


def _add(stack: Stack, name: str, total: Tensor, factors: Sequence[float], fresh: bool) -> None:
    """Add a weighted sum of one tensor to ``total``, float64, or write it there if ``fresh``."""
    for piece in stack.parts(name):
        part = total.view(-1)[piece]
        values = torch.empty_like(part)  # Without it, torch would allocate one for each row.
        for k, (row, factor) in enumerate(zip(stack.rows(name, piece), factors, strict=True)):
            if fresh and k == 0:
                part.copy_(row).mul_(factor)  # A sum that starts from 0 would turn -0 into 0.
            else:
                part.add_(values.copy_(row), alpha=factor)


def check_compatible(first: Checkpoint, other: Checkpoint) -> None:
    """Check that two checkpoints have the same tensors and the same pre-trained model.

    Raises:
        UserError: if they differ. The message names the first difference.
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
            f"{other.path}: fine-tuned from pre-trained model {str(start_here)[:12]}, expected "
            f"{str(start)[:12]} as in {first.path}"
        )
