"""Decode images to pixels, from files in folders or from one packed file of JPEGs."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from soups.data import hashes, parquet
from soups.errors import UserError
from soups.files import replacing

BLOCK = 256  # images decoded before they are written
# An image whose short side was enlarged to `size` has at most this many times size² pixels. Only of
# longer images, the centre is cut out before it is enlarged.
THIN = 64
QUALITY = 95  # JPEG quality of packed images
ORIENTATION = 0x0112  # the EXIF tag of an image's orientation
# Value of the tag to the change that makes the image upright. Value 1 needs no change.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load(path: str | Path, size: int, border: int = 0, upright: bool = True) -> np.ndarray:
    """Decode an image, resize its short side to ``size`` (bicubic), crop the centre, as CLIP does.

    Args:
        path: the image file.
        size: pixels per side of the result.
        border: pixels to cut off each side before resizing. ObjectNet's images have a frame of 2.
        upright: rotate or mirror the image as its EXIF data says. The paper's models were trained
            without that.

    Returns:
        uint8, shape (size, size, 3).

    Raises:
        UserError: if the file is not a readable image, or has no pixels inside its border.
    """
    return square(_open(path, Path(path), border, upright), size)


def square(image: Image.Image, size: int) -> np.ndarray:
    """Resize the short side of an image to ``size`` and crop the centre.

    The rounding is that of torchvision's Resize and CenterCrop, so that the pixels equal those of
    CLIP's own preprocessing.

    Returns:
        uint8, shape (size, size, 3).
    """
    shape = _shape(image, size)
    if shape[0] * shape[1] > THIN * size**2:
        return _centre(image, size, shape)
    image = _short_side(image, size)
    left, top = (round((side - size) / 2) for side in image.size)
    return np.asarray(image.crop((left, top, left + size, top + size)))


def _centre(image: Image.Image, size: int, shape: list[int]) -> np.ndarray:
    """Resize only the part of a thin image that lies in the centre crop.

    A line of 1 × 40,000 pixels would take gigabytes if all of it were enlarged. The pixels equal
    those of `square`, or differ by a few levels of 255 where the image is shrunk, because Pillow
    rounds after it has resized rows.
    """
    left, top = (round((side - size) / 2) for side in shape)
    across, down = (full / side for full, side in zip(image.size, shape, strict=True))
    margin = math.ceil(2 * max(down, 1)) + 2  # a bicubic pixel depends on two pixels on each side
    first = max(math.floor(top * down) - margin, 0)
    last = min(math.ceil((top + size) * down) + margin, image.height)
    rows = image.crop((0, first, image.width, last))
    box = (left * across, 0, (left + size) * across, rows.height)
    rows = rows.resize((size, rows.height), Image.Resampling.BICUBIC, box)
    box = (0, top * down - first, size, (top + size) * down - first)
    return np.asarray(rows.resize((size, size), Image.Resampling.BICUBIC, box))


def _short_side(image: Image.Image, size: int) -> Image.Image:
    if min(image.size) == size:
        return image
    return image.resize(_shape(image, size), Image.Resampling.BICUBIC)


def _shape(image: Image.Image, size: int) -> list[int]:
    """Width and height of an image whose short side has ``size`` pixels."""
    short = min(image.size)
    return [size if side == short else int(size * side / short) for side in image.size]


def _open(source, path: Path, border: int, upright: bool) -> Image.Image:
    """Decode ``source`` as an RGB image without its border. ``path`` names it in messages."""
    try:
        with Image.open(source) as image:
            image.load()
            turn = _turn(image) if upright else None
            image = _eight_bits(image).convert("RGB")
    except Image.DecompressionBombError as error:
        most = 2 * Image.MAX_IMAGE_PIXELS
        raise UserError(
            f"{path}: not a readable image (it has more than {most:,} pixels, expected a smaller "
            "version of it)"
        ) from error
    except Exception as error:  # on broken files, Pillow raises exceptions of many types
        raise UserError(f"{path}: not a readable image ({_reason(path, error)})") from error
    image = image if turn is None else image.transpose(turn)
    if border:
        if min(image.size) <= 2 * border:
            raise UserError(
                f"{path}: the image has {image.width} × {image.height} pixels, "
                f"expected more than {2 * border} a side for a border of {border}"
            )
        image = image.crop((border, border, image.width - border, image.height - border))
    return image


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and path.is_symlink():
        return f"it is a link to {path.readlink()}, which does not exist"
    if isinstance(error, UnidentifiedImageError):
        return "no known format"  # Pillow's own text may name an object in memory
    return str(error)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Reduce 16-bit grey to its upper 8 bits.

    Pillow does the same with 16-bit colours, but clips 16-bit grey at 255.
    """
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise ValueError("the image has 32 bits per channel, expected 8 or 16")
    return image


