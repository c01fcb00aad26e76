"""What the card of an image classifier says about images, see `models.card`."""

from collections.abc import Mapping

import torch

from soups.data import folders
from soups.data.prepared import PreparedSet

RESIZE, CROP = "bicubic, short side", "centre"


def entries(config: Mapping, note: Mapping, heldout: PreparedSet, model) -> dict:
    """Return the size of the images, how an image gets it, and the statistics of the pixels.

    Args:
        config: the whole configuration.
        note: of the pre-trained model.
        heldout: the held-out set.
        model: the `Classifier`, or the `Pretrained` that it is made from.
    """
    upright, named = True, None
    if config["data"]["source"] == "folders":
        settings = folders.settings_of(config["data"]["folders"])
        upright, named = settings["upright"], folders.training_classes(settings)
    card = {
        "architecture": note["architecture"],
        "image_size": int(heldout.inputs.shape[1]),
        "resize": RESIZE,
        "crop": CROP,
        "upright": upright,
        "mean": _pixels(note, model, "mean"),
        "std": _pixels(note, model, "std"),
        "normalize_features": bool(model.normalize),
    }
    if named is not None and named != heldout.classes:
        card["folders"] = named
    return card


def _pixels(note: Mapping, model, name: str) -> list[float]:
    """Return mean or std of the pixels (0–1). Headers of old pre-trained models lack them."""
    if name in note:
        return list(note[name])
    value = getattr(model, name)  # a classifier holds 255 times the value
    return (value.flatten() / 255).tolist() if torch.is_tensor(value) else list(value)
