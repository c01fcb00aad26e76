"""Batches of images for the model, read, decoded and transformed by worker processes.

The random changes of an image depend on (seed, epoch, row) alone. Therefore neither the number of
workers nor an interruption changes a pixel. Loading does not advance the global random generators.
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

from soups.data import ahead
from soups.data.decode import ImageFiles
from soups.errors import UserError
from soups.jobs import devices

PREFETCH = 2  # batches that each worker prepares in advance, in shared memory (/dev/shm)

Images = np.ndarray | ImageFiles


class Transforms:
    """Random changes of single images: crop, mirror, RandAugment (paper, appendix J.2).

    Args:
        crop: smallest share of the image's area that a crop keeps; 1 disables cropping.
        flip: probability that an image is mirrored.
        ops: number of RandAugment operations; 0 disables RandAugment.
        magnitude: magnitude of each operation, on timm's scale.
        size: pixels per side of the result.
        interpolation: of crops. ``random`` takes bilinear or bicubic for each image, as timm does.
    """

    def __init__(
        self,
        crop: float,
        flip: float,
        ops: int,
        magnitude: int,
        size: int,
        interpolation: str = "bicubic",
    ) -> None:
        # These imports take seconds. Evaluation needs no transforms and skips them.
        from timm.data.auto_augment import rand_augment_transform
        from torchvision.transforms import v2

        self.crops = crop < 1
        steps: list[Callable[[Tensor], Tensor]] = []
        if self.crops:
            modes = ["bilinear", "bicubic"] if interpolation == "random" else [interpolation]
            crops = [
                v2.RandomResizedCrop(
                    size, (crop, 1), interpolation=v2.InterpolationMode(mode), antialias=True
                )
                for mode in modes
            ]
            steps.append(v2.RandomChoice(crops) if len(crops) > 1 else crops[0])
        steps += [v2.RandomHorizontalFlip(flip)] if flip else []
        if ops:
            augment = rand_augment_transform(f"rand-m{magnitude}-n{ops}")
            for operation in augment.ops:
                if operation.name == "Posterize":
                    operation.aug_fn = posterized
            steps += [v2.ToPILImage(), augment, v2.PILToTensor()]
        self._apply = v2.Compose(steps) if steps else None

    @classmethod
    def of(cls, hyperparameters: dict, size: int) -> "Transforms | None":
        """Return the transforms of a fine-tune.

        Args:
            hyperparameters: hyperparameters; a missing one disables its transform.
            size: pixels per side of the result.

        Returns:
            the transforms, or None if the hyperparameters disable all of them.
        """
        made = cls(
            crop=hyperparameters.get("crop", 1),
            flip=hyperparameters.get("flip", 0),
            ops=hyperparameters.get("rand_augment_ops", 0),
            magnitude=hyperparameters.get("rand_augment_magnitude", 0),
            size=size,
            interpolation=hyperparameters.get("interpolation", "bicubic"),
        )
        return made if made._apply else None

    def __call__(self, image: Tensor) -> Tensor:
        """Change one image at random, with random numbers from the global generators.

        Args:
            image: uint8, shape (3, height, width).

        Returns:
            uint8, shape (3, size, size).
        """
        return self._apply(image)


def posterized(image: Image.Image, bits: int, **_) -> Image.Image:
    """Reduce the colours of an image to ``bits`` bits.

    For magnitudes below 2.5, timm asks for 0 bits. Older versions of Pillow then returned a black
    image, as this function does; newer versions raise an error.
    """
    return ImageOps.posterize(image, min(bits, 8)) if bits else Image.new("RGB", image.size)


class Pixels(Dataset):
    """A set that worker processes read in batches of rows.

    Args:
        images: uint8, shape (n, s, s, 3): an array, a memory map, or images in files.
        transforms: random changes of each image; None yields the pixels that evaluation uses.
        seed: seed of the transforms.
        pinned: whether to read rows of an array into pinned memory, from which a GPU copies.
    """

    def __init__(
        self,
        images: Images,
        transforms: Transforms | None = None,
        seed: int = 0,
        pinned: bool = False,
    ) -> None:
        self._images, self._transforms, self._seed = images, transforms, seed
        self._pinned = pinned

    def __len__(self) -> int:
        return len(self._images)

    def __getitems__(self, keys: tuple[int, np.ndarray]) -> Tensor | UserError:
        """Read one batch.

        Args:
            keys: the epoch, and rows of the set.

        Returns:
            uint8, shape (len(rows), s, s, 3), or the error that the main process is to raise.
        """
        epoch, rows = keys
        try:
            if self._transforms is None:
                if self._pinned and getattr(self._images, "dtype", None) == np.uint8:
                    return _gathered(self._images, rows)
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
        # Pickling a memory map would copy the whole array into every worker that is not forked.
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
    """Seed the generators of torch, Python and numpy.

    torchvision draws from torch's generator, and timm draws from those of Python and numpy.
    """
    first, second, third = np.random.SeedSequence(entropy).generate_state(3).tolist()
    # torch.manual_seed would also seed the generator of the GPU.
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
    """Keys of one epoch's batches, for a `DataLoader` that keeps its workers between epochs."""

    def __init__(self) -> None:
        self.epoch, self.rows = 0, []

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        return ((self.epoch, rows) for rows in self.rows)

    def __len__(self) -> int:
        return len(self.rows)