def _turn(image: Image.Image) -> Image.Transpose | None:
    """Return the change that makes an image upright, or None if no change is known.

    Some images of ImageNet have broken EXIF data but good pixels.
    """
    try:
        return TURNS.get(image.getexif().get(ORIENTATION))
    except Exception:  # on broken EXIF data, Pillow raises exceptions of many types
        return None


class ImageFiles:
    """Images that are decoded from their files when they are indexed, like an array.

    ``images[rows]`` is uint8 of shape (len(rows), size, size, 3), with the pixels of `load`.

    Args:
        folder: ``paths`` are relative to it.
        paths: one path per image.
        size: pixels per side.
        border, upright: see `load`.
    """

    def __init__(
        self,
        folder: str | Path,
        paths: Sequence[str],
        size: int,
        border: int = 0,
        upright: bool = True,
    ) -> None:
        self.folder, self.paths, self.size = Path(folder), paths, size
        self.border, self.upright = border, upright

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self), self.size, self.size, 3

    def __getitem__(self, rows) -> np.ndarray:
        if isinstance(rows, int | np.integer):
            return square(self._image(int(rows)), self.size)
        rows = np.arange(len(self))[rows]  # resolves slices, masks and negative rows
        out = np.empty((len(rows), self.size, self.size, 3), np.uint8)
        for row, pixels in zip(rows, out, strict=True):
            pixels[:] = square(self._image(int(row)), self.size)
        return out

    def decode(self, row: int):
        """Decode the whole image as a tensor, uint8, shape (3, height, width).

        torchvision decodes JPEG and PNG files, because it is faster than Pillow. Pillow decodes
        the rest, where torchvision fails or gives other pixels: CMYK, 16 bits per colour, and
        formats that torchvision does not turn upright.
        """
        import torch
        from torchvision.io import ImageReadMode, decode_image

        content, image = self.read(row), None
        if content.startswith((b"\xff\xd8", b"\x89PNG")):
            with contextlib.suppress(RuntimeError):
                bytes_ = torch.frombuffer(bytearray(content), dtype=torch.uint8)
                image = decode_image(bytes_, ImageReadMode.RGB, apply_exif_orientation=self.upright)
        if image is None or image.dtype != torch.uint8:
            pixels = np.array(_open(BytesIO(content), self.path(row), 0, self.upright))
            image = torch.from_numpy(pixels).permute(2, 0, 1)
        edge = self.border
        return image[:, edge : image.shape[1] - edge, edge : image.shape[2] - edge]

    def path(self, row: int) -> Path:
        """Return the name of an image in messages."""
        return self.folder / self.paths[row]

    def read(self, row: int) -> bytes:
        """Return the bytes of an image's file.

        Raises:
            UserError: if the file cannot be read.
        """
        if parquet.is_row(self.paths[row]):
            return parquet.read(self.folder, self.paths[row])
        try:
            return self.path(row).read_bytes()
        except OSError as error:
            reason = _reason(self.path(row), error)
            raise UserError(f"{self.path(row)}: not a readable image ({reason})") from error

    def _image(self, row: int) -> Image.Image:
        source = self.path(row)
        if parquet.is_row(self.paths[row]):
            source = BytesIO(self.read(row))
        return _open(source, self.path(row), self.border, self.upright)


