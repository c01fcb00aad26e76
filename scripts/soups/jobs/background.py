"""Work that a thread does while a job goes on, and copies of training states for such work."""

import copy
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch
from torch import Tensor


class Background:
    """Runs one function at a time in a thread. A process ends after the function has ended."""

    def __init__(self) -> None:
        self._running: Future | None = None

    def start(self, function: Callable, *arguments) -> None:
        """Call a function in a thread, after the one before has ended.

        Raises:
            Exception: what the function before raised.
        """
        self.wait()
        pool = ThreadPoolExecutor(1)
        self._running = pool.submit(function, *arguments)
        pool.shutdown(wait=False)  # the thread ends with the function

    @property
    def busy(self) -> bool:
        """Whether a function is running."""
        return self._running is not None and not self._running.done()

    def wait(self) -> None:
        """Wait until the function has ended.

        Raises:
            Exception: what the function raised. It is raised once.
        """
        if self._running is not None:
            wait([self._running])
            ended, self._running = self._running, None
            ended.result()


def copied(value, storages: dict | None = None):
    """Return a copy of a state in main memory.

    Args:
        value: tensors in dictionaries, lists and tuples, with other values that never change.
        storages: the copied memory by the number with which `torch.save` tells memory apart.
            Tensors that share memory share it in the copy, so that it is written once.
    """
    storages = {} if storages is None else storages
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        key = storage._cdata
        if key not in storages:
            storages[key] = storage.clone() if storage.device.type == "cpu" else storage.cpu()
        whole = torch.empty(0, dtype=value.dtype)
        return whole.set_(storages[key], value.storage_offset(), value.shape, value.stride())
    if isinstance(value, dict):
        made = copy.copy(value)  # keeps the attributes that torch adds to the state of a module
        made.update((name, copied(item, storages)) for name, item in value.items())
        return made
    if isinstance(value, list | tuple):
        return type(value)(copied(item, storages) for item in value)
    return value
