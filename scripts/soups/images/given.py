"""Images that belong to no set, with the preprocessing of a model's card."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from torch import nn

from soups.data.decode import ImageFiles
from soups.data.walking import Aside, walk
from soups.errors import UserError
from soups.jobs import devices
from soups.models.forward import BATCH, GPU_BATCH, forward


class GivenImages:
    """Images for predictions, see `problems.Problem.given`.

    Args:
        card: of the model, see `models.card`.
        paths: image files.
    """

    columns, remark = ("file",), ""

    def __init__(self, card: Mapping, paths: Sequence[str]) -> None:
        self._card, self._paths = card, list(paths)
        self.rows = [{"file": path} for path in paths]

    def logits(
        self, model: nn.Module, threads: int = 1
    ) -> Iterator[list[tuple[np.ndarray | None, str]]]:
        """Compute logits batch by batch, while threads decode the next batch.

        Args:
            model: the classifier, in evaluation mode on its device.
            threads: images decoded at the same time.

        Yields:
            a list with an entry per image, in order: float32 logits of shape (classes,) and "", or
            None and the reason why the image cannot be read.
        """
        size, upright = self._card["image_size"], self._card.get("upright", True)
        images = ImageFiles(".", self._paths, size, upright=upright)

        def decoded(row: int) -> np.ndarray | str:
            try:
                return images[row]
            except UserError as error:
                return str(error)

        count = BATCH if devices.kind() == "cpu" else GPU_BATCH
        starts = range(0, len(self._paths), count)
        with ThreadPoolExecutor(threads) as pool:

            def batch(start: int) -> list:
                return [pool.submit(decoded, row) for row in range(start, len(self._paths))[:count]]

            coming = batch(0)
            for start in starts:
                pixels, coming = [each.result() for each in coming], batch(start + count)
                good = [i for i, each in enumerate(pixels) if not isinstance(each, str)]
                out: list = [(None, each) for each in pixels]
                if good:
                    stack = np.stack([pixels[i] for i in good])
                    logits = forward(model, stack, batch=count, exact=True).numpy()
                    for i, values in zip(good, logits, strict=True):
                        out[i] = values, ""
                yield out


def images_of(places: Sequence[str | Path], listed: str | Path | None = None) -> list[str]:
    """List the images to predict.

    Args:
        places: image files, and folders, whose images are taken in order of their names at any
            depth. The files of a folder that are no images are left out, see `data.walking`.
        listed: a text file with one image file a line, or None.

    Raises:
        UserError: if a place does not exist, if a folder has no image, or if no image is given.
    """
    found = []
    for place in map(Path, places):
        if place.is_dir():
            aside = Aside()
            names = sorted(walk(place, "", aside))
            if not names:
                has = f" (it has {aside.as_text()})" if aside.endings else ""
                raise UserError(
                    f"{place}: the folder has no image{has}, expected files such as .jpg or .png"
                )
            found += [str(place / name) for name in names]
        elif place.exists():
            found.append(str(place))
        else:
            raise UserError(f"{place}: no such file, expected an image or a folder of images")
    if listed is not None:
        if not Path(listed).is_file():
            raise UserError(f"{listed}: no such file, expected a list of image files")
        try:
            lines = Path(listed).read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise UserError(
                f"{listed} is not text in UTF-8, expected an image file a line"
            ) from None
        found += [line.strip() for line in lines if line.strip()]
    if not found:
        raise UserError("there is no image, expected image files, folders or a list of files")
    return found
