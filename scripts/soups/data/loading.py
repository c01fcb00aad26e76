"""Images on their way to the model: read, decoded and transformed by worker processes.

What is random about an image is a function of (seed, epoch, row) alone: neither the number
of workers nor an interruption changes a pixel, and random numbers drawn elsewhere stay as
they are.
"""

import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from soups.jobs import devices
from soups.data.decode import ImageFiles
from soups.errors import UserError

PREFETCH = 2  # batches that each worker has ready, in shared memory (/dev/shm)

Images = np.ndarray | ImageFiles


class Transforms:
    """Random changes of single images: crop, mirror, RandAugment (paper, appendix J.2).

    Args:
        crop: smallest share of the image's area that a crop keeps; 1 is no crop.
        flip: probability of a mirrored image.
        ops: operations of RandAugment; 0 is off.
        magnitude: of each, in timm's scale.
        size: pixels a side, afterwards.
    """

    def __init__(self, crop: float, flip: float, ops: int, magnitude: int, size: int) -> None:
        # Seconds that evaluation does without.
        from timm.data.auto_augment import rand_augment_transform
        from torchvision.transforms import v2

        self.crops = crop < 1
        steps: list[Callable[[Tensor], Tensor]] = []
        if self.crops:
            bicubic = v2.InterpolationMode.BICUBIC
            steps.append(
                v2.RandomResizedCrop(size, (crop, 1), interpolation=bicubic, antialias=True)
            )
        steps += [v2.RandomHorizontalFlip(flip)] if flip else []
        if ops:
            augment = rand_augment_transform(f"rand-m{magnitude}-n{ops}")
            for operation in augment.ops:
                if operation.name == "Posterize":
                    operation.aug_fn = posterized
            steps += [v2.ToPILImage(), augment, v2.PILToTensor()]
        self._apply = v2.Compose(steps) if steps else None

    @classmethod
    def of(cls, h: dict, size: int) -> "Transforms | None":
        """Those that hyperparameters ask for, if any."""
        ops, magnitude = h.get("rand_augment_ops", 0), h.get("rand_augment_magnitude", 0)
        made = cls(h.get("crop", 1), h.get("flip", 0), ops, magnitude, size)
        return made if made._apply else None

    def __call__(self, image: Tensor) -> Tensor:
        """uint8, shape (3, height, width) to (3, size, size); chance from the global generators."""
        return self._apply(image)


def posterized(image: Image.Image, bits: int, **_) -> Image.Image:
    """Colours of so many bits. For magnitudes below 2.5 timm asks for 0: black, as Pillow used to
    give; now it raises an error.
    """
    return ImageOps.posterize(image, min(bits, 8)) if bits else Image.new("RGB", image.size)


class Pixels(Dataset):
    """Rows of a set, in batches, for worker processes.

    Args:
        images: uint8, shape (n, s, s, 3): an array, may be a memory map, or files.
        transforms: of single images; None takes the pixels that evaluation takes.
        seed: of the transforms.
    """

    def __init__(self, images: Images, transforms: Transforms | None = None, seed: int = 0) -> None:
        self._images, self._transforms, self._seed = images, transforms, seed

    def __len__(self) -> int:
        return len(self._images)

    def __getitems__(self, keys: tuple[int, np.ndarray]) -> Tensor | UserError:
        """One batch.

        Args:
            keys: the epoch, and rows of the set.

        Returns:
            uint8, shape (len(rows), s, s, 3); or, for the other process to raise, what is wrong.
        """
        epoch, rows = keys
        try:
            if self._transforms is None:
                return torch.from_numpy(self._images[rows])
            with _generators_kept():
                return torch.stack([self._transformed(epoch, int(row)) for row in rows])
        except UserError as error:
            return error

    def _transformed(self, epoch: int, row: int) -> Tensor:
        if self._transforms.crops and isinstance(self._images, ImageFiles):
            image = self._images.decode(row)
        else:
            image = torch.from_numpy(np.array(self._images[row])).permute(2, 0, 1)
        _seed_generators([self._seed, epoch, row])
        return self._transforms(image).permute(1, 2, 0).contiguous()

    def __getstate__(self) -> dict:
        # Pickled, a memory map would be copied whole into every worker that is not forked.
        state, images = dict(self.__dict__), self._images
        if isinstance(images, np.memmap):
            state["_images"] = (images.filename, images.dtype, images.offset, images.shape)
        return state

    def __setstate__(self, state: dict) -> None:
        if isinstance(state["_images"], tuple):
            path, dtype, offset, shape = state["_images"]
            state = state | {"_images": np.memmap(path, dtype, "r", offset, shape)}
        self.__dict__ = state


def _seed_generators(entropy: list[int]) -> None:
    """torchvision draws from torch's generator, timm from Python's and numpy's."""
    first, second, third = np.random.SeedSequence(entropy).generate_state(3).tolist()
    # Not torch.manual_seed, which would also seed the GPU's.
    torch.default_generator.manual_seed(first)
    random.seed(second)
    np.random.seed(third)


@contextmanager
def _generators_kept() -> Iterator[None]:
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        np.random.set_state(states[2])


class _Batches:
    """What a `DataLoader` goes through next; its workers stay alive in between."""

    def __init__(self) -> None:
        self.epoch, self.rows = 0, []

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        return ((self.epoch, rows) for rows in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _as_it_is(batch):
    return batch


def _stay(_: int) -> None:
    """Let a worker live until its own process ends it.

    A cluster signals all processes of a job at once, a terminal all that run in front, and the
    step at hand still needs its images.
    """
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # Only Linux says who sent a signal. Ignored, SIGTERM could not end a worker either.
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()


def _end_with(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)


class Reader:
    """Reads batches of images, ahead of their use if there are workers.

    An array without transforms is read where it is used: copying a batch takes less than
    sending it from one process to another.

    Args:
        images: uint8, shape (n, s, s, 3): an array, may be a memory map, or files.
        workers: processes beside this one; 0 reads here.
        transforms: of single images.
        seed: of the transforms.
    """

    def __init__(
        self, images: Images, workers: int = 0, transforms: Transforms | None = None, seed: int = 0
    ) -> None:
        self._pixels = Pixels(images, transforms, seed)
        self._pinned = devices.kind() == "cuda"
        self._batches, self._loader = _Batches(), None
        if workers and (transforms or not isinstance(images, np.ndarray)):
            self._loader = DataLoader(
                self._pixels,
                batch_sampler=self._batches,
                num_workers=workers,
                collate_fn=_as_it_is,
                worker_init_fn=_stay,
                pin_memory=self._pinned,
                prefetch_factor=PREFETCH,
                persistent_workers=True,
                # Also where this process was spawned: started afresh, each would import torch.
                multiprocessing_context="fork" if sys.platform == "linux" else None,
                generator=torch.Generator(),  # or else it would draw from the global one
            )

    def read(self, batches: Iterable[np.ndarray], epoch: int = 0) -> Iterator[Tensor]:
        """Batches in order, on the device of this process.

        Args:
            batches: rows of the set.
            epoch: the transforms of another epoch are others.

        Yields:
            uint8, shape (len(rows), s, s, 3).

        Raises:
            UserError: if an image cannot be read.
        """
        device = devices.device()
        self._batches.epoch, self._batches.rows = epoch, list(batches)
        here = map(self._pixels.__getitems__, self._batches)
        for pixels in here if self._loader is None else self._loader:
            if isinstance(pixels, UserError):
                raise pixels
            if self._pinned and not pixels.is_pinned():
                pixels = pixels.pin_memory()
            yield pixels.to(device, non_blocking=self._pinned)
