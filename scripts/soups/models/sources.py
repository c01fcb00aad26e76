"""Sources of pre-trained weights, which are tags of open_clip or timm, or files of weights."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pickle import UnpicklingError

from open_clip import get_model_config, get_pretrained_cfg
from torch import nn

from soups.errors import UserError
from soups.models.architectures import WEIGHTS


def is_file(source: str | None) -> bool:
    """Whether a source is a file of weights instead of a tag."""
    return bool(source) and source.endswith(WEIGHTS)


def classes_in(path: str, model: nn.Module) -> dict:
    """Arguments for timm's ``create_model`` that fit the head of a file's weights."""
    from timm.models import load_state_dict

    names = model.pretrained_cfg["classifier"]
    first = names if isinstance(names, str) else names[0]
    head = load_state_dict(path).get(f"{first}.weight")
    classes = 0 if head is None else len(head)
    overlay = {"file": path, "num_classes": classes}
    return {"num_classes": classes, "pretrained_cfg_overlay": overlay}


def check_tag(tag: str, known: Sequence[str], architecture: str) -> None:
    """Check that an architecture has weights with this tag.

    Raises:
        UserError: naming the tags that it has.
    """
    if tag not in known:
        raise UserError(
            f"model.pretrained is {tag!r}, expected 'train', a file of weights or a tag of "
            f"{architecture} ({', '.join(known) or 'which has none'})"
        )


def check_activation(architecture: str, tag: str) -> None:
    """Check that the architecture has the activation that the weights were trained with.

    The weights load into a tower with the other activation without an error, but then the
    features are wrong.

    Raises:
        UserError: if the activations differ.
    """
    wants = get_pretrained_cfg(architecture, tag).get("quick_gelu", False)
    if wants and not get_model_config(architecture).get("quick_gelu", False):
        raise UserError(
            f"model.architecture is {architecture!r}, but the weights {tag!r} were trained with "
            f"quick GELU, expected '{architecture}-quickgelu'"
        )


@contextmanager
def fetching(source: str | None) -> Iterator[None]:
    """Turn the libraries' errors about weights into a `UserError` of one sentence.

    Args:
        source: a tag, a file of weights, or None for random weights.
    """
    # open_clip warns about random weights, which are intended where there is no source.
    logging.getLogger().setLevel(logging.WARNING if source else logging.ERROR)
    try:
        yield
    except UnpicklingError as error:
        raise UserError(
            f"model.pretrained is {source!r}, which would run code when it is loaded, expected a "
            "file of tensors alone"
        ) from error
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        if source is None:
            raise
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"model.pretrained is {source!r}, whose weights could not be loaded "
            f"({type(error).__name__}: {reason}), expected a network connection, weights in the "
            "cache of huggingface_hub, or a file that fits model.architecture"
        ) from error
    finally:
        logging.getLogger().setLevel(logging.WARNING)
