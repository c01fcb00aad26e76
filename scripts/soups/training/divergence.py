"""Training that diverged is stopped: its loss or its weights are NaN or infinite."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from soups.errors import LeftOut
from soups.jobs import distributed
from soups.models.finite import not_finite

# Steps between two checks. A check waits for the GPU, so it must not follow every step.
EVERY = 50


class Watch:
    """Looks at the loss of every step, a few steps later.

    All processes of a fine-tune must call `look` after the same steps.

    Args:
        model: the model in training.
        lr: the peak learning rate, for the message.
        total: all steps, for the message.
        skips: whether the optimizer skips steps with gradients that are not finite, as it does in
            float16. Then a single such loss is no sign of divergence.
    """

    def __init__(self, model: nn.Module, lr: float, total: int, skips: bool = False) -> None:
        self._model, self._lr, self._total, self._skips = model, lr, total, skips

    def look(self, losses: Sequence[Tensor], step: int, last: bool) -> None:
        """Check the latest losses if it is time to.

        Args:
            losses: those of the epoch's steps so far, 0-dimensional.
            step: number of steps that are done.
            last: whether this step ends the epoch or the training.

        Raises:
            LeftOut: if a loss is NaN or infinite. The reason names the step and the first tensor
                that is not finite.
        """
        if not last and len(losses) % EVERY:
            return
        recent = torch.stack(list(losses if last else losses[-EVERY:])).cpu()
        bad = (~torch.isfinite(recent)).nonzero()
        index = int(bad[0]) if len(bad) else len(recent)
        name = not_finite(self._model.state_dict()) if len(bad) else None
        if self._skips and name is None:
            index = len(recent)
        # Another process may have met it first.
        first = -distributed.highest(-index)
        if first == len(recent):
            return
        number = step - len(recent) + first + 1
        # A process whose own losses are finite reports the loss of another one.
        value = recent[first].item()
        value = f"{value:g}" if not math.isfinite(value) else "not finite"
        name = name or not_finite(self._model.state_dict())
        where = "all weights are finite" if name is None else f"tensor {name!r} is not finite"
        raise LeftOut(
            "diverged",
            f"the loss of step {number} of {self._total} is {value} and {where} (peak learning "
            f"rate {self._lr:g})",
        )

    def end(self) -> None:
        """Check the weights after training.

        Raises:
            LeftOut: naming the first tensor that is not finite.
        """
        if (name := not_finite(self._model.state_dict())) is not None:
            raise LeftOut(
                "diverged",
                f"tensor {name!r} is not finite after all {self._total} steps (peak learning rate "
                f"{self._lr:g})",
            )
