"""Checkpoints of any layout as the state dict of a `Classifier`, by names and shapes.

The tower may have this workflow's names (``visual.`` or ``encoder.``) or those of the model's own
library, with anything before them. The head may have any name.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from soups.errors import LeftOut, UserError
from soups.models.fitting import heads, towers
from soups.models.foreign import reading
from soups.models.foreign.reading import Contents
from soups.models.foreign.wrappers import EMA
from soups.models.pretrained import Pretrained

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "as is": None,
}
HEAD = "head."  # before the names of the head's tensors
COUNTER = "num_batches_tracked"  # old files lack it
OWN, RELEASED, LIBRARY = "this workflow", "the paper's files", "the model's library"
PLACES = ("transformers/", "hf-hub:", "local-dir:")  # of architectures that an address gives


@dataclass
class Fit:
    """A checkpoint as the state dict of a `Classifier`.

    Attributes:
        state: tensors by name, none of which shares memory with another or with a file.
        layout: whose names the tensors have: `OWN`, `RELEASED` or `LIBRARY`.
        notes: sentences for the log: what was found and how it was read.
    """

    state: dict[str, Tensor]
    layout: str
    notes: list[str]


def fitted(contents: Contents, model: Pretrained, classes: Sequence[str], dtype: str = "float32",
           **more) -> dict[str, Tensor]:  # fmt: skip
    """The state dict alone, see `fit`."""
    return fit(contents, model, classes, dtype, **more).state


def fit(
    contents: Contents,
    model: Pretrained,
    classes: Sequence[str],
    dtype: str = "float32",
    *,
    titles: Sequence[str] | None = None,
    templates: Sequence[str] = ("{}",),
    order: Sequence[str] | None = None,
) -> Fit:
    """Convert a checkpoint to the state dict of a `Classifier`.

    Args:
        contents: the checkpoint, from `reading.read`.
        model: a model of the architecture. If the checkpoint has a text tower instead of a head,
            the model gets the checkpoint's weights.
        classes: class folders of the data, in order.
        dtype: one of `DTYPES`; ``as is`` keeps the dtype of every tensor.
        titles: class names of the folders in prompts; by default the folders' names.
        templates: prompts for a zero-shot head, with one ``{}`` in place of the class name.
        order: class names of ``ingredients.checkpoints.classes``, in the order of the head's rows.

    Raises:
        LeftOut: with the verdict "other architecture", "other classes" or "diverged".
        UserError: if a value is too large for ``dtype``.
    """
    titles = list(classes) if titles is None else titles
    want = model.classifier(len(classes)).state_dict()
    # A file of this workflow needs no names of the library, which some models do not have.
    ours = set(want) <= set(contents.state)
    native = dict.fromkeys(want) if ours else model.native(len(classes))
    _check_card(contents, model)

    tower = [name for name in want if not name.startswith(HEAD)]
    state = contents.state
    names, prefix = towers.find(state, tower, native)
    if any(
        there not in state and towers.is_needed(ours, want[ours]) for ours, there in names.items()
    ):
        # Only names that fit nothing are translated, because other projects reuse names.
        renamed = model.translated(state)
        again, before = towers.find(renamed, tower, native)
        if towers.count(renamed, again) > towers.count(state, names):
            state, names, prefix = renamed, again, before
    clip = prefix if getattr(model, "clip", None) is not None else None
    text = heads.text_side(state, clip) if clip is not None else set()
    others = set(state) - set(names.values()) - text - towers.tied(state, names)
    others = {name for name in others if name.split(".")[-1] not in towers.COMPUTED}
    towers.check(contents, state, names, want, others, model)
    width = want["head.weight"].shape[1]
    found = heads.given(contents, state, others, native.get("head.weight"), width)
    if found:
        head = heads.ordered(contents, state, found, classes, titles, order)
    elif text:
        head = heads.zero_shot(contents, state, clip, model, titles, templates)
    else:
        raise LeftOut(
            "other architecture",
            f"{contents.path} has no head: none of its tensors outside the {model.problem.tower} "
            f"has the shape (classes, {width}){towers.such_as(others)}, expected a head for "
            f"{len(classes)} classes",
        )
    if unknown := sorted(others - head.used):
        raise LeftOut(
            "other architecture",
            f"{contents.path} has {towers.counted(unknown)} outside the {model.problem.tower} and "
            f"the head, such as {unknown[0]!r}, expected none",
        )

    out = {name: _cast(contents, state, names[name], want[name], dtype) for name in tower}
    like = DTYPES[dtype] or next((t.dtype for t in out.values() if t.is_floating_point()), None)
    parts = {"head.weight": (head.weight, f"{head.name}.weight"),
             "head.bias": (head.bias, f"{head.name}.bias")}  # fmt: skip
    for name, (tensor, there) in parts.items():
        keep = DTYPES[dtype] is None and found
        out[name] = _number(contents, tensor, there, None if keep else like)
    layout = _layout(contents, names, prefix, head)
    return Fit({name: out[name] for name in want}, layout, _notes(contents, layout, head, out))


def _check_card(contents: Contents, model: Pretrained) -> None:
    """Check what shapes do not show, such as the activation and the pixel statistics.

    Raises:
        LeftOut: if a file of this workflow was made for another model.
    """
    card = contents.note.get("model")
    card = card if isinstance(card, dict) else {}
    ours = {"architecture": model.architecture}
    ours |= {key: getattr(model, key) for key in model.problem.compared}
    if any(str(name).startswith(PLACES) for name in (card.get("architecture"), model.architecture)):
        del ours["architecture"]  # the same model may be in several places
    for key, have in ours.items():
        said = card.get(key)
        numbers = isinstance(have, list | tuple)
        same = said is not None and _close(said, have) if numbers else said == have
        if said is not None and not same:
            have = list(have) if numbers else have
            raise LeftOut(
                "other architecture",
                f"{contents.path} was made with {key} {json.dumps(said)}, expected "
                f"{json.dumps(have)}, as in model",
            )


def _close(one: object, other: Sequence[float]) -> bool:
    """Whether a header's mean or std is that of the model, up to rounding."""
    numbers = isinstance(one, list) and all(isinstance(value, int | float) for value in one)
    return numbers and len(one) == len(other) and np.allclose(one, other, atol=1e-4)


