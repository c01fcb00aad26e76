"""Held-out accuracy of soups that are never written to disk."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from soups.jobs import devices
from soups.mixing.mix import growing
from soups.models.batch_norm import Settle
from soups.models.checkpoints import Checkpoint
from soups.models.forward import accuracy


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
        labels: Tensor,
        settle: Settle,
    ) -> None:
        self._model = model.to(devices.device()).eval()
        self._paths, self._heldout = paths, (images, labels)
        self._soup, self._settle = growing(paths), settle

    def __call__(self, names: tuple[str, ...]) -> float:
        """Accuracy, a fraction, of the average of ``names``; the last one is the candidate."""
        soup = self._soup.of(tuple(names[:-1]))
        soup.write(self._model, 1 / len(names), Checkpoint(self._paths[names[-1]]))
        self._settle(self._model)
        return accuracy(self._model, *self._heldout)
