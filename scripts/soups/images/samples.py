"""Images to measure speeds with: random pixels, and photos in files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from soups.data import folders
from soups.data.decode import QUALITY, ImageFiles, square
from soups.data.loading import Pixels, Transforms
from soups.data.samples import SampleSet
from soups.jobs import timing
from soups.world.sets import draw_set

PHOTO = (400, 350)  # width and height in pixels, about those of ImageNet's photos
PHOTOS = 32  # number of photos that are written


class ImageSamples(SampleSet):
    """Images of the size that a model takes.

    Args:
        side: pixels per side of an image.
        data: the ``data`` section.
        store: how training images are stored, see `data.prepared.train_paths`.
        folder: folder for the photos.
    """

    def __init__(self, side: int, data: Mapping, store: str, folder: Path) -> None:
        self.side, self._store, self._world = side, store, data["world"]
        self._photos = self._stored = photos(folder / "photos", side)
        if data["folders"] and store == "packed":
            short = folders.settings_of(data["folders"])["packed_side"]
            self._stored = photos(folder / "stored", side, short)
        self.prepared = 3 * side**2
        jpeg = float(np.mean([len(self._stored.read(row)) for row in range(len(self._stored))]))
        self.stored = {"array": self.prepared, "packed": jpeg, "folder": 0}[store]
        self.notes = []
        if data["source"] == "world" and "a" in self._world["shifts"]:
            self.notes.append(
                "The reference network of shift a and the images that it discards are not included."
            )

    def inputs(self, number):
        return random_images(number, self.side)

    def loading(self, row):
        array = np.zeros((PHOTOS, self.side, self.side, 3), np.uint8)
        return loading(array if self._store == "array" else self._stored, row)

    def reading(self):
        return 0.0 if self._store == "array" else decoding(self._stored)

    def preparing(self):
        return {
            "decode": lambda: decoding(self._photos),
            "draw": lambda: drawing(self._world["seed"], self._world["variants"]),
        }


def random_images(number: int, side: int) -> np.ndarray:
    """Images of random pixels, uint8, shape (number, side, side, 3)."""
    return np.random.default_rng(0).integers(0, 256, (number, side, side, 3), np.uint8)


def photos(folder: Path, size: int, short: int | None = None) -> ImageFiles:
    """Write JPEG files with the spectrum of photographs, and so their size and decoding time.

    Args:
        folder: folder of the files.
        size: pixels per side after decoding.
        short: pixels of the shorter side of each file, at most that of `PHOTO`, which is the
            default. Packing does not enlarge an image.
    """
    folder.mkdir(parents=True, exist_ok=True)
    scale = min(1, short / min(PHOTO)) if short else 1
    width, height = (round(side * scale) for side in PHOTO)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    amplitude = 1 / np.maximum(frequency, 1 / width)
    rng = np.random.default_rng(0)

    def layer() -> np.ndarray:
        phases = np.exp(2j * np.pi * rng.random(amplitude.shape))
        values = np.fft.irfft2(amplitude * phases, (height, width))
        return (values - values.mean()) / values.std()

    names = [f"{i}.jpg" for i in range(PHOTOS)]
    for name in names:
        grey = layer()  # in photographs, brightness varies more than colour
        pixels = np.stack([128 + 45 * grey + 10 * layer() for _ in range(3)], axis=-1)
        image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
        image.save(folder / name, "JPEG", quality=QUALITY)
    return ImageFiles(folder, names, size)


def decoding(images: ImageFiles) -> float:
    """Seconds per image to decode, resize and crop in one thread."""
    rows = range(len(images))
    return timing.repeated(lambda: [square(images._image(row), images.size) for row in rows]) / len(
        rows
    )


def loading(images: ImageFiles | np.ndarray, row: dict) -> float:
    """Seconds per image that one process needs to load and transform training images.

    The result is 0 for an array without transforms, because `training` includes that time.
    """
    transforms = Transforms.of(row, images.shape[1])
    if isinstance(images, np.ndarray) and transforms is None:
        return 0.0
    pixels, rows = Pixels(images, transforms, row["seed"]), np.arange(len(images))
    return timing.repeated(lambda: pixels.__getitems__((0, rows))) / len(rows)


def drawing(seed: int, variants: int) -> float:
    """Seconds per image of drawing the world, without the fixed time to prepare its shapes."""
    few, many = (timing.once(lambda n=n: draw_set("train", n, seed, variants)) for n in (200, 2200))
    return (many - few) / 2000
