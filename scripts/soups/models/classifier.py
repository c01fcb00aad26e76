"""Ingredients and soups on disk. Each of them is the state dict of a `Classifier`.

A soup averages the state dicts of its ingredients. The header of the pre-trained model describes
the architecture of all of them.
"""

from pathlib import Path

from soups import problems
from soups.errors import UserError
from soups.models import card, checkpoints, plain
from soups.models.network import Classifier

__all__ = ["Classifier", "load_classifier"]


def load_classifier(pretrained: str | Path, weights: str | Path | None = None) -> Classifier:
    """Load an ingredient or a soup, in evaluation mode.

    ``load_classifier(soup)`` needs no other file, because the card in the soup's header has the
    architecture. Files of older versions have no card and need the pre-trained model as well.

    Args:
        pretrained: file of the pre-trained model, whose header has the architecture. Without
            ``weights``, the file of a `Classifier` with a card.
        weights: file of a `Classifier`'s state dict.

    Raises:
        UserError: if a file is not such a checkpoint, if its tensors do not fit, or if a file
            without ``weights`` has no card.
    """
    described = card.read(pretrained) if weights is None else None
    checkpoint = checkpoints.Checkpoint(pretrained if weights is None else weights)
    if "head.weight" not in checkpoint.shapes():
        examples = problems.of_note(described or checkpoint.note).examples
        raise UserError(
            f"{checkpoint.path} has no tensor 'head.weight', expected a classifier of {examples}"
        )
    classes = checkpoint.shapes()["head.weight"][0][0]
    # Only the header is read, because the weights would be overwritten at once.
    note = checkpoints.Checkpoint(pretrained).note if described is None else described
    if (model := plain.classifier(note, classes)) is None:
        from soups.models.pretrained import Pretrained  # The import takes seconds.

        model = Pretrained.described(pretrained, described).classifier(classes)
    checkpoints.load_strictly(model, checkpoint)
    return model.eval()
