"""Texts to measure speeds with: some texts of the training set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soups import files
from soups.data.samples import SampleSet
from soups.jobs import timing
from soups.text import preparation, reading, tokenizing
from soups.text.source import Texts
from soups.text.tokens import Tokens

MOST = 1000  # texts that are tokenized for the measurement


class TextSamples(SampleSet):
    """Random training texts, tokenized for the model, so that their lengths are the real ones.

    Args:
        pretrained: a `text.models.TextModel`.
        source: the sets of texts.
        folder: folder for the tokens.
    """

    def __init__(self, pretrained, source: Texts, folder: Path) -> None:
        records = reading.read(source.origin("train"), "train")[0]
        chosen = np.random.default_rng(0).permutation(len(records))[:MOST]
        self._note = pretrained.made_from
        self._records = [records[row] for row in chosen]
        rows, _ = preparation.tokenized(self._note, "train", self._records)
        files.write_array(folder / "train.npy", rows)
        self._tokens = Tokens(folder / "train.npy")
        self.prepared = self.stored = 4 * rows.shape[1]  # the ids are int32
        mean, longest = self._tokens.lengths.mean(), self._tokens.lengths.max()
        self.notes = [
            f"The speeds are those of {len(chosen):,} training texts, which have {mean:.0f} tokens "
            f"on average and {longest} at most."
        ]

    def inputs(self, number):
        return Repeated(self._tokens, np.arange(number) % len(self._tokens))

    def preparing(self):
        return {"tokenize": self._tokenizing}

    def _tokenizing(self) -> float:
        texts = [preparation.text_of(record) for record in self._records]
        return timing.repeated(lambda: tokenizing.encoded(self._note, texts)) / len(texts)


class Repeated:
    """Tokens of some rows, of which one may be there several times, see `problems.Problem.inputs`.

    Args:
        tokens: the texts.
        rows: rows of the texts, int64, shape (n,).
    """

    memory_mapped = True

    def __init__(self, tokens: Tokens, rows: Sequence[int]) -> None:
        self._tokens, self._rows = tokens, rows
        self.lengths = tokens.lengths[rows]

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows) -> np.ndarray:
        return self._tokens[self._rows[rows]]
