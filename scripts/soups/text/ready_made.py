"""Ready-made text classifiers: the tokenizer beside the weights must be that of the texts."""

from pathlib import Path

from tokenizers import Tokenizer

from soups.errors import LeftOut, brief
from soups.models.pretrained import Pretrained

FILE = "tokenizer.json"


def check_tokenizer(path: Path, model: Pretrained) -> None:
    """Check that a checkpoint was trained with the words of the model's tokenizer.

    Args:
        path: a file or folder of a checkpoint. Without a `FILE`, nothing is checked.
        model: the `text.models.TextModel` whose tokenizer has made the tokens of all sets.

    Raises:
        LeftOut: with the first word that has another number.
    """
    file = path / FILE
    if not file.is_file():
        return
    try:
        theirs = Tokenizer.from_file(str(file)).get_vocab()
    except Exception as error:  # the tokenizers library raises this class itself
        reason = brief(error)
        raise LeftOut(
            "unreadable",
            f"{file} is not a tokenizer ({reason}), expected one that transformers has saved",
        ) from error
    ours = Tokenizer.from_str(model.made_from["tokenizer"]).get_vocab()
    other = sorted(w for w in ours.keys() | theirs.keys() if ours.get(w) != theirs.get(w))
    if other:
        word = other[0]
        raise LeftOut(
            "other architecture",
            f"{file} gives {len(other)} words another number than the tokenizer of "
            f"model.architecture, such as {word!r} ({theirs.get(word, 'none')}), expected "
            f"{ours.get(word, 'none')}",
        )
