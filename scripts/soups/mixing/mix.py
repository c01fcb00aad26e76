"""The mixer, which turns a recipe into weights with one ingredient in memory at a time."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from soups.errors import UserError
from soups.mixing import recipes
from soups.mixing.merge import merge
from soups.models.checkpoints import DTYPES, Checkpoint


class Mixture:
    """A weighted sum of state dicts, accumulated in float64.

    It holds only the sum, so its memory does not grow with the number of checkpoints.

    Attributes:
        total: the sum in float64, and the tensors that are not averaged in their own dtype.
    """

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}
        self._first: Checkpoint | None = None

    def add(self, checkpoint: Checkpoint, weight: recipes.Coefficient) -> None:
        """Add ``weight`` times a checkpoint, tensor by tensor.

        Integer tensors (counters of batch normalisation) are not averaged. They are taken from
        the first checkpoint.

        Args:
            checkpoint: the checkpoint.
            weight: a number, or a number per tensor.

        Raises:
            UserError: if names, shapes, dtypes or the pre-trained model differ from those of the
                first checkpoint.
        """
        self.check(checkpoint)
        for name, tensor in checkpoint.items():
            factor = weight[name] if isinstance(weight, Mapping) else weight
            if not tensor.is_floating_point():
                self.total.setdefault(name, tensor)
            elif name in self.total:
                self.total[name].add_(tensor.double(), alpha=factor)
            else:
                # Temporary tensors would leave holes in memory as large as the sum.
                self.total[name] = tensor.to(torch.float64, copy=True).mul_(factor)

    def check(self, checkpoint: Checkpoint) -> None:
        """Raise an error if a checkpoint cannot be mixed with the first, see `check_compatible`."""
        self._first = self._first or checkpoint
        check_compatible(self._first, checkpoint)

    @torch.no_grad()
    def write(self, module: nn.Module, scale: float = 1, extra: Checkpoint | None = None) -> None:
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
        self.check(extra)
        for name, tensor in extra.items():
            if tensor.is_floating_point():
                tensor = tensor.double()
                tensor = (self.total[name] + tensor if name in self.total else tensor) * scale
            target[name].copy_(tensor)

    def state(self) -> dict[str, Tensor]:
        """Return the sum in the dtypes of the first checkpoint, and empty the mixture."""
        shapes = self._first.shapes()
        state = {}
        for name in list(self.total):
            # `pop` frees each float64 sum once its copy is made.
            tensor = self.total.pop(name)
            state[name] = tensor.to(DTYPES[shapes[name][1]])
        return state


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
    mixture = Mixture()
    if "merge" in recipe:
        ingredients = [Checkpoint(paths[name]) for name in names]
        # Only TIES uses the values of the start, and the catalog ensures that it has one.
        origin = Checkpoint(paths[start]) if start is not None else ingredients[0]
        for checkpoint in [origin, *ingredients]:
            mixture.check(checkpoint)
        return merge(origin, ingredients, **recipe["merge"])
    for name in names:
        mixture.add(Checkpoint(paths[name]), recipe["coefficients"][name])
    return mixture.state()


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
