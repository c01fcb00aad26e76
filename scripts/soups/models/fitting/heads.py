"""The linear head in a checkpoint, under any name and with its rows in the data's order."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from soups.errors import LeftOut
from soups.models.fitting import class_order, towers
from soups.models.foreign.reading import Contents
from soups.models.pretrained import Pretrained

log = logging.getLogger("soups")

# The last part of a head's name, if several matrices have the shape of a head.
HEADS = ("head", "classification_head", "classifier", "heads", "fc", "linear", "out", "probe")
WEIGHT = ".weight"

# Tensors of CLIP's text tower, which a model with a linear head does not use.
TEXT_SIDE = (
    r"text\..+",  # the whole tower, in models of open_clip with other text towers
    r"token_embedding\.weight",  # of the vocabulary
    r"positional_embedding",  # of the positions in a caption
    r"transformer\.resblocks\.\d+\..+",  # the text tower's blocks
    r"ln_final\.(weight|bias)",  # the norm after them
    r"text_projection(\.weight|\.bias)?",  # from the text tower to the common space
    r"logit_scale",  # CLIP's temperature, which the weights of a head replace
    r"logit_bias",  # of SigLIP
)
_TEXT_SIDE = re.compile("|".join(TEXT_SIDE))


@dataclass
class Head:
    """A head, with its rows in the order of the data's classes.

    Attributes:
        weight: shape (classes, width).
        bias: shape (classes,); zeros if the checkpoint has none.
        name: what the head is called in the checkpoint, or "zero-shot".
        order: how the order of the classes is known, for the log.
        used: names of the tensors in the checkpoint.
    """

    weight: Tensor
    bias: Tensor
    name: str
    order: str
    used: set[str]


def text_side(names: Iterable[str], prefix: str) -> set[str]:
    """The names that belong to CLIP's text tower.

    Args:
        names: names in the checkpoint.
        prefix: what stands before the names of the CLIP.
    """
    return {
        name
        for name in names
        if name.startswith(prefix) and _TEXT_SIDE.fullmatch(name[len(prefix) :])
    }


def given(
    contents: Contents,
    state: Mapping[str, Tensor],
    names: Iterable[str],
    native: str | None,
    width: int,
) -> tuple[str, str | None] | None:
    """Find the head among tensors that no tower has.

    Args:
        contents: the checkpoint, for messages.
        state: its tensors.
        names: the names that may be the head's.
        native: name of the head's weight in the model's own library, if it has one.
        width: length of a feature.

    Returns:
        names of the weight and of the bias, if it has one; None if there is no head.

    Raises:
        LeftOut: if several tensors could be the head.
    """
    names = set(names)
    fits = [n for n in state if n in names and n.endswith(WEIGHT) and _is_head(state[n], width)]
    for kept in (
        [n for n in fits if native and (n == native or n.endswith(f".{native}"))],
        [n for n in fits if n.removesuffix(WEIGHT) in HEADS],
        [n for n in fits if n.split(".")[-2] in HEADS],
        fits,
    ):
        if len(kept) == 1:
            bias = f"{kept[0].removesuffix(WEIGHT)}.bias"
            return kept[0], bias if bias in names else None
    if fits:
        raise LeftOut(
            "other architecture",
            f"{contents.path} has several tensors that may be the head ({', '.join(fits[:3])}), "
            "expected one",
        )
    return None


def _is_head(tensor: Tensor, width: int) -> bool:
    """Whether a tensor is the weight of a linear layer or of a 1×1 convolution on features."""
    return tensor.ndim in (2, 4) and tensor.shape[1] == width and tensor.shape[2:].numel() == 1


def ordered(
    contents: Contents,
    state: Mapping[str, Tensor],
    names: tuple[str, str | None],
    folders: Sequence[str],
    titles: Sequence[str],
    classes: Sequence[str] | None,
) -> Head:
    """Take a head from a checkpoint, with its rows in the order of the data's classes.

    Args:
        contents: the checkpoint, whose class names count first.
        state: its tensors.
        names: names of the weight and of the bias.
        folders, titles: class folders of the data and their names in prompts, in order.
        classes: class names of ``ingredients.checkpoints.classes``, in the order of the rows.

    Raises:
        LeftOut: with the verdict "other classes", if the head's classes are not the data's.
    """
    weight = state[names[0]].flatten(1)
    bias = weight.new_zeros(len(weight)) if names[1] is None else state[names[1]].flatten()
    if len(bias) != len(weight):
        raise LeftOut(
            "other architecture",
            f"{contents.path}: {names[1]!r} has shape {tuple(bias.shape)}, expected "
            f"({len(weight)},), as {names[0]!r} has {len(weight)} rows",
        )
    rows, how = _rows(contents, len(weight), names[0], folders, titles, classes)
    if rows is not None:
        weight, bias = weight[rows], bias[rows]
    used = {name for name in names if name}
    return Head(weight, bias, names[0].removesuffix(WEIGHT), how, used)


def _rows(contents, count, name, folders, titles, classes) -> tuple[list[int] | None, str]:
    """The rows in the order of the data, and how that is known."""
    path, found = contents.path, []
    for names, where in (
        (contents.classes, str(path)),
        (classes, "ingredients.checkpoints.classes"),
    ):
        if names is None:
            continue
        # A checkpoint may have names of another kind, such as numbers, which the key replaces.
        if names is not classes and classes and class_order.unrelated(names, folders, titles):
            continue
        if len(names) != count:
            raise LeftOut(
                "other classes",
                f"{where} names {len(names)} classes, but {name!r} of {path} has {count} rows, "
                "expected as many",
            )
        rows = class_order.rows(names, folders, titles, where if where == str(path) else
                                f"{path}: {where}")  # fmt: skip
        found.append((rows, where))
    if len(found) == 2 and found[0][0] != found[1][0]:
        raise LeftOut(
            "other classes",
            f"{path} names its classes in another order than ingredients.checkpoints.classes, "
            "expected the same order",
        )
    if not found:
        if count != len(folders):
            raise LeftOut(
                "other classes",
                f"{path}: {name!r} is for {count} classes, expected {len(folders)}, as in the data",
            )
        return None, "the checkpoint names no classes, so their order is assumed to be the data's"
    rows, where = found[0]
    same = rows == list(range(count))
    if same:
        return None, f"{where} names the classes, in the order of the data"
    kind = "in another order" if len(rows) == count else f"of which {len(rows)} are the data's"
    return rows, f"{where} names {count} classes {kind}, so the rows of the head are reordered"


def zero_shot(
    contents: Contents,
    state: Mapping[str, Tensor],
    prefix: str,
    model: Pretrained,
    titles: Sequence[str],
    templates: Sequence[str],
) -> Head:
    """Make a head from the text tower of a checkpoint; ``model`` gets the checkpoint's weights.

    Args:
        contents: the checkpoint, for messages.
        state: its tensors.
        prefix: what stands before the names of the CLIP.
        model: a CLIP.
        titles: class names in prompts.
        templates: prompts with one ``{}`` in place of the class name.

    Raises:
        LeftOut: if the text tower has another architecture than the model's.
    """
    want = model.whole.state_dict()
    bad = [n for n, t in want.items() if t.is_floating_point()
           and (prefix + n not in state or state[prefix + n].shape != t.shape)]  # fmt: skip
    if bad:
        have = state.get(prefix + bad[0])
        raise LeftOut(
            "other architecture",
            f"{contents.path} has no head, and its text tower has {towers.counted(bad)} that "
            f"model.architecture does not fit, such as {prefix + bad[0]!r} "
            f"({'missing' if have is None else tuple(have.shape)}), expected a head, or "
            f"{tuple(want[bad[0]].shape)} for a zero-shot head",
        )
    fitting = {n: state[prefix + n] for n in want if prefix + n in state}
    model.whole.load_state_dict(fitting, strict=False)
    model.whole.eval()
    with torch.no_grad():
        weight = model.text_head(list(titles), list(templates))
    how = "a zero-shot head is made from its text tower and the class names of the data"
    return Head(weight, weight.new_zeros(len(weight)), "zero-shot", how, set())
