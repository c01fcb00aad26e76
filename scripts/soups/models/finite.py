"""Models with weights or logits that are NaN or infinite, and the files that stand for them."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from soups import files
from soups.data.prepared import PreparedSet
from soups.errors import LeftOut, UserError
from soups.jobs import distributed, events, left_out
from soups.models import checkpoints

log = logging.getLogger("soups")


@contextmanager
def leaving_out(job, note: dict, heldout: PreparedSet) -> Iterator[None]:
    """Turn a `LeftOut` inside the context into a left-out model, see `leave_out`.

    Of several processes, only the first one writes.
    """
    try:
        yield
    except LeftOut as why:
        if not distributed.rank():
            leave_out(why, job, note, heldout)


def leave_out(why: LeftOut, job, note: dict, heldout: PreparedSet) -> None:
    """Write the outputs of a job whose model cannot be an ingredient.

    Args:
        why: the reason.
        job: a job that makes a model, with ``weights`` and ``heldout`` as outputs and with the
            configuration.
        note: for the header of the file, see `checkpoints.save_left_out`.
        heldout: the held-out set.

    Raises:
        LeftOut: ``why`` itself, if ``ingredients.strict`` is true.
    """
    if job.config["ingredients"]["strict"]:
        raise why
    # The number of classes lets `evaluate` write missing logits without a model.
    classes = {"number_of_classes": len(heldout.classes)}
    checkpoints.save_left_out(job.output.weights, why, note | classes)
    missing = missing_logits(len(heldout.labels), len(heldout.classes))
    files.write_array(job.output.heldout, missing)
    log.info("%s", left_out.line(Path(job.output.weights).stem, str(why)))
    events.emit("done", heldout_accuracy=float("nan"), left_out=str(why))


def missing_logits(images: int, classes: int) -> np.ndarray:
    """The logits of a model that is left out: NaN, float32, shape (images, classes)."""
    return np.full((images, classes), np.nan, np.float32)


def not_finite(state: Mapping[str, Tensor]) -> str | None:
    """Name of the first tensor with a value that is NaN or infinite, or None."""
    for name, tensor in state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return name
    return None


def check_finite(state: Mapping[str, Tensor], what: str) -> None:
    """Check that a model from which others are trained has finite weights.

    Args:
        state: its tensors by name.
        what: the file or the step that made it, for the error.

    Raises:
        UserError: naming the first tensor that is not finite.
    """
    if (name := not_finite(state)) is not None:
        raise UserError(
            f"{what}: tensor {name!r} has values that are NaN or infinite, expected finite weights"
        )
