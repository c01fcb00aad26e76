"""Which models may be chosen: a model is usable if its held-out logits are all finite.

Rules that have no logits as inputs read from the file of weights whether the model is left out.
The job that made the file looked at the logits. This module does not import torch.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from soups.errors import UserError
from soups.jobs import left_out

log = logging.getLogger("soups")
TOLD = 3  # reasons in an error


def is_usable(logits: np.ndarray) -> bool:
    """Whether a model with these held-out logits may be chosen.

    Args:
        logits: shape (n, classes).
    """
    return bool(np.isfinite(logits).all())


def by_logits(heldout: Mapping[str, str | Path]) -> list[str]:
    """Ids of the models that may be chosen. The log names every other model with its reason.

    Args:
        heldout: id of a model to the file of its held-out logits, beside the file of its weights.

    Raises:
        UserError: if no model may be chosen.
    """
    reasons = {
        name: None if is_usable(np.load(path, mmap_mode="r")) else _reason(path)
        for name, path in heldout.items()
    }
    return _chosen(reasons)


def by_weights(weights: Mapping[str, str | Path], some: bool = True) -> list[str]:
    """Ids of the models whose files are not left out, as `by_logits`.

    Args:
        weights: id of a model to the file of its weights.
        some: whether at least one model is needed.

    Raises:
        UserError: if no model may be chosen although one is needed.
    """
    return _chosen({name: left_out.reason(path) for name, path in weights.items()}, some)


def first(weights: Sequence[str | Path]) -> str:
    """The first of some files of weights that is not left out.

    Raises:
        UserError: if all are left out.
    """
    return by_weights({str(path): path for path in weights})[0]


def _reason(heldout: str | Path) -> str:
    path = Path(heldout)
    weights = path.with_name(path.name.removesuffix(".heldout.npy") + ".safetensors")
    return left_out.reason(weights) or left_out.NO_REASON


def _chosen(reasons: Mapping[str, str | None], some: bool = True) -> list[str]:
    lines = [left_out.line(name, why) for name, why in reasons.items() if why]
    for line in lines:
        log.info("%s", line)
    if some and reasons and len(lines) == len(reasons):
        more = f" ({len(lines) - TOLD} more are left out too)" if len(lines) > TOLD else ""
        raise UserError(f"no model is left to choose from: {', '.join(lines[:TOLD])}{more}")
    return [name for name, why in reasons.items() if not why]
