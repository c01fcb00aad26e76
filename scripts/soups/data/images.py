"""Prepared sets: decoded images as one memory-mapped array, labels, and what the labels mean.

A set is three files: ``<set>.npy``, uint8 (n, h, w, 3); ``<set>.labels.npy``, int64
(n,); and ``<set>.json``, whose ``mapping`` has one ``[name, training classes]`` per
label. The training set's mapping is one to one; a shift may know fewer classes, and
one of its classes may stand for several training classes.

A large training set may do without the array: its ``decode`` entry says where its images
are read from whenever they are needed.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from soups import files
from soups.data.decode import ImageFiles, PackedImages
from soups.errors import UserError

Mapping = list[tuple[str, list[int]]]


def identity(classes: Sequence[str]) -> Mapping:
    """Every training class stands for itself."""
    return [(name, [i]) for i, name in enumerate(classes)]


def set_paths(folder: str, name: str = "{set}") -> list[str]:
    """The files of one set; Snakemake's outputs and inputs are built with this."""
    return [f"{folder}/{name}{ending}" for ending in (".npy", ".labels.npy", ".json")]


def train_paths(folder: str, store: str) -> dict[str, str]:
    """The files of the training set, whose images may stay where they are.

    Args:
        folder: where prepared sets lie.
        store: ``array``: decoded, as every set; ``packed``: in one file of JPEGs; ``folder``: in
            the class folders they come in.
    """
    images = {
        "array": {"images": f"{folder}/train.npy"},
        "packed": {"packed": f"{folder}/train.jpegs", "ends": f"{folder}/train.ends.npy"},
        "folder": {},
    }
    rest = {"labels": f"{folder}/train.labels.npy", "meta": f"{folder}/train.json"}
    return images[store] | rest


class PreparedSet:
    """One set on disk, opened lazily.

    Args:
        path: the .npy with the images; the two other files lie beside it.
    """

    def __init__(self, path: str | Path) -> None:
        # Tables know a set by its metadata alone: either of the three names will do.
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
        """The images as test sets have them, whose files are never packed."""
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
    mapping: Mapping,
    paths: list[str] | None = None,
    derived: str | None = None,
    **more,
) -> None:
    """Write a set; the metadata goes last, so that it never names arrays that are not there.

    Args:
        path: the .npy to write; the two other names follow from it.
        pixels: uint8, shape (n, h, w, 3), at once or in blocks; None if ``decode`` says where
            they are.
        labels: shape (n,), indices into ``mapping``.
        mapping: see the module's text.
        paths: where each image came from, for the manifest.
        derived: the set whose images these are a version of, image by image.
        more: further entries of the metadata.
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
