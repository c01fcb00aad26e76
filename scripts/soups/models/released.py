"""Conversion of checkpoints made elsewhere to the state dict of a `Classifier`.

There are two layouts. The layout ``openai`` is that of the paper's 72 released models: OpenAI's
CLIP under ``model.`` and a linear head under ``classification_head.``. The layout ``classifier``
is this workflow's own.
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

# Prefixes of names in the file, and those of a `Classifier`. The rest of each name is the same,
# because open_clip's image tower has OpenAI's names.
PREFIXES = {"model.visual.": "visual.", "classification_head.": "head."}

# Tensors of CLIP's text tower. The released files still have them, but the fine-tuned models use a
# linear head instead.
TEXT_SIDE = (
    r"model\.token_embedding\.weight",  # of the vocabulary
    r"model\.positional_embedding",  # of the positions in a caption
    r"model\.transformer\.resblocks\.\d+\..+",  # the text tower's blocks
    r"model\.ln_final\.(weight|bias)",  # the norm after them
    r"model\.text_projection",  # from the text tower to the common space
    r"model\.logit_scale",  # CLIP's temperature, which the weights of the head replace
)
_TEXT_SIDE = re.compile("|".join(TEXT_SIDE))


def load(
    path: str | Path, layout: str, template: Shapes, dtype: str = "float32"
) -> dict[str, Tensor]:
    """Read a checkpoint of either layout as the state dict of a `Classifier`.

    Args:
        path: a state dict written by torch (``openai``) or a .safetensors file (``classifier``).
        layout: one of `LAYOUTS`.
        template: shape of every tensor of the `Classifier`, by name.
        dtype: one of `DTYPES`; ``as is`` keeps the dtype of every tensor.

    Raises:
        UserError: see `read` and `convert`.
    """
    if layout == "openai":
        return convert(read(path), template, path, dtype)
    return _fitted(Checkpoint(path).state(), template, path, dtype, {"": ""})


def read(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict written by torch, which may be under the key ``state_dict``.

    No code in the file is run, because torch's restricted unpickler makes tensors and plain
    containers only. The tensors are memory-mapped if the format of the file allows it.

    Raises:
        UserError: if the file is missing or broken, if it needs its own code to be run, or if it
            is not a dictionary of tensors.
    """
    path = Path(path)
    expected = "expected a torch-saved dictionary of tensors"
    try:
        content = torch.load(
            path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
        )
    except FileNotFoundError:
        raise UserError(f"{path} does not exist, expected a checkpoint") from None
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} cannot be read safely, because it holds {_culprit(error)}, {expected}"
        ) from error
    except Exception as error:
        # A broken file may raise any error in the unpickler, such as KeyError or EOFError.
        reason = " ".join(str(error).split(". ")[0].split()) or type(error).__name__
        raise UserError(f"{path} is not a readable checkpoint ({reason}), {expected}") from error
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if type(content) not in (dict, OrderedDict):
        raise UserError(f"{path} holds a {type(content).__name__}, {expected}")
    if not content:
        raise UserError(f"{path} holds an empty dictionary, {expected}")
    for name, value in content.items():
        if not isinstance(name, str):
            raise UserError(f"{path} has the key {name!r}, expected names of tensors")
        if not isinstance(value, Tensor):
            raise UserError(f"{path}: {name!r} is a {type(value).__name__}, expected a tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise UserError(f"{path}: {name!r} is not a dense tensor, expected plain numbers")
    return {name: value.detach() for name, value in content.items()}


def _culprit(error: Exception) -> str:
    """The object that the restricted unpickler refused, in words."""
    found = re.search(r"GLOBAL\s+(\S+)", str(error))
    return f"{found[1]}, which is not a tensor" if found else "pickled objects that are not tensors"


def convert(
    state: dict[str, Tensor], template: Shapes, path: str | Path, dtype: str = "float32"
) -> dict[str, Tensor]:
    """Convert a released state dict to that of a `Classifier`, without the text tower.

    CLIP's ViTs of all sizes have the same names, so each of them can be converted.

    Args:
        state: from `read`.
        template: shape of every tensor of the `Classifier`, by name. The shape of the head gives
            the number of classes.
        path: the file, for messages.
        dtype: one of `DTYPES`; ``as is`` keeps the dtype of every tensor.

    Returns:
        tensors in the order of the template, none of which shares memory with ``state``.

    Raises:
        UserError: if a name belongs neither to the classifier nor to the text tower, if a tensor
            is missing, if a shape or the number of classes is wrong, or if a number is not finite.
    """
    wrapped = [name.startswith("module.") for name in state]
    if all(wrapped):  # DataParallel adds this prefix
        state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    elif any(wrapped):
        name = next(name for name, inside in zip(state, wrapped, strict=True) if inside)
        raise UserError(
            f"{path}: {name!r} begins with 'module.' but other names do not, expected all or none"
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
    """Rename, check and cast the tensors of a file.

    Args:
        state: tensors by their names in the file.
        template: shape of every tensor of the `Classifier`, by name.
        path: the file, for messages.
        dtype: one of `DTYPES`.
        prefixes: the `Classifier`'s prefix of names for each prefix in the file.
    """
    theirs = {  # name in the file, by name in the classifier
        ours + name.removeprefix(ours): there + name.removeprefix(ours)
        for there, ours in prefixes.items()
        for name in template
        if name.startswith(ours)
    }
    if unknown := sorted(set(state) - set(theirs.values())):
        raise UserError(
            f"{path} has {unknown[0]!r}, expected only tensors of the image tower and the head"
        )
    out = {}
    for name, shape in template.items():
        there = theirs[name]
        if there not in state:
            raise UserError(f"{path} has no {there!r}, expected a tensor of shape {tuple(shape)}")
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
            f"{path}: {there!r} is for {have[0]} classes, expected {shape[0]}, as in the data"
        )
    if have != shape:
        raise UserError(
            f"{path}: {there!r} has shape {have}, expected {shape} for this architecture"
        )
    if not tensor.is_floating_point():
        raise UserError(
            f"{path}: {there!r} has dtype {tensor.dtype}, expected floating-point numbers"
        )
    # A copy does not depend on the mapped file or on a tied tensor.
    cast = tensor.to(dtype or tensor.dtype, copy=True, memory_format=torch.contiguous_format)
    if not torch.isfinite(cast).all():
        value = tensor[~torch.isfinite(cast)][0].item()
        raise UserError(
            f"{path}: {there!r} has the value {value}, expected finite numbers of {cast.dtype}"
        )
    return cast


def check_pretrained(path: str | Path, layout: str) -> None:
    """Check that the pre-trained model computes the same function as the checkpoints.

    Shapes do not show this. OpenAI's CLIP has quick-GELU activations (x times the sigmoid of
    1.702 x) and its own pixel statistics. With other ones, the same weights give wrong logits
    without an error.

    Args:
        path: file of the pre-trained model, written by `models.classifier.Pretrained`.
        layout: one of `LAYOUTS`; only ``openai`` is checked.

    Raises:
        UserError: if the activations or the pixel statistics are not those of OpenAI's CLIP.
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
                f"{path}: the pixels have {key} {have}, expected CLIP's {want} for checkpoints of "
                "layout 'openai'"
            )


def start(source: str | Path, layout: str, pretrained: str | Path) -> str:
    """Fingerprint of the model that a checkpoint was fine-tuned from.

    Only checkpoints with the same fingerprint can be averaged. A file of this workflow has it in
    its header. The released files have none, but all of them start from one pre-trained model, so
    the name of the architecture stands for it.

    Args:
        source: file of the checkpoint.
        layout: one of `LAYOUTS`.
        pretrained: file of the pre-trained model.
    """
    own = Checkpoint(source).note.get("pretrained") if layout == "classifier" else None
    return own or fingerprint(["released", Checkpoint(pretrained).note.get("architecture")])
