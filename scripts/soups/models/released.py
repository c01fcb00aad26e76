"""Checkpoints made elsewhere, brought into the state dict of our own `Classifier`.

Two layouts are known: ``openai``, that of the paper's 72 released models (OpenAI's CLIP under
``model.``, a linear head under ``classification_head.``), and ``classifier``, our own.
"""

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from open_clip import get_model_config
from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor

from soups.errors import UserError
from soups.files import fingerprint
from soups.models.checkpoints import Checkpoint

Shapes = Mapping[str, tuple[int, ...]]

LAYOUTS = ("openai", "classifier")
DTYPES = {"float32": torch.float32, "float16": torch.float16, "as is": None}

# How names in the file begin, and what that is called here. The rest of a name is the same,
# because open_clip's image tower has OpenAI's names.
PREFIXES = {"model.visual.": "visual.", "classification_head.": "head."}

# What is left in the released files of CLIP's text side, which fine-tuning never used: the
# head stands in for it.
TEXT_SIDE = (
    r"model\.token_embedding\.weight",  # of the vocabulary
    r"model\.positional_embedding",  # of the places in a caption
    r"model\.transformer\.resblocks\.\d+\..+",  # the text tower's blocks
    r"model\.ln_final\.(weight|bias)",  # the norm after them
    r"model\.text_projection",  # from the text tower to the common space
    r"model\.logit_scale",  # CLIP's temperature; the head's weights have their own length
)
_TEXT_SIDE = re.compile("|".join(TEXT_SIDE))


def load(
    path: str | Path, layout: str, template: Shapes, dtype: str = "float32"
) -> dict[str, Tensor]:
    """Read a checkpoint of either layout as the state dict of a `Classifier`.

    Args:
        path: a torch-saved state dict (``openai``) or a .safetensors file (``classifier``).
        layout: one of `LAYOUTS`.
        template: name and shape of every tensor of the `Classifier`.
        dtype: one of `DTYPES`.

    Raises:
        UserError: see `read` and `convert`.
    """
    if layout == "openai":
        return convert(read(path), template, path, dtype)
    return _fitted(Checkpoint(path).state(), template, path, dtype, {"": ""})


