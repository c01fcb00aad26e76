"""What the card of a text classifier says about texts, see `models.card`."""

from collections.abc import Mapping

import numpy as np

from soups.data.prepared import PreparedSet

SAMPLE = 64  # held-out examples that tell whether examples have two texts


def entries(note: Mapping, heldout: PreparedSet) -> dict:
    """Return the architecture, the tokenizer, and whether an example has two texts.

    The card has the other entries of the pre-trained model's header anyway. Cards of images leave
    out the tokenizer.

    Args:
        note: of the pre-trained model.
        heldout: the held-out set.
    """
    rows = heldout.inputs[np.arange(min(SAMPLE, len(heldout.labels)))]
    pair = bool((rows[:, 1] < rows[:, 0]).any())
    return {"architecture": note["architecture"], "tokenizer": note["tokenizer"], "pair": pair}
