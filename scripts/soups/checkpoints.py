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
    """A safetensors file: its layout and note now, its tensors one at a time when asked.

    Holding one keeps no file open and no weights in memory.

    Attributes:
        path: the file.
        note: what `save` was given.

    Raises:
        UserError: if the file is missing or no safetensors file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as file:
            self.note: dict = json.loads((file.metadata() or {}).get(_NOTE, "{}"))
            slices = {name: file.get_slice(name) for name in sorted(file.keys())}
            self._shapes = {n: (tuple(s.get_shape()), s.get_dtype()) for n, s in slices.items()}

    def _open(self) -> safe_open:
        try:
            return safe_open(self.path, framework="pt")
        except FileNotFoundError:
            raise UserError(f"{self.path}: no such checkpoint") from None
        except (SafetensorError, OSError) as error:
            raise UserError(f"{self.path}: not a safetensors checkpoint ({error})") from error

    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every tensor, in name order."""
        return self._shapes

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Tensors in name order, one in memory at a time."""
        with self._open() as file:
            for name in self._shapes:
                yield name, file.get_tensor(name)

    def state(self) -> dict[str, Tensor]:
        """The whole state dict."""
        return dict(self.items())
