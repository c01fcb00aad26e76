"""A soup is a recipe: which ingredients, with which coefficients, and how they were chosen.

Every method yields a recipe; `mix` turns any recipe into weights, one ingredient in
memory at a time.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from soups.checkpoints import Checkpoint
from soups.errors import UserError


def uniform(ingredients: Iterable[str], **selection) -> dict:
    """The plain average (paper, Recipe 2): coefficient 1/k for each of k ingredients."""
    names = list(ingredients)
    return recipe({name: 1 / len(names) for name in names}, method="uniform", **selection)


def recipe(coefficients: Mapping[str, float], method: str, **selection) -> dict:
    """A recipe as it is written to JSON.

    Args:
        coefficients: ingredient id to weight; they need not sum to 1.
        method: the row of the methods table.
        selection: how the coefficients were chosen, e.g. a greedy trace.
    """
    return {"method": method, "coefficients": dict(coefficients), "selection": selection}


class Mixture:
    """A weighted sum of state dicts, accumulated in float64.

    Holds the sum and nothing else, so memory does not grow with what is added.
    """

    def __init__(self) -> None:
        self.total: dict[str, Tensor] = {}
        self._first: Checkpoint | None = None

    def add(self, checkpoint: Checkpoint, weight: float) -> None:
        """Add ``weight`` times a checkpoint, tensor by tensor.

        Integer tensors (counters of batch normalisation) are not averaged: they are
        taken from the first checkpoint.

        Raises:
            UserError: if names, shapes, dtypes or the pre-trained model differ from the first.
        """
        if self._first is None:
            self._first = checkpoint
        check_compatible(self._first, checkpoint)
        for name, tensor in checkpoint.items():
            if not tensor.is_floating_point():
                self.total.setdefault(name, tensor)
            elif name in self.total:
                self.total[name].add_(tensor.double(), alpha=weight)
            else:
                # In place: a temporary per tensor would leave holes as large as the sum.
                self.total[name] = tensor.to(torch.float64, copy=True).mul_(weight)

    def state(self) -> dict[str, Tensor]:
        """The sum in the first checkpoint's dtypes. The mixture is spent."""
        shapes = self._first.shapes()
        state = {}
        for name in list(self.total):
            # Popping frees each float64 sum as its copy is made.
            tensor = self.total.pop(name)
            state[name] = tensor.to(_DTYPES[shapes[name][1]])
        return state


_DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


def mix(recipe: dict, paths: Mapping[str, str | Path]) -> dict[str, Tensor]:
    """Cook a recipe: the weighted average of its ingredients' weights (paper, section 2).

    Args:
        recipe: see `recipe`; ingredients with coefficient 0 are not read.
        paths: ingredient id to safetensors file.

    Returns:
        a state dict in the ingredients' dtypes.
    """
    mixture = Mixture()
    for name, weight in recipe["coefficients"].items():
        if weight != 0:
            mixture.add(Checkpoint(paths[name]), weight)
    if not mixture.total:
        raise UserError(f"recipe {recipe['method']!r}: all coefficients are 0, nothing to mix")
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
