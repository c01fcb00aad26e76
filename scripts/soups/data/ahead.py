"""Batches that a thread reads and copies to the GPU while the model computes on earlier ones."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext

import torch
from torch import Tensor

from soups.jobs import devices

DEPTH = 2  # batches that are on the device before their use
_END = object()


def drawn_ahead(batches: Iterable, depth: int = DEPTH) -> Iterator:
    """Yield the items of an iterable in order. A thread draws each one ahead of its use.

    The thread ends with this generator: after the last item, after an error, or if the generator is
    closed early. Closing waits for the item that the thread is drawing.

    Args:
        batches: only the thread draws from it.
        depth: number of items that are drawn ahead.

    Raises:
        Exception: what drawing an item raised, in place of the item.
    """
    batches = iter(batches)
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, batches, _END) for _ in range(depth))
        while (batch := waiting.popleft().result()) is not _END:
            waiting.append(pool.submit(next, batches, _END))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


def copied_ahead(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Yield batches on the device of this process. A thread reads, pins and copies them ahead.

    On a CUDA device the copies run on a stream of their own, so they overlap with the model's
    kernels. The stream that uses a batch waits for its copy, and this process does not. On other
    devices the thread only reads ahead and copies.

    Args:
        batches: on the CPU; only the thread draws from it.
    """
    device = devices.device()
    stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def copies() -> Iterator[tuple[Tensor, torch.cuda.Event | None]]:
        devices.device()  # sets the current device, of which every thread has its own
        for batch in batches:
            with nullcontext() if stream is None else torch.cuda.stream(stream):
                # torch keeps the pinned memory of `batch` until the copy is done.
                copy = devices.send(batch, device)
                done = None if stream is None else stream.record_event()
            yield copy, done

    with closing(drawn_ahead(copies())) as ready:
        for copy, done in ready:
            if done is not None:
                current = torch.cuda.current_stream(device)
                current.wait_event(done)
                # The memory belongs to the stream of the copies. Without this line it could be
                # filled again while kernels of the current stream still read it.
                copy.record_stream(current)
            yield copy
