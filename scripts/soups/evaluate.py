"""Running a model over images, and scoring soups that are never written to disk."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from soups import optim
from soups.checkpoints import Checkpoint
from soups.recipes import check_compatible

BATCH = 500


@torch.inference_mode()
def forward(run, images: np.ndarray, rows: np.ndarray | None = None, batch: int = BATCH) -> Tensor:
    """Apply ``run`` (a model or one of its methods) to uint8 images in batches.

    Args:
        run: takes uint8 (b, h, w, 3), returns (b, d).
        images: uint8, shape (n, h, w, 3), may be a memory map.
        rows: sorted indices of the images to use (all by default).

    Returns:
        float32 on the CPU, shape (len(rows) or n, d).
    """
    device = optim.device()
    rows = np.arange(len(images)) if rows is None else rows
    out = []
    for start in range(0, len(rows), batch):
        x = torch.from_numpy(images[rows[start : start + batch]])
        out.append(run(x.to(device)).float().cpu())
    return torch.cat(out)


class HeldoutScorer:
    """Held-out accuracy of uniform averages, for the greedy soup.

    Keeps the float64 sum of the ingredients that are in the soup and one more, however
    many are tried.
    """

    def __init__(
        self, model: nn.Module, paths: Mapping[str, str | Path], images: np.ndarray, labels: Tensor
    ) -> None:
        self._model = model.to(optim.device()).eval()
        self._paths, self._images, self._labels = paths, images, labels
        self._base: tuple[str, ...] = ()
        self._sum: dict[str, Tensor] = {}
        self._last: dict[str, Tensor] = {}
        self._tried: tuple[str, ...] = ()
        self._first: Checkpoint | None = None

    def __call__(self, names: tuple[str, ...]) -> float:
        """Accuracy, a fraction, of the average of ``names``; the last one is the candidate."""
        self._advance(names[:-1])
        checkpoint = Checkpoint(self._paths[names[-1]])
        if self._first is None:
            self._first = checkpoint
        check_compatible(self._first, checkpoint)
        self._last, self._tried = checkpoint.state(), names
        with torch.no_grad():
            for name, target in self._model.state_dict().items():
                tensor = self._last[name]
                if tensor.is_floating_point() and self._sum:
                    target.copy_((self._sum[name] + tensor.double()) / len(names))
                else:
                    target.copy_(tensor)
        logits = forward(self._model, self._images)
        return (logits.argmax(1) == self._labels).double().mean().item()

    def _advance(self, base: tuple[str, ...]) -> None:
        """Make ``base`` the sum; cheap if it is what was tried last."""
        if base == self._base:
            return
        if base == self._tried and base[:-1] == self._base:
            new = iter([self._last])
        else:
            new, self._sum = (Checkpoint(self._paths[name]).state() for name in base), {}
        if base and self._first is None:
            self._first = Checkpoint(self._paths[base[0]])
        for state in new:
            for name, tensor in state.items():
                if tensor.is_floating_point():
                    tensor = tensor.double()
                    self._sum[name] = self._sum[name] + tensor if name in self._sum else tensor
        self._base = base
