"""Prepared sets: decoded images as one memory-mapped array, labels, and the labels' meaning.

A set consists of three files:

- ``<set>.npy``: the images, uint8, shape (n, h, w, 3).
- ``<set>.labels.npy``: the labels, int64, shape (n,).
- ``<set>.json``: the metadata, whose ``mapping`` has one ``[name, training classes]`` per label.

The mapping of the training set is one to one. A shift may have fewer classes, and one of its
classes may stand for several training classes.

A large training set may have no array. Its metadata then has a ``decode`` entry with the location
of the images, which are decoded each time they are read.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from soups import files
from soups.data.decode import ImageFiles, PackedImages
from soups.errors import UserError

ClassMapping = list[tuple[str, list[int]]]  # per label: name, indices of training classes


def identity(classes: Sequence[str]) -> ClassMapping:
    """Return the mapping in which every training class stands for itself."""
    return [(name, [i]) for i, name in enumerate(classes)]


def set_paths(folder: str, name: str = "{set}") -> list[str]:
    """Return the three files of one set, for the outputs and inputs of Snakemake rules."""
    return [f"{folder}/{name}{ending}" for ending in (".npy", ".labels.npy", ".json")]


def train_paths(folder: str, store: str) -> dict[str, str]:
    """Return the files of the training set by kind.

    Args:
        folder: the folder of prepared sets.
        store: ``array`` if the images are decoded into an array, as in every other set. ``packed``
            if they are in one file of JPEGs. ``folder`` if they stay in their class folders.
    """
    images = {
        "array": {"images": f"{folder}/train.npy"},
        "packed": {"packed": f"{folder}/train.jpegs", "ends": f"{folder}/train.ends.npy"},
        "folder": {},
    }
    rest = {"labels": f"{folder}/train.labels.npy", "meta": f"{folder}/train.json"}
    return images[store] | rest


class PreparedSet:
    """One set on disk, whose files are opened when they are first used.

    Args:
        path: any of the set's three files.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self.path = path.with_name(path.name.split(".")[0] + ".npy")

    @cached_property
    def images(self) -> np.ndarray | ImageFiles:
        decode = self.meta.get("decode") or {}
        if "ends" in decode:
            ends = np.load(self.path.with_name(decode["ends"]))
            packed = self.path.with_name(decode["packed"])
            return PackedImages(packed, ends, decode["size"], decode["upright"])
        return self.originals

    @property
    def originals(self) -> np.ndarray | ImageFiles:
        """The images without packing: the array, or the original files."""
        decode = self.meta.get("decode")
        if decode is None:
            return files.read_array(self.path)
        how = (decode[key] for key in ("size", "border", "upright"))
        return ImageFiles(decode["folder"], self.meta["paths"], *how)

    @cached_property
    def labels(self) -> np.ndarray:
        return np.load(self.path.with_suffix(".labels.npy"))

    @cached_property
    def meta(self) -> dict:
        return files.read_json(self.path.with_suffix(".json"))

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def classes(self) -> list[str]:
        """Names, one per label."""
        return [name for name, _ in self.meta["mapping"]]

    @property
    def members(self) -> list[list[int]]:
        """Training classes, one list per label."""
        return [members for _, members in self.meta["mapping"]]


def write_set(
    path: str | Path,
    pixels: np.ndarray | Iterable[np.ndarray] | None,
    labels: np.ndarray,
    mapping: ClassMapping,
    paths: list[str] | None = None,
    derived: str | None = None,
    **more,
) -> None:
    """Write a set. The metadata is written last, so that it never describes missing arrays.

    Args:
        path: the .npy to write. The names of the two other files follow from it.
        pixels: uint8, shape (n, h, w, 3), as one array or in blocks; None if the ``decode`` entry
            of the metadata locates the images.
        labels: shape (n,), indices into ``mapping``.
        mapping: see the docstring of this module.
        paths: the original path of each image.
        derived: name of the set of which these images are versions, image by image.
        more: further entries of the metadata.

    Raises:
        UserError: if a class has no image.
    """
    path = Path(path)
    count = np.bincount(labels, minlength=len(mapping))
    if (count == 0).any():
        empty = mapping[int(np.flatnonzero(count == 0)[0])][0]
        raise UserError(f"{path.stem}: class {empty!r} has no image, expected at least one")
    if pixels is not None:
        blocks = [pixels] if isinstance(pixels, np.ndarray) else pixels
        files.write_blocks(path, blocks, len(labels))
    files.write_array(path.with_suffix(".labels.npy"), labels.astype(np.int64))
    meta = {"n": len(labels), "mapping": mapping, "paths": paths, "derived": derived}
    files.write_json(path.with_suffix(".json"), meta | more)
