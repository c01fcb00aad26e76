"""The starting points of fine-tuning: a head of zeros, a linear probe and the zero-shot head."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from soups.data.prepared import PreparedSet
from soups.jobs import devices
from soups.models.finite import check_finite
from soups.models.forward import forward
from soups.models.pretrained import Pretrained
from soups.roles import INITIALIZATION, ZEROSHOT
from soups.training.probe import linear_probe
from soups.training.schedule import FEW, steps

log = logging.getLogger("soups")
# Share of held-out examples from which a start is saturated, see docs/photographs.md.
SATURATED = 0.95


@dataclass(frozen=True)
class StartingPoint:
    """A classifier before fine-tuning.

    Attributes:
        state: its state dict. Starting points share the tensors of the image tower.
        logits: held-out logits, float32, shape (n, classes), or None for a head of zeros.
    """

    state: dict[str, Tensor]
    logits: np.ndarray | None


def starting_points(
    pretrained: Pretrained,
    train: PreparedSet,
    rows: np.ndarray,
    heldout: PreparedSet,
    templates: Sequence[str],
    settings: Mapping,
    workers: int = 0,
) -> dict[str, StartingPoint]:
    """Make the starting points from a pre-trained model.

    The linear probe starts from the zero-shot head. A model without a text tower has no zero-shot
    head, so its probe starts from zeros. The head of zeros is the start of full fine-tuning.

    Args:
        pretrained: the model.
        train: the training set.
        rows: indices of the training images, without the held-out images.
        heldout: the held-out set.
        templates: prompts with one ``{}`` in place of the class name.
        settings: of the probe, see `linear_probe`.
        workers: number of processes that read images ahead of their use.

    Returns:
        ``newhead``, ``initialization`` and, if the model has a text tower, ``zeroshot``.

    Raises:
        UserError: if the prepared images have another size than the model takes, or if a weight
            of the model or of a head is NaN or infinite.
    """
    pretrained.problem.check_inputs(heldout.inputs, pretrained)
    model = pretrained.classifier(len(train.classes)).to(devices.device()).eval()
    check_finite(model.state_dict(), "the pre-trained model")
    zeroshot = pretrained.text_head(train.classes, templates)
    start = torch.zeros_like(model.head.weight).cpu() if zeroshot is None else zeroshot
    features = forward(model.features, train.inputs, rows, workers=workers, exact=True)
    seen = forward(model.features, heldout.inputs, exact=True)
    torch.manual_seed(settings["seed"])
    labels = torch.from_numpy(train.labels[rows])
    size, total = steps(len(rows), settings)
    if 0 < total < FEW:
        log.warning(
            "the linear probe has %d steps of %d %s, and fewer than %d steps may not fit it. Raise "
            "probe.epochs or lower probe.batch_size.",
            total, size, pretrained.problem.examples, FEW,
        )  # fmt: skip
    heads = {INITIALIZATION: linear_probe(features, labels, start, settings)}
    if zeroshot is not None:
        heads[ZEROSHOT] = zeroshot, torch.zeros(len(zeroshot))

    made = {"newhead": StartingPoint(model.state_dict(), None)}
    for name, (weight, bias) in heads.items():
        check_finite({"weight": weight, "bias": bias}, f"the head of the start {name!r}")
        state = model.state_dict() | {"head.weight": weight, "head.bias": bias}
        made[name] = StartingPoint(state, (seen @ weight.T + bias).numpy())
    return made


def saturated(name: str, accuracy: float, examples: str) -> str:
    """A warning about a start that leaves little to gain, or "".

    Args:
        name: of the start.
        accuracy: on held-out examples.
        examples: what the set holds.
    """
    if accuracy < SATURATED:
        return ""
    return (
        f"the start {name} is right on {100 * accuracy:.1f}% of the held-out {examples}, so "
        "fine-tunes and soups can gain little."
    )
