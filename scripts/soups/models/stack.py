"""Checkpoints that are read side by side, so that memory does not grow with their number."""

import math
import resource
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor

from soups.models.checkpoints import DTYPES, Checkpoint


class Stack:
    """Checkpoints with the same tensors, read side by side, one piece of a tensor at a time.

    The files are open inside the context.

    Args:
        checkpoints: k checkpoints.
        values: the largest number of values in a piece of `pieces`, k times its length.
    """

    # Values per piece of `parts`. Float64 copies of them and of their sum fit in a core's cache.
    # The number is a multiple of the length of every vector, so that sums over checkpoints do not
    # depend on the pieces. From 2¹⁵ values on, torch would divide a sum among threads.
    LENGTH = 15 * 2**11

    def __init__(self, checkpoints: Sequence[Checkpoint], values: int = 2**22) -> None:
        self._checkpoints, self._values = checkpoints, values
        self._exit = ExitStack()

    def __enter__(self) -> "Stack":
        _allow_open_files(len(self._checkpoints))
        with ExitStack() as opening:
            self._reads = [opening.enter_context(c.opened()) for c in self._checkpoints]
            self._exit = opening.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self._exit.close()

    def __len__(self) -> int:
        return len(self._checkpoints)

    def shapes(self) -> dict[str, tuple[tuple[int, ...], str]]:
        """Shape and dtype of every tensor, in name order."""
        return self._checkpoints[0].shapes()

    def first(self, name: str) -> Tensor:
        """One tensor of the first checkpoint, in its own dtype."""
        shape = self.shapes()[name][0]
        return next(self.rows(name, slice(0, math.prod(shape)))).clone().view(shape)

    def rows(self, name: str, piece: slice) -> Iterator[Tensor]:
        """A piece of a flattened tensor of every checkpoint, in its own dtype.

        A row must not be changed, and it is only valid until the next one is read.
        """
        size = (piece.stop - piece.start) * DTYPES[self.shapes()[name][1]].itemsize
        buffer = torch.empty(size, dtype=torch.uint8)
        for read in self._reads:
            yield read(name, piece, buffer)

    def parts(self, name: str) -> Iterator[slice]:
        """Short pieces that cover a flattened tensor, for `rows`."""
        count = math.prod(self.shapes()[name][0])
        for start in range(0, count, self.LENGTH):
            yield slice(start, min(start + self.LENGTH, count))

    def pieces(self) -> Iterator[tuple[str, slice, Tensor]]:
        """Read every floating-point tensor of all checkpoints in pieces.

        Yields:
            name of the tensor; slice of the flattened tensor; its values as float64, shape (k,
            length of the slice).
        """
        for name, (shape, dtype) in self.shapes().items():
            if not DTYPES[dtype].is_floating_point:
                continue
            width, count = math.prod(shape[1:]), math.prod(shape)
            length = width * max(1, self._values // max(1, width * len(self)))
            for start in range(0, count, max(1, length)):
                piece = slice(start, min(start + length, count))
                values = torch.empty(len(self), piece.stop - start, dtype=torch.float64)
                for row, tensor in zip(values, self.rows(name, piece), strict=True):
                    row.copy_(tensor)
                yield name, piece, values


def _allow_open_files(count: int) -> None:
    """Raise the limit of open files of this process, as far as it may, for ``count`` more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 256
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
