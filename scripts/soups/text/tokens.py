"""The examples of a prepared set of texts: one array of token ids, mapped from its file.

``<set>.npy`` is int32 of shape (n, 2 + longest), see `text.tokenizing.Encoded.rows`. A batch is an
array with fewer columns: its rows are padded to the longest text of the batch.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from soups import files
from soups.errors import UserError


class Tokens:
    """Token ids of n texts.

    Args:
        path: the .npy of a prepared set.

    Attributes:
        memory_mapped: tells `data.loading.Reader` that no worker process is needed.
    """

    memory_mapped = True

    def __init__(self, path: str | Path) -> None:
        self._path = path

    @cached_property
    def _rows(self) -> np.ndarray:
        return files.read_array(self._path)

    def __getstate__(self) -> dict:
        return {"_path": self._path}  # another process maps the file itself

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def shape(self) -> tuple[int, int]:
        return self._rows.shape

    @property
    def dtype(self) -> np.dtype:
        return self._rows.dtype

    @cached_property
    def lengths(self) -> np.ndarray:
        """Number of tokens of each text, int32, shape (n,)."""
        return np.array(self._rows[:, 0])

    @cached_property
    def highest(self) -> int:
        """The largest id of a token."""
        return int(self._rows[:, 2:].max())

    def __getitem__(self, rows) -> np.ndarray:
        """The texts of some rows.

        Args:
            rows: anything that indexes the first axis of an array and keeps it.

        Returns:
            int32, shape (k, 2 + longest of these texts).
        """
        longest = int(self.lengths[rows].max(initial=0))
        return np.array(self._rows[rows][:, : 2 + longest])


def check_fit(inputs: Tokens, pretrained) -> None:
    """Check that the token ids and lengths of a set fit a model.

    Args:
        inputs: of a prepared set.
        pretrained: a `text.models.TextModel`.

    Raises:
        UserError: if a text is too long or a token has no embedding. The set was then made with
            the tokenizer of another model.
    """
    longest, most = int(inputs.lengths.max()), pretrained.max_length
    if longest > most:
        raise UserError(
            f"the prepared texts have up to {longest} tokens, expected at most {most} for "
            "model.architecture, so another model's tokenizer made them"
        )
    if inputs.highest >= pretrained.vocabulary:
        raise UserError(
            f"the prepared texts have a token with the id {inputs.highest}, expected an id below "
            f"{pretrained.vocabulary} for model.architecture, so another model's tokenizer made "
            "them"
        )