def _cast(contents, state, there: str, want: Tensor, dtype: str) -> Tensor:
    """A tensor of the tower in its own memory, in ``dtype``, or as an integer."""
    if want.is_floating_point():
        return _number(contents, state[there], there, DTYPES[dtype])
    # Some versions save indices of positions as half-precision numbers.
    given = state.get(there, torch.zeros_like(want) if there.endswith(COUNTER) else want)
    return given.to(want.dtype, copy=True, memory_format=torch.contiguous_format)


def _number(contents: Contents, tensor: Tensor, there: str, dtype: torch.dtype | None) -> Tensor:
    """A copy of a tensor of numbers, which does not depend on a mapped file or a tied tensor.

    Raises:
        LeftOut: if a value is NaN or infinite, or if the tensor has integers.
        UserError: if a value is too large for the dtype.
    """
    path = contents.path
    if not tensor.is_floating_point():
        raise LeftOut(
            "unreadable",
            f"{path}: {there!r} has dtype {tensor.dtype}, as quantised weights have, expected "
            "floating-point numbers",
        )
    cast = tensor.detach().to(
        dtype or tensor.dtype, copy=True, memory_format=torch.contiguous_format
    )
    finite = torch.isfinite(cast)
    if finite.all():
        return cast
    value = tensor[~finite][0].item()
    if torch.isfinite(tensor).all():
        raise UserError(
            f"{path}: {there!r} has the value {value}, expected numbers within the range of "
            f"{cast.dtype} (set ingredients.checkpoints.dtype to float32)"
        )
    raise LeftOut(
        "diverged",
        f"{path}: {there!r} has {int((~finite).sum()):,} values that are not finite, the first is "
        f"{value}, expected finite numbers",
    )


def _layout(contents: Contents, names: Mapping[str, str], prefix: str, head: heads.Head) -> str:
    if contents.note or (head.name == "head" and all(o == t for o, t in names.items())):
        return OWN
    if prefix == "model." and head.name == "classification_head":
        return RELEASED
    return LIBRARY


def _notes(contents: Contents, layout: str, head: heads.Head, out: Mapping[str, Tensor]) -> list:
    kind = "averaged weights (EMA)" if contents.kind == EMA else "plain weights"
    kinds = f", of {' and '.join(contents.kinds)}" if len(contents.kinds) > 1 else ""
    around = f", without {' '.join(contents.wrappers)}" if contents.wrappers else ""
    dtypes = {re.sub("torch.", "", str(t.dtype)) for t in contents.state.values()}
    made = {re.sub("torch.", "", str(t.dtype)) for t in out.values() if t.is_floating_point()}
    return [
        f"{contents.path}: {kind}{kinds}, names of {layout}{around}",
        f"{contents.path}: head {head.name!r}, {head.order}",
        f"{contents.path}: dtypes {', '.join(sorted(dtypes))}, kept as {', '.join(sorted(made))}",
    ]


def check_same_dtypes(contents: Contents, other: str | Path, weights: str) -> None:
    """Check that two checkpoints can be mixed without a cast.

    Args:
        contents: a checkpoint.
        other: file or folder of another checkpoint. One that cannot be read is not compared,
            because its own job reports it.
        weights: see `reading.read`.

    Raises:
        UserError: if their floating dtypes differ.
    """
    try:
        first = reading.read(other, weights)
    except LeftOut:
        return
    have, want = (
        {str(t.dtype).removeprefix("torch.") for t in c.state.values() if t.is_floating_point()}
        for c in (contents, first)
    )
    if have != want:
        raise UserError(
            f"{contents.path} has tensors of {' and '.join(sorted(have))}, but {first.path} of "
            f"{' and '.join(sorted(want))}, expected the same dtypes because "
            "ingredients.checkpoints.dtype is 'as is' (float32 casts all of them)"
        )
