"""Running a model over images, and scoring soups that are never written to disk."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from soups import optim
from soups.checkpoints import Checkpoint
from soups.mixing import growing

# On a CPU, activations of 125 small images stay in its cache; a GPU wants more at once.
BATCH, GPU_BATCH = 125, 500


@torch.inference_mode()
def forward(
    run, images: np.ndarray, rows: np.ndarray | None = None, batch: int | None = None
) -> Tensor:
    """Apply ``run`` (a model or one of its methods) to uint8 images in batches.

    Args:
        run: takes uint8 (b, h, w, 3), returns (b, d).
        images: uint8, shape (n, h, w, 3), may be a memory map.
        rows: sorted indices of the images to use (all by default).
        batch: images at a time.

    Returns:
        float32 on the CPU, shape (len(rows) or n, d).
    """
    device = optim.device()
    rows = np.arange(len(images)) if rows is None else rows
    batch = batch or (BATCH if device.type == "cpu" else GPU_BATCH)
    out = []
    for start in range(0, len(rows), batch):
        x = torch.from_numpy(images[rows[start : start + batch]])
        out.append(run(x.to(device)).float().cpu())
    return torch.cat(out)


def accuracy(model: nn.Module, images: np.ndarray, rows: np.ndarray, labels: Tensor) -> float:
    """Share of the images of some rows whose largest logit is the label's (one per row)."""
    return (forward(model, images, rows).argmax(1) == labels).double().mean().item()


class HeldoutScorer:
    """Held-out accuracy of uniform averages, for the greedy soup.

    Keeps the float64 sum of the ingredients that are in the soup and one more, however
    many are tried.
    """

    def __init__(
        self,
        model: nn.Module,
        paths: Mapping[str, str | Path],
        images: np.ndarray,
        rows: np.ndarray,
        labels: Tensor,
    ) -> None:
        self._model = model.to(optim.device()).eval()
        self._paths, self._heldout = paths, (images, rows, labels)
        self._soup = growing(paths)

    def __call__(self, names: tuple[str, ...]) -> float:
        """Accuracy, a fraction, of the average of ``names``; the last one is the candidate."""
        soup = self._soup.of(tuple(names[:-1]))
        soup.write(self._model, 1 / len(names), Checkpoint(self._paths[names[-1]]))
        return accuracy(self._model, *self._heldout)