def read(path: str | Path) -> dict[str, Tensor]:
    """Read a torch-saved state dict, or one under the key ``state_dict``.

    Nothing in the file is run: torch's restricted unpickler builds tensors and plain
    containers only. Where the format allows, the tensors are memory-mapped.

    Raises:
        UserError: if the file is missing, broken, would need code of its own to be run, or is
            anything but a dictionary of tensors.
    """
    path = Path(path)
    expected = "expected a torch-saved dictionary of tensors"
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint") from None
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: not read, because it holds {_culprit(error)}, {expected}"
        ) from error
    except Exception as error:
        # A broken file may end the unpickler in any way: KeyError, EOFError, RuntimeError …
        reason = " ".join(str(error).split(". ")[0].split()) or type(error).__name__
        raise UserError(f"{path}: not a readable checkpoint ({reason}), {expected}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if type(content) not in (dict, OrderedDict):
        raise UserError(f"{path}: holds a {type(content).__name__}, {expected}")
    if not content:
        raise UserError(f"{path}: holds an empty dictionary, {expected}")
    for name, value in content.items():
        if not isinstance(name, str):
            raise UserError(f"{path}: has the key {name!r}, expected names of tensors")
        if not isinstance(value, Tensor):
            raise UserError(f"{path}: {name!r} is a {type(value).__name__}, expected a tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UserError(f"{path}: {name!r} is no dense tensor, expected plain numbers")
    return {name: value.detach() for name, value in content.items()}


def _culprit(error: Exception) -> str:
    """What the restricted unpickler refused."""
    found = re.search(r"GLOBAL\s+(\S+)", str(error))
    return f"{found[1]}, which is no tensor" if found else "pickled objects that are no tensors"


def convert(
    state: dict[str, Tensor], template: Shapes, path: str | Path, dtype: str = "float32"
) -> dict[str, Tensor]:
    """Rename a released state dict to that of our `Classifier`; leave the text side out.

    Any size of CLIP's ViT will do, as the names are the same.

    Args:
        state: what `read` gave.
        template: name and shape of every tensor of the `Classifier`; the head's shape says
            how many classes there are.
        path: the file, for messages.
        dtype: one of `DTYPES`; ``as is`` keeps every tensor's own.

    Returns:
        tensors in the template's order, none of which shares memory with ``state``.

    Raises:
        UserError: for a name that is neither the classifier's nor the text side's, a missing
            tensor, a wrong shape or number of classes, and numbers that are not finite.
    """
    wrapped = [name.startswith("module.") for name in state]
    if all(wrapped):  # saved from inside DataParallel
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    elif any(wrapped):
        name = next(name for name, inside in zip(state, wrapped, strict=True) if inside)
        raise UserError(
            f"{path}: {name!r} begins with 'module.' and others do not, expected all or none"
        )
    kept = {name: tensor for name, tensor in state.items() if not _TEXT_SIDE.fullmatch(name)}
    return _fitted(kept, template, path, dtype, PREFIXES)


def _fitted(
    state: dict[str, Tensor],
    template: Shapes,
    path: str | Path,
    dtype: str,
    prefixes: Mapping[str, str],
) -> dict[str, Tensor]:
    """Rename, check and cast; ``prefixes`` maps beginnings of names in the file to ours."""
    theirs = {  # our name: the file's
        ours + name.removeprefix(ours): there + name.removeprefix(ours)
        for there, ours in prefixes.items()
        for name in template
        if name.startswith(ours)
    }
    if unknown := sorted(set(state) - set(theirs.values())):
        raise UserError(
            f"{path}: has {unknown[0]!r}, expected only tensors of the image tower and the head"
        )
    out = {}
    for name, shape in template.items():
        there = theirs[name]
        if there not in state:
            raise UserError(f"{path}: no {there!r}, expected a tensor of shape {tuple(shape)}")
        out[name] = _checked(state[there], there, name, tuple(shape), path, DTYPES[dtype])
    return out


def _checked(
    tensor: Tensor,
    there: str,
    name: str,
    shape: tuple[int, ...],
    path: str | Path,
    dtype: torch.dtype | None,
) -> Tensor:
    have = tuple(tensor.shape)
    same_width = len(have) == len(shape) and have[1:] == shape[1:]
    if name.startswith("head.") and same_width and have[0] != shape[0]:
        raise UserError(
            f"{path}: {there!r} is for {have[0]} classes, expected the {shape[0]} of the data"
        )
    if have != shape:
        raise UserError(
            f"{path}: {there!r} has shape {have}, expected {shape} for this architecture"
        )
    if not tensor.is_floating_point():
        raise UserError(f"{path}: {there!r} is of {tensor.dtype}, expected floating-point numbers")
    # A copy, so that neither a mapped file nor a tied tensor is held on to.
    cast = tensor.to(dtype or tensor.dtype, copy=True, memory_format=torch.contiguous_format)
    if not torch.isfinite(cast).all():
        value = tensor[~torch.isfinite(cast)][0].item()
        raise UserError(
            f"{path}: {there!r} has the value {value}, expected finite numbers of {cast.dtype}"
        )
    return cast


def check_pretrained(path: str | Path, layout: str) -> None:
    """Is the pre-trained model's computation that of the checkpoints?

    Shapes do not tell: OpenAI's CLIP has quick-GELU (x times the sigmoid of 1.702 x) and its
    own pixel statistics, and with others the same weights give other logits, without an error.

    Args:
        path: the pre-trained model, as `soups.model.Pretrained` saves it.
        layout: one of `LAYOUTS`; only ``openai`` says anything on this.

    Raises:
        UserError: naming the architecture.
    """
    if layout != "openai":
        return
    note = Checkpoint(path).note
    architecture = note.get("architecture")
    named = isinstance(architecture, str)
    settings = (get_model_config(architecture) or {}) if named else architecture or {}
    if not settings.get("quick_gelu"):
        raise UserError(
            f"model.architecture is {architecture!r}, which has no quick-GELU activations, "
            "expected one like 'ViT-B-32-quickgelu' for checkpoints of layout 'openai'"
        )
    for key, want in {"mean": OPENAI_DATASET_MEAN, "std": OPENAI_DATASET_STD}.items():
        have = tuple(note.get(key, ()))
        if have != want:
            raise UserError(
                f"{path}: pixels have {key} {have}, expected CLIP's {want} for checkpoints of "
                "layout 'openai'"
            )


def start(source: str | Path, layout: str, pretrained: str | Path) -> str:
    """What a checkpoint was fine-tuned from; only models with the same can be averaged.

    The released files do not say: all are of one architecture and one release. A file that
    this workflow wrote says so in its header, and is believed.
    """
    own = Checkpoint(source).note.get("pretrained") if layout == "classifier" else None
    return own or fingerprint(["released", Checkpoint(pretrained).note.get("architecture")])
