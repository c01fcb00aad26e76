"""Weights on disk: safetensors files with a JSON note in the header, replaced atomically."""

import json
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from soups.errors import LeftOut, UserError
from soups.files import replacing

DTYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip

# All notes share one key, so the header's bytes do not depend on the order of a hash map.
_NOTE = "soups"

# Returns a slice of a flattened tensor, given its name. The buffer of bytes is for values on disk.
Read = Callable[[str, slice, Tensor], Tensor]


def save(path: str | Path, state: dict[str, Tensor], note: dict) -> None:
    """Write a state dict. The same tensors and note always give the same bytes.

    Args:
        path: the file to write.
        state: tensors by name. Tied tensors and views of one memory become tensors of their own.
        note: becomes JSON in the header.
    """
    tensors, taken = {}, set()
    for name, tensor in state.items():
        made = tensor.detach().cpu().contiguous()
        memory = made.untyped_storage().data_ptr()
        # The format refuses tensors that share memory. An empty tensor has none.
        tensors[name] = made.clone() if memory and memory in taken else made
        taken.add(memory)
    with replacing(path) as aside:
        save_file(tensors, aside, {_NOTE: json.dumps(note, sort_keys=True)})


def save_left_out(path: str | Path, why: LeftOut, note: dict) -> None:
    """Write a file without tensors for a model that is left out, see `Checkpoint.left_out`."""
    left_out = {"verdict": why.verdict, "reason": str(why)}
    save(path, {}, note | {"left_out": left_out})


class Checkpoint:
    """A safetensors file, whose tensors are read one at a time on request.

    The object holds the layout and the note. It keeps no file open and no weights in memory.

    Attributes:
        path: the file.
        note: the note given to `save`; empty if the file has none.

    Raises:
        UserError: if the file is missing or not a safetensors file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        with self._open() as file:
            self.note = _note((file.metadata() or {}).get(_NOTE, "{}"), self.path)
            slices = {name: file.get_slice(name) for name in sorted(file.keys())}
            self._shapes = {n: (tuple(s.get_shape()), s.get_dtype()) for n, s in slices.items()}

    def _open(self) -> safe_open:
        try:
            return safe_open(self.path, framework="pt")
        except FileNotFoundError:
            raise UserError(f"{self.path} does not exist, expected a checkpoint") from None
        except (SafetensorError, OSError) as error:
            raise UserError(f"{self.path} is not a safetensors checkpoint ({error})") from error

    @property
    def left_out(self) -> dict[str, str] | None:
        """The verdict and reason why no soup may contain this model; None for a usable model."""
        return self.note.get("left_out")

    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every tensor, in name order."""
        return self._shapes

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Name and value of every tensor in name order, with one tensor in memory at a time."""
        with self._open() as file:
            for name in self._shapes:
                yield name, file.get_tensor(name)

    def state(self) -> dict[str, Tensor]:
        """The whole state dict."""
        return dict(self.items())

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Open the file for reads of pieces of tensors."""
        # Reads into one buffer are faster than a memory map, whose pages are mapped one by one.
        with open(self.path, "rb", buffering=0) as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
            starts = {name: 8 + length + header[name]["data_offsets"][0] for name in self._shapes}

            def read(name: str, piece: slice, buffer: Tensor) -> Tensor:
                dtype = DTYPES[self._shapes[name][1]]
                part = buffer[: (piece.stop - piece.start) * dtype.itemsize]
                at = starts[name] + piece.start * dtype.itemsize
                if os.preadv(file.fileno(), [part.numpy()], at) != len(part):
                    raise UserError(f"{self.path} ends within tensor {name!r}, expected all of it")
                return part.view(dtype)

            yield read

    def size(self) -> int:
        """Size of all tensors in bytes."""
        return sum(DTYPES[d].itemsize * math.prod(shape) for shape, d in self._shapes.values())


def _note(text: str, path: Path) -> dict:
    """Read the note in a header.

    Raises:
        UserError: if it is not JSON of a dictionary.
    """
    try:
        note = json.loads(text)
    except (ValueError, RecursionError):
        note = None
    if not isinstance(note, dict):
        raise UserError(f"{path} has a header that this workflow did not write, expected its note")
    return note


class Held(Checkpoint):
    """A checkpoint that is read once and kept in memory."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self._state = {name: tensor.clone() for name, tensor in super().items()}

    def items(self) -> Iterator[tuple[str, Tensor]]:
        yield from self._state.items()

    @contextmanager
    def opened(self) -> Iterator[Read]:
        yield lambda name, piece, buffer: self._state[name].view(-1)[piece]


def load_strictly(module: nn.Module, checkpoint: Checkpoint) -> None:
    """Load a file of this workflow into a module.

    Raises:
        UserError: with the name of a tensor that is missing, unknown or of another shape.
    """
    want = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    have = {name: shape for name, (shape, _) in checkpoint.shapes().items()}
    wrong = sorted(name for name in want | have if want.get(name) != have.get(name))
    if wrong:
        name = wrong[0]
        raise UserError(
            f"{checkpoint.path} has {len(wrong)} tensors that do not fit the architecture, such as "
            f"{name!r} with shape {have.get(name, 'missing')}, expected {want.get(name, 'absent')}"
        )
    module.load_state_dict(checkpoint.state())
