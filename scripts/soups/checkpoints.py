"""Weights on disk: safetensors, written aside, with one JSON note in the header."""

import json
from collections.abc import Iterator
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from soups.errors import UserError
from soups.files import replacing

# One key, so that the header's bytes do not depend on the order of a hash map.
_NOTE = "soups"


def save(path: str | Path, state: dict[str, Tensor], note: dict) -> None:
    """Write a state dict; the same tensors and note give the same bytes."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    with replacing(path) as aside:
        save_file(tensors, aside, {_NOTE: json.dumps(note, sort_keys=True)})


class Checkpoint:
    """A safetensors file opened lazily: tensors are read one at a time."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self._file = safe_open(self.path, framework="pt")
        except FileNotFoundError:
            raise UserError(f"{path}: no such checkpoint") from None
        except SafetensorError as error:
            raise UserError(f"{path}: not a safetensors checkpoint ({error})") from error
        self.note: dict = json.loads((self._file.metadata() or {}).get(_NOTE, "{}"))

    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every tensor, in name order; reads no weights."""
        slices = {name: self._file.get_slice(name) for name in sorted(self._file.keys())}
        return {name: (tuple(s.get_shape()), s.get_dtype()) for name, s in slices.items()}

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Tensors in name order, one in memory at a time."""
        for name in sorted(self._file.keys()):
            yield name, self._file.get_tensor(name)

    def state(self) -> dict[str, Tensor]:
        """The whole state dict."""
        return dict(self.items())
