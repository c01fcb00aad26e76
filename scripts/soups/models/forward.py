"""Evaluation of a model on examples, in batches."""

import logging
from contextlib import closing, nullcontext
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from soups import files
from soups.data.loading import Images, Reader
from soups.data.prepared import PreparedSet
from soups.errors import LeftOut, UserError
from soups.jobs import compute, devices, events
from soups.models.linear import fast_linear
from soups.models.usable import is_usable

log = logging.getLogger("soups")

# The activations of 125 small images stay in a CPU's cache. A GPU is faster with larger batches.
BATCH, GPU_BATCH = 125, 1000
HELD = {"cuda": 2**28}  # by device: bytes of results that wait there for their copy to the CPU


@torch.inference_mode()
def forward(
    run,
    inputs,
    rows: np.ndarray | None = None,
    batch: int | None = None,
    workers: int = 0,
    exact: bool = False,
) -> Tensor:
    """Apply ``run`` (a model or one of its methods) to examples in batches.

    Batches have examples of similar length, if the examples have lengths.

    Args:
        run: takes a batch of examples, returns (b, d).
        inputs: n examples, see `problems.Problem.inputs`.
        rows: indices of the examples to use; all by default.
        batch: examples in a batch; by default `compute.batch_size`, and without it `BATCH` on a CPU
            and `GPU_BATCH` elsewhere.
        workers: number of processes that read examples from files ahead of their use.
        exact: compute in float32 even if `compute.inference` is another precision. Held-out
            examples need this, so that ingredients and soups are scored alike.

    Returns:
        float32 on the CPU, shape (len(rows) or n, d).
    """
    rows = np.arange(len(inputs)) if rows is None else rows
    lengths = getattr(inputs, "lengths", None)
    place = np.arange(len(rows)) if lengths is None else np.argsort(lengths[rows], kind="stable")
    size = (
        batch or compute.current().batch_size or (BATCH if devices.kind() == "cpu" else GPU_BATCH)
    )
    in_float32 = exact or compute.current().inference == "float32"
    places = [place[start : start + size] for start in range(0, len(rows), size)]
    out, held = None, []
    with (
        nullcontext() if exact else devices.autocast("inference"),
        fast_linear(run) if in_float32 else nullcontext(),
        closing(Reader(inputs, workers).read(rows[part] for part in places)) as ready,
    ):
        for part, x in zip(places, ready, strict=True):
            values = run(x).float()
            if out is None:  # concatenating a list of batches would need twice the memory
                out = torch.empty(len(rows), *values.shape[1:])
            held.append((part, values))
            # Every copy waits for the GPU, and meanwhile it gets no more work.
            most = HELD.get(values.device.type, 0)
            if part is places[-1] or sum(each.nbytes for _, each in held) >= most:
                for some, each in held:
                    out[some] = each.cpu()
                held.clear()
    return out


def write_heldout_logits(model: nn.Module, heldout: PreparedSet, path: str | Path) -> None:
    """Compute the held-out logits of an ingredient, the last step of the job that makes it.

    The log and the event name the held-out accuracy, whatever the metric of the experiment, so that
    a model need not be fine-tuned again for another metric.

    Args:
        model: the classifier, whose weights are on disk.
        heldout: the held-out set.
        path: the .npy to write, float32, shape (n, classes).

    Raises:
        LeftOut: if a logit is NaN or infinite. Nothing is written then.
    """
    logits = forward(model, heldout.inputs, exact=True).numpy()
    if not is_usable(logits):
        count = int((~np.isfinite(logits).all(1)).sum())
        raise LeftOut(
            "diverged",
            f"the logits of {count} of {len(logits)} held-out {heldout.problem.examples} are NaN "
            "or infinite, expected finite numbers",
        )
    files.write_array(path, logits)
    accuracy = float((logits.argmax(1) == heldout.labels).mean())
    log.info("held-out accuracy %.4f", accuracy)
    events.emit("done", heldout_accuracy=accuracy)


def check_size(images: Images, size: int) -> None:
    """Check that prepared images have the size that a model takes.

    Args:
        images: shape (n, size, size, 3).
        size: pixels per side that the model takes.

    Raises:
        UserError: if the images have another size.
    """
    if images.shape[1] != size:
        raise UserError(
            f"the prepared images are {images.shape[1]} pixels wide, expected {size} for "
            f"model.architecture, so set data.folders.image_size to {size}"
        )
