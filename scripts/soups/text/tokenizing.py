"""From texts to token ids, with the tokenizer in the header of a model.

This module does not import torch or transformers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers

CHUNK = 4096  # texts that are encoded at once, to bound the memory

Texts = Sequence[str | tuple[str, str]]  # each text alone, or a pair of texts


@dataclass(frozen=True)
class Encoded:
    """Texts as tokens.

    Attributes:
        rows: int32, shape (n, 2 + longest). Column 0 is the number of tokens of a text, and column
            1 the number of those that belong to the first text of a pair. The ids of the tokens
            follow, then padding.
        cut: bool, shape (n,), whether a text had more tokens than the model takes.
    """

    rows: np.ndarray
    cut: np.ndarray


def encode(note: Mapping, texts: Texts) -> np.ndarray:
    """Token ids of texts or of pairs of texts, as a classifier takes them.

    Args:
        note: the note in the header of a pre-trained model, or the card of a classifier.
        texts: at least one text, or pair of texts.

    Returns:
        see `Encoded.rows`.
    """
    return encoded(note, texts).rows


def encoded(note: Mapping, texts: Texts) -> Encoded:
    """As `encode`, and which texts were cut. The longer text of a pair is cut first."""
    made = tokenizers.Tokenizer.from_str(note["tokenizer"])
    ids, firsts, cut = [], [], []
    for start in range(0, len(texts), CHUNK):
        for found in made.encode_batch(list(texts[start : start + CHUNK])):
            ids.append(np.array(found.ids, np.int32))
            firsts.append(_first(found))
            cut.append(bool(found.overflowing))
    return Encoded(packed(ids, firsts, note["pad"]), np.array(cut, bool))


def packed(ids: Sequence[np.ndarray], firsts: Iterable[int], pad: int) -> np.ndarray:
    """Rows of one length from token ids of any lengths, see `Encoded.rows`.

    Args:
        ids: of each text.
        firsts: number of tokens of the first text.
        pad: id of the padding.
    """
    lengths = [len(each) for each in ids]
    rows = np.full((len(ids), 2 + max(lengths)), pad, np.int32)
    rows[:, 0], rows[:, 1] = lengths, list(firsts)
    for row, each in zip(rows, ids, strict=True):
        row[2 : 2 + len(each)] = each
    return rows


def _first(found: tokenizers.Encoding) -> int:
    """Number of tokens before the second text. A separator in between belongs to the first one."""
    second = np.flatnonzero(found.type_ids)
    if len(second):
        return int(second[0])
    if found.n_sequences < 2:
        return len(found.ids)
    sequences = found.sequence_ids  # for tokenizers that give both texts the same type
    return sequences.index(1) if 1 in sequences else len(found.ids)