def _unchanged(batch):
    return batch


def _ignore_signals(_: int) -> None:
    """Keep a worker alive until its parent process ends it.

    A cluster signals all processes of a job at once, and a terminal all processes in the
    foreground. The parent still needs images to finish its current step.
    """
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # The parent ends a worker with SIGTERM, so the worker must not ignore SIGTERM from the parent.
    # Only Linux tells the sender of a signal.
    if hasattr(signal, "sigwaitinfo"):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        threading.Thread(target=_end_with, args=[os.getppid()], daemon=True).start()


def _end_with(parent: int) -> None:
    while signal.sigwaitinfo([signal.SIGTERM]).si_pid != parent:
        pass
    os._exit(0)


def _gathered(images: np.ndarray, rows: np.ndarray) -> Tensor:
    """Return rows of an array of uint8, in pinned memory if there is a GPU that copies from it."""
    shape, gpu = (len(rows), *images.shape[1:]), torch.cuda.is_available()
    batch = torch.empty(shape, dtype=torch.uint8, pin_memory=gpu)
    np.take(images, rows, axis=0, out=batch.numpy(), mode="clip")  # other modes use a buffer
    return batch


class Reader:
    """Reads batches of images. Workers read them in advance.

    An array without transforms, or tokens that are mapped from one, is always read in this process,
    because copying a batch is faster than sending it from one process to another. On a CUDA device,
    a thread of this process reads and copies the batches ahead of their use.

    Args:
        images: uint8, shape (n, s, s, 3): an array, a memory map, or images in files.
        workers: number of worker processes; 0 reads in this process.
        transforms: random changes of each image.
        seed: seed of the transforms.
    """

    def __init__(
        self, images: Images, workers: int = 0, transforms: Transforms | None = None, seed: int = 0
    ) -> None:
        cuda = devices.kind() == "cuda"
        self._batches, self._loader = _Batches(), None
        mapped = isinstance(images, np.ndarray) or getattr(images, "memory_mapped", False)
        in_workers = workers > 0 and (transforms is not None or not mapped)
        self._pixels = Pixels(images, transforms, seed, pinned=cuda and not in_workers)
        # Transforms in this process draw from its global generators, so no thread may run them.
        self._ahead = cuda and (in_workers or transforms is None)
        if in_workers:
            self._loader = DataLoader(
                self._pixels,
                batch_sampler=self._batches,
                num_workers=workers,
                collate_fn=_unchanged,
                worker_init_fn=_ignore_signals,
                pin_memory=cuda,
                prefetch_factor=PREFETCH,
                persistent_workers=True,
                # A forked worker need not import torch again, even if this process was spawned.
                multiprocessing_context="fork" if sys.platform == "linux" else None,
                generator=torch.Generator(),  # leaves the global generator unchanged
            )

    def read(self, batches: Iterable[np.ndarray], epoch: int = 0) -> Iterator[Tensor]:
        """Yield batches in order, on the device of this process.

        Close the generator if not all batches are used, so that no thread reads on.

        Args:
            batches: rows of the set, one array per batch.
            epoch: number of the epoch. Each epoch transforms an image differently.

        Yields:
            uint8, shape (len(rows), s, s, 3).

        Raises:
            UserError: if an image cannot be read.
        """
        device = devices.device()
        self._batches.epoch, self._batches.rows = epoch, list(batches)
        in_process = map(self._pixels.__getitems__, self._batches)
        # The loader forks its workers here, in the main thread.
        found = _checked(in_process if self._loader is None else iter(self._loader))
        if self._ahead:
            yield from ahead.copied_ahead(found)
        else:
            yield from (devices.send(pixels, device) for pixels in found)


def _checked(batches: Iterable[Tensor | UserError]) -> Iterator[Tensor]:
    """Yield the batches, and raise the error that a worker sent in place of one."""
    for pixels in batches:
        if isinstance(pixels, UserError):
            raise pixels
        yield pixels
