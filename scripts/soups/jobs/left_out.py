"""Models that are left out of every choice, read from the headers of their files without torch.

A job that makes such a model writes a file without tensors, see `checkpoints.save_left_out`.
"""

import json
from collections.abc import Iterable
from pathlib import Path

NO_REASON = "its held-out logits are not all finite"  # files of earlier versions give no reason


def reason(weights: str | Path) -> str | None:
    """Return why no soup may contain a model, or None if its file says nothing against it.

    Args:
        weights: a safetensors file. A missing or broken file also gives None.
    """
    try:
        with open(weights, "rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        note = json.loads(header["__metadata__"]["soups"])
        return note["left_out"]["reason"]
    except (OSError, ValueError, TypeError, KeyError, OverflowError, MemoryError):
        return None


def lines(folder: str | Path, models: Iterable[str]) -> list[str]:
    """Return a sentence for each model of an experiment that is left out.

    Args:
        folder: ``results/<name>``.
        models: ids of the experiment's models.
    """
    files = {model: Path(folder) / "models" / f"{model}.safetensors" for model in models}
    return [line(model, why) for model, path in files.items() if (why := reason(path))]


def line(model: str, why: str) -> str:
    """Return the sentence of one model."""
    return f"{model} is left out: {why}"
