"""Image classifiers with random weights."""

import open_clip
import torch

from soups.models.pretrained import Pretrained, bring_in
from soups.models.sizes import size_of


def random_model(architecture: str | dict, words: list[str], size: int | None = None) -> Pretrained:
    """A pre-trained model with random weights. This function downloads nothing.

    Args:
        architecture: see `Pretrained`.
        words: of the text tower, if the architecture is a dictionary.
        size: pixels per side, or None for the architecture's own size.
    """
    if isinstance(architecture, dict):
        return Pretrained(architecture, words)
    model = bring_in(architecture, None)
    if size not in (None, model.image_size) and hasattr(model, "resize"):
        model.resize(size)
    return model


def classifier_bytes(architecture: str | dict, words: list[str]) -> int:
    """Bytes of a classifier, which is built without memory for its weights."""
    with torch.device("meta"):  # shapes without memory
        if isinstance(architecture, str) and "/" not in architecture:
            # `random_model` would move the weights to a device that has none.
            tower = open_clip.create_model(architecture, device="meta").visual
            return size_of(tower) + 4 * tower.output_dim * len(words)
        return size_of(random_model(architecture, words).classifier(len(words)))
