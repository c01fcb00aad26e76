"""Prepared sets: examples as one memory-mapped array, labels, and the labels' meaning.

A set consists of three files:

- ``<set>.npy``: the examples. Images are uint8 of shape (n, h, w, 3), and `text.tokens` describes
  the array of texts.
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

from soups import files, problems
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
    def inputs(self):
        """The examples, as the problem of the set opens them, see `problems.Problem.inputs`."""
        return self.problem.inputs(self)

    @cached_property
    def labels(self) -> np.ndarray:
        return np.load(self.path.with_suffix(".labels.npy"))

    @cached_property
    def meta(self) -> dict:
        return files.read_json(self.path.with_suffix(".json"))

    @property
    def problem(self) -> problems.Problem:
        return problems.of_note(self.meta)

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
    array: np.ndarray | Iterable[np.ndarray] | None,
    labels: np.ndarray,
    mapping: ClassMapping,
    paths: list[str] | None = None,
    derived: str | None = None,
    **more,
) -> None:
    """Write a set. The metadata is written last, so that it never describes missing arrays.

    Args:
        path: the .npy to write. The names of the two other files follow from it.
        array: the examples of the set, whole or in blocks; None if the ``decode`` entry of the
            metadata locates the images.
        labels: shape (n,), indices into ``mapping``.
        mapping: see the docstring of this module.
        paths: where each example comes from, such as the path of an image.
        derived: name of the set of which these examples are versions, one by one.
        more: further entries of the metadata.

    Raises:
        UserError: if a class has no example.
    """
    path = Path(path)
    count = np.bincount(labels, minlength=len(mapping))
    if (count == 0).any():
        empty = mapping[int(np.flatnonzero(count == 0)[0])][0]
        example = problems.of_note(more).example
        raise UserError(f"{path.stem}: class {empty!r} has no {example}, expected at least one")
    if array is not None:
        blocks = [array] if isinstance(array, np.ndarray) else array
        files.write_blocks(path, blocks, len(labels))
    files.write_array(path.with_suffix(".labels.npy"), labels.astype(np.int64))
    meta = {"n": len(labels), "mapping": mapping, "paths": paths, "derived": derived}
    files.write_json(path.with_suffix(".json"), meta | more)
