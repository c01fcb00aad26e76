"""Tokens of words, for the small text tower that the workflow trains itself."""

import re

import torch
from torch import Tensor

from soups.errors import UserError

PAD = 0


class WordTokenizer:
    """A tokenizer with one id per word, called like an open_clip tokenizer.

    Id 0 is padding. The words follow in alphabetical order, then the start token and the end token.
    The end token has the largest id, because open_clip's text tower pools at the largest id.

    Args:
        words: the vocabulary, in any order.
        context_length: tokens of a text, with start, end and padding.
    """

    def __init__(self, words: list[str], context_length: int) -> None:
        self.words = sorted(set(words))
        self.context_length = context_length
        self._ids = {word: i + 1 for i, word in enumerate(self.words)}
        self.start, self.end = len(self.words) + 1, len(self.words) + 2
        self.vocab_size = len(self.words) + 3

    @classmethod
    def from_texts(cls, texts: list[str], context_length: int) -> "WordTokenizer":
        """Make a tokenizer whose vocabulary is the words of ``texts``."""
        return cls([word for text in set(texts) for word in split(text)], context_length)

    def __call__(self, texts: list[str]) -> Tensor:
        """Token ids, int64, shape (len(texts), context_length).

        Raises:
            UserError: if a word is not in the vocabulary, or if a text is empty or too long.
        """
        out = torch.full((len(texts), self.context_length), PAD)
        for row, text in enumerate(texts):
            unknown = [word for word in split(text) if word not in self._ids]
            if unknown:
                raise UserError(
                    f"the text {text!r} has the word {unknown[0]!r}, expected one of the "
                    f"{len(self.words)} words that the text tower was pre-trained with"
                )
            if not split(text):
                raise UserError(f"the text {text!r} has no word, expected at least one")
            ids = [self.start, *(self._ids[word] for word in split(text)), self.end]
            if len(ids) > self.context_length:
                raise UserError(
                    f"the text {text!r} has {len(ids) - 2} words, expected at most "
                    f"{self.context_length - 2} for this model's text tower"
                )
            out[row, : len(ids)] = torch.tensor(ids)
        return out


def split(text: str) -> list[str]:
    """Words of a text in lower case."""
    return re.findall(r"\w+", text.lower())
