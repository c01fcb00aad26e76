"""Exports of a classifier as a plain checkpoint of the library that its architecture comes from."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from soups import files, problems
from soups.errors import UserError
from soups.models import card as cards
from soups.models.architectures import TIMM, TORCHVISION, TRANSFORMERS
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.pretrained import Pretrained
from soups.usage import folders

FORMATS = ("open_clip", "timm", "torchvision", "huggingface")
# Formats in which the models of each library can be written.
POSSIBLE = {
    "open_clip": ("open_clip",),
    "timm": ("timm", "huggingface"),
    "torchvision": ("torchvision",),
    "transformers": ("huggingface",),
}
NATIVE = "native"  # the pooling of text classifiers of transformers
TOLERANCE = 1e-4  # of a logit, relative to the largest one


def export(path: str | Path, to: str, out: str | Path, pretrained: str | None = None) -> None:
    """Write a classifier into a new folder, in the layout of another library.

    Args:
        path: file of a soup, or of another classifier with a card.
        to: one of `FORMATS`.
        out: the folder to make. It appears when it is complete.
        pretrained: for ``open_clip``, the pre-trained model that has the text tower: a file of this
            workflow, or a tag of open_clip. By default, the file of the soup's own results folder.

    Raises:
        UserError: if the file has no card, if the format cannot hold the model, if the folder
            exists, or if the text tower is missing.
    """
    card = cards.read(path)
    check(path, card, to)
    with new_folder(out) as folder:
        if to == "open_clip":
            clip = folders.whole_clip(path, card, pretrained)
            folders.write_open_clip(folder, clip, card, Checkpoint(path).state())
        else:
            model = Pretrained.described(path, card)
            state = native_state(model, Checkpoint(path), to)
            library = model.native_model(len(card["classes"]), state)
            check_equal(load_classifier(path), library, card, path)
            write = {
                "timm": folders.write_timm,
                "torchvision": folders.write_torchvision,
                "huggingface": folders.write_huggingface,
            }
            write[to](folder, library, card, state)
        files.write_json(folder / "card.json", card)


def library_of(architecture: str | dict) -> str:
    """Name of the library that an architecture comes from."""
    prefixes = {TIMM: "timm", TORCHVISION: "torchvision", TRANSFORMERS: "transformers"}
    named = architecture if isinstance(architecture, str) else ""
    return next((name for start, name in prefixes.items() if named.startswith(start)), "open_clip")


def check(path: str | Path, card: Mapping, to: str) -> None:
    """Check that a format can hold a model.

    Args:
        path: the file, for messages.
        card: of the model.
        to: one of `FORMATS`.

    Raises:
        UserError: if it cannot. The message names the formats that can.
    """
    library = library_of(card["architecture"])
    if to == "huggingface" and card.get("pooling", NATIVE) != NATIVE:
        raise UserError(
            f"{path} has the pooling {card['pooling']!r}, which no classifier of transformers "
            f"computes, expected a model with model.pooling {NATIVE}, or plain PyTorch "
            "(docs/using.md)"
        )
    # A CLIP of transformers has normalised features, and no classifier of transformers does that.
    unit = card.get("normalize_features", False)
    possible = POSSIBLE[library] if library == "open_clip" or not unit else ()
    if to not in possible:
        raise UserError(
            f"{path} is a model of {library} with the architecture "
            f"{json.dumps(card['architecture'])}, which {to} cannot compute, expected "
            f"{' or '.join(f'--to {name}' for name in possible) or 'plain PyTorch (docs/using.md)'}"
        )


def native_state(model: Pretrained, checkpoint: Checkpoint, to: str) -> dict[str, Tensor]:
    """Rename the tensors of a classifier to those of its own library.

    Args:
        model: the architecture.
        checkpoint: of the classifier.
        to: the format, for messages.

    Raises:
        UserError: if the library's model has no place for a tensor.
    """
    ours = checkpoint.state()
    classes = len(ours["head.weight"])
    shapes = {
        name: value.shape for name, value in model.native_state(model.native_model(classes)).items()
    }
    state = {}
    for name, there in model.native(classes).items():
        if there is not None:
            state[there] = ours[name].reshape(shapes[there]).clone()
        elif ours[name].any():
            raise UserError(
                f"{checkpoint.path} has the tensor {name!r}, for which {to} has no place in the "
                f"architecture {json.dumps(model.architecture)}"
            )
    return state


@torch.inference_mode()
def check_equal(ours: nn.Module, theirs: nn.Module, card: Mapping, path: str | Path) -> None:
    """Check that the library's model gives the logits of the classifier for some examples.

    Raises:
        UserError: if the logits differ.
    """
    want, have = problems.of_note(card).compared_logits(ours.eval(), theirs.eval(), card)
    worst = (want - have).abs().max().item()
    if not worst <= TOLERANCE * max(1, want.abs().max().item()):
        raise UserError(
            f"{path}: the model of the library gives logits that differ by {worst:.3g}, expected "
            "the same ones, so nothing was written"
        )


@contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yield an empty folder that is renamed to ``path`` if no error is raised.

    Raises:
        UserError: if the path exists, or if the disk is full.
    """
    path = Path(path)
    if path.exists():
        raise UserError(f"{path} exists, expected the name of a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as aside:
        made = Path(aside, path.name)
        made.mkdir()
        try:
            yield made
        except UserError:
            raise
        except Exception as error:
            if sentence := files.no_space(error, path):
                raise UserError(sentence) from error
            raise
        os.rename(made, path)