class PackedImages(ImageFiles):
    """Images that are decoded from one file of concatenated JPEGs, which `pack` writes.

    Reading one file avoids opening a million small ones.

    Args:
        path: the packed file.
        ends: the position in bytes at which each JPEG ends, shape (n,).
        size: pixels per side.
        upright: see `load`.
    """

    def __init__(self, path: str | Path, ends: np.ndarray, size: int, upright: bool = True) -> None:
        super().__init__(path, [], size, 0, upright)
        self.ends = np.asarray(ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getstate__(self) -> dict:
        # A worker process maps the file itself. Pickling the map would copy all of its bytes.
        return {name: value for name, value in self.__dict__.items() if name != "_bytes"}

    @cached_property
    def _bytes(self) -> np.ndarray:
        return np.memmap(self.folder, np.uint8, "r")

    def path(self, row: int) -> Path:
        return Path(f"{self.folder}[{row}]")

    def read(self, row: int) -> bytes:
        start = self.ends[row - 1] if row else 0
        return self._bytes[start : self.ends[row]].tobytes()

    def _image(self, row: int) -> Image.Image:
        return _open(BytesIO(self.read(row)), self.path(row), 0, self.upright)


def blocks(
    images: np.ndarray | ImageFiles, threads: int, rows: Sequence[int] | None = None
) -> Iterator[np.ndarray]:
    """Decode images block by block.

    Args:
        images: an array, or images in files.
        threads: images decoded at the same time.
        rows: the images to yield, in this order; None yields all of them.

    Yields:
        uint8, shape (at most `BLOCK`, size, size, 3).
    """
    rows = range(len(images)) if rows is None else rows
    with ThreadPoolExecutor(threads) as pool:  # Pillow releases the interpreter's lock
        for part in _stretches(rows):
            yield np.stack(list(pool.map(images.__getitem__, part)))


def _stretches(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def pack(images: ImageFiles, path: str | Path, side: int, threads: int) -> np.ndarray:
    """Write images into one file of JPEGs whose short side is at most ``side``.

    JPEG files that are small enough and have no border to cut off are copied byte for byte.

    Returns:
        the position in bytes at which each JPEG ends, int64, shape (n,), as `PackedImages` needs.
    """

    def shrunk(row: int) -> bytes:
        image = images._image(row)
        small = min(image.size) <= side
        if small and not images.border and _is_jpeg(images, row):
            return images.read(row)
        out = BytesIO()
        (image if small else _short_side(image, side)).save(out, "JPEG", quality=QUALITY)
        return out.getvalue()

    sizes: list[int] = []
    with replacing(path) as aside, open(aside, "wb") as file, ThreadPoolExecutor(threads) as pool:
        for rows in _stretches(range(len(images))):
            for jpeg in pool.map(shrunk, rows):
                sizes.append(file.write(jpeg))
    return np.cumsum(sizes, dtype=np.int64)


def _is_jpeg(images: ImageFiles, row: int) -> bool:
    """Return whether an image is a JPEG, by its ending, or in a Parquet file by its first bytes."""
    if parquet.is_row(images.paths[row]):
        return images.read(row).startswith(b"\xff\xd8")
    return images.path(row).suffix.lower() in (".jpg", ".jpeg")


def broken(images: ImageFiles, threads: int) -> list[tuple[int, str]]:
    """Return the rows of images that cannot be decoded, each with the error message."""
    return examine(images, threads)[0]


def examine(images: ImageFiles, threads: int) -> tuple[list[tuple[int, str]], np.ndarray]:
    """Decode every image once.

    Returns:
        rows of images that cannot be decoded with the error message, and two hashes of each image,
        uint64, shape (n, 2): see `hashes.of`. Both are 0 for an image that cannot be decoded.
    """

    def trial(row: int) -> tuple[str | None, tuple[int, int]]:
        try:
            content = images.read(row)
            image = _open(BytesIO(content), images.path(row), images.border, images.upright)
        except UserError as error:
            return str(error), (0, 0)
        return None, hashes.of(content, image)

    with ThreadPoolExecutor(threads) as pool:
        parts = [each for rows in _stretches(range(len(images))) for each in pool.map(trial, rows)]
    reasons = [(row, reason) for row, (reason, _) in enumerate(parts) if reason]
    return reasons, np.array([pair for _, pair in parts], np.uint64).reshape(-1, 2)
