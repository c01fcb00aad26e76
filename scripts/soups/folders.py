"""Datasets in image folders: one folder per set, one subfolder per class."""

import itertools
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from soups.corruptions import CORRUPTIONS
from soups.errors import UserError
from soups.images import Mapping
from soups.splits import heldout_split

ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


def classes(folder: str | Path) -> list[str]:
    """Class folders in name order; hidden ones are passed over.

    Raises:
        UserError: if the folder is missing or has no class.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one subfolder of images per class")
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise UserError(f"{folder}: has no subfolder, expected one per class")
    return names


def images(folder: str | Path, name: str) -> list[str]:
    """Paths of one class's images relative to ``folder``, in name order, subfolders included."""
    return sorted(_walk(Path(folder), name))


def _walk(folder: Path, name: str) -> Iterator[str]:
    for base, below, files in os.walk(folder / name, followlinks=True):
        below[:] = [each for each in below if not each.startswith(".")]
        for file in files:
            if file.lower().endswith(ENDINGS) and not file.startswith("."):
                yield os.path.relpath(os.path.join(base, file), folder)


def listing(folder: str | Path, names: list[str]) -> tuple[list[str], np.ndarray]:
    """All images of the classes ``names``: relative paths, and labels of shape (n,)."""
    per_class = [images(folder, name) for name in names]
    labels = np.repeat(np.arange(len(names)), [len(paths) for paths in per_class])
    return [path for paths in per_class for path in paths], labels


def display_names(names: list[str], spoken: dict[str, str] | None) -> list[str]:
    """What prompts call each class folder: the configured name, or the folder's with spaces."""
    spoken = spoken or {}
    return [spoken.get(name, name.replace("_", " ")) for name in names]


def shift_mapping(train: list[str], here: list[str], mapping: dict | None, where: str) -> Mapping:
    """Which training classes each class folder of a shift stands for.

    Args:
        train: the training classes' folder names.
        here: the shift's class folders.
        mapping: folder to training classes, where the names differ.
        where: the shift, for messages.

    Raises:
        UserError: for a class that is no training class.
    """
    index = {name: i for i, name in enumerate(train)}
    out = []
    for name in here:
        members = (mapping or {}).get(name, [name])
        for member in members:
            if member not in index:
                raise UserError(
                    f"{where}: class {member!r} is not among the {len(train)} training classes; "
                    "remove its folder, or say what it stands for under `mapping`"
                )
        out.append((name, [index[member] for member in members]))
    return out


def check(settings: dict, fraction: float) -> None:
    """Check folders and classes, without opening an image.

    Args:
        settings: ``data.folders``.
        fraction: ``data.heldout.fraction``.
    """
    root = Path(settings["root"])
    train = classes(root / settings["train"])
    for name in settings.get("names") or {}:
        if name not in train:
            raise UserError(
                f"data.folders.names: {name!r} is no class folder of {root / settings['train']}"
            )
    test = classes(root / settings["test"])
    if test != train:
        odd = sorted(set(test) ^ set(train))[0]
        raise UserError(
            f"{root / settings['test']}: class {odd!r} is only in one of the training and test "
            "folders, expected the same classes in both"
        )
    found = [(settings["train"], train), (settings["test"], test)]
    for name, spec in settings["shifts"].items():
        if spec is None:
            continue
        if "corruption" in spec:
            if spec["corruption"] not in CORRUPTIONS:
                raise UserError(
                    f"data.folders.shifts.{name}.corruption is {spec['corruption']!r}, "
                    f"expected one of {', '.join(CORRUPTIONS)}"
                )
            continue
        here = classes(root / spec["folder"])
        found.append((spec["folder"], here))
        _check_mapping(spec.get("mapping") or {}, here, f"data.folders.shifts.{name}")
        shift_mapping(train, here, spec.get("mapping"), f"data.folders.shifts.{name}")
    _check_apart(root, [folder for folder, _ in found])
    for folder, names in found:
        for name in names:
            if next(_walk(root / folder, name), None) is None:
                raise UserError(
                    f"{root / folder / name}: no image, expected at least one per class"
                )
    _check_counts(root / settings["train"], train, settings, fraction)


def _check_mapping(mapping: dict[str, list[str]], here: list[str], where: str) -> None:
    for name in mapping:
        if name not in here:
            raise UserError(f"{where}.mapping: {name!r} is no class folder of this shift")
    members = [member for name in here for member in mapping.get(name, [name])]
    twice = next((member for member in members if members.count(member) > 1), None)
    if twice:
        raise UserError(
            f"{where}: training class {twice!r} is stood for by two classes, expected one at most"
        )


def _check_apart(root: Path, folders: list[str]) -> None:
    for one, other in itertools.permutations(folders, 2):
        inner, outer = (root / one).resolve(), (root / other).resolve()
        if outer == inner or outer in inner.parents:
            raise UserError(
                f"data.folders: {one!r} and {other!r} share images, "
                "expected a folder of its own for each set"
            )


def _check_counts(folder: Path, names: list[str], settings: dict, fraction: float) -> None:
    """Can the training images be divided? Counts no further than it takes to know."""
    share, seed = settings.get("pretrain_fraction", 0), settings.get("seed", 0)
    enough = math.ceil(2 / min(fraction * (1 - share), share or 1, 1 - share))
    counts = [sum(1 for _ in itertools.islice(_walk(folder, name), enough)) for name in names]
    labels = np.repeat(np.arange(len(names)), counts)
    rest, _ = training_share(labels, share, seed, names)
    heldout_split(labels[rest], fraction, seed, names)


def load(path: str | Path, size: int) -> np.ndarray:
    """Decode, resize the short side to ``size`` (bicubic), crop the centre.

    Returns:
        uint8, shape (size, size, 3).

    Raises:
        UserError: if the file is no readable image.
    """
    try:
        with Image.open(path) as image:
            image = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({error})") from error
    short = min(image.size)
    if short != size:
        shape = [max(size, round(side * size / short)) for side in image.size]
        image = image.resize(shape, Image.Resampling.BICUBIC)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def prepare(folder: str | Path, paths: list[str], size: int) -> np.ndarray:
    """Decode images into one array, uint8, shape (len(paths), size, size, 3)."""
    out = np.empty((len(paths), size, size, 3), np.uint8)
    for i, path in enumerate(paths):
        out[i] = load(Path(folder) / path, size)
    return out


def training_share(
    labels: np.ndarray, fraction: float, seed: int, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the training folder: rows to fine-tune on, and disjoint rows to pre-train on."""
    if not fraction:
        return np.arange(len(labels)), np.arange(0)
    return heldout_split(labels, fraction, seed, names, key="data.folders.pretrain_fraction")
