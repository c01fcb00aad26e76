"""Words to token ids, for the small text tower the workflow trains itself."""

import re

import torch
from torch import Tensor

from soups.errors import UserError

PAD = 0


class WordTokenizer:
    """One id per word; called like an open_clip tokenizer.

    Ids: 0 pads, words follow in alphabetical order, then start, then end. The end
    token has the largest id, which is where open_clip's text tower pools.
    """

    def __init__(self, words: list[str], context_length: int) -> None:
        self.words = sorted(set(words))
        self.context_length = context_length
        self._ids = {word: i + 1 for i, word in enumerate(self.words)}
        self.start, self.end = len(self.words) + 1, len(self.words) + 2
        self.vocab_size = len(self.words) + 3

    @classmethod
    def from_texts(cls, texts: list[str], context_length: int) -> "WordTokenizer":
        """The vocabulary that covers ``texts``."""
        return cls([word for text in set(texts) for word in split(text)], context_length)

    def __call__(self, texts: list[str]) -> Tensor:
        """int64, shape (len(texts), context_length).

        Raises:
            UserError: for a word the text tower has never seen, or too long a text.
        """
        out = torch.full((len(texts), self.context_length), PAD)
        for row, text in enumerate(texts):
            unknown = [word for word in split(text) if word not in self._ids]
            if unknown:
                raise UserError(
                    f"the text {text!r} has the word {unknown[0]!r}, which is not among the "
                    f"{len(self.words)} words this model's text tower was pre-trained with"
                )
            if not split(text):
                raise UserError(f"the text {text!r} has no word, expected at least one")
            ids = [self.start, *(self._ids[word] for word in split(text)), self.end]
            if len(ids) > self.context_length:
                raise UserError(
                    f"the text {text!r} has {len(ids) - 2} words; this model's text tower "
                    f"takes {self.context_length - 2}"
                )
            out[row, : len(ids)] = torch.tensor(ids)
        return out


def split(text: str) -> list[str]:
    """Lower-case words of a text."""
    return re.findall(r"\w+", text.lower())
