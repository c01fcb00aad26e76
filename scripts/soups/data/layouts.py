"""Layouts of image sets on disk: list the images and the training classes of their labels.

A set is a folder with one subfolder per class (``classes``, the default), or a flat folder with a
file of labels. Some of ImageNet's shifts have other layouts. In ``imagenet_index`` (ImageNetV2),
the subfolders are named 0 to 999. In ``objectnet``, the subfolders are named by objects, and
mapping files relate these to ImageNet's classes. The subfolders determine the classes of a set.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from soups.data import imagenet
from soups.data.decode import ENDINGS
from soups.data.images import ClassMapping
from soups.data.labelled import flat_images
from soups.errors import UserError, near

# Optional keys of a set in the configuration, with their defaults.
SPEC = {
    "labels": None,  # file with the labels of a flat folder
    "layout": "classes",
    "mapping": None,  # class folder to training classes
    "mappings": None,  # folder with ObjectNet's mapping files
    "border": 0,  # pixels to cut off each side
    "skip_unknown": False,  # leave out classes that stand for no training class
}


@dataclass
class Listing:
    """The images of a set.

    Attributes:
        names: class folders (for a flat folder: training classes), in label order.
        mapping: name and training classes of each label.
        paths: paths of the images, relative to the set's folder.
        labels: int64, shape (n,).
        missing: images that the file of labels names but the folder does not have.
        passed_over: class folders (for a flat folder: labels) that stand for no training class,
            and images of a flat folder that have no label.
    """

    names: list[str]
    mapping: ClassMapping
    paths: list[str]
    labels: np.ndarray
    missing: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def complete(spec: str | dict) -> dict:
    """Fill in the optional keys of a set's entry in the configuration.

    Args:
        spec: the set's folder, or a dict with the key ``folder``.
    """
    return SPEC | ({"folder": spec} if isinstance(spec, str) else spec)


def class_folders(folder: str | Path) -> list[str]:
    """Return the names of all class folders in order, without hidden folders.

    Raises:
        UserError: if the folder is missing or has no subfolder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one subfolder of images per class")
    names = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
    if not names:
        raise UserError(f"{folder}: the folder has no subfolder, expected one per class")
    return names


def walk(folder: str | Path, name: str) -> Iterator[str]:
    """Yield the paths of one class's images relative to ``folder``, including its subfolders.

    The paths come in no particular order, while the folder is still being read. A caller that
    needs only a few paths therefore does not wait for the rest.
    """
    below = []
    with os.scandir(Path(folder) / name) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                below.append(f"{name}/{entry.name}")
            elif entry.name.lower().endswith(ENDINGS):
                yield f"{name}/{entry.name}"
    for each in below:
        yield from walk(folder, each)


def mapping_of(
    root: str | Path, spec: dict, train: Sequence[str]
) -> tuple[ClassMapping, list[str]]:
    """Return the training classes for which each class of a set stands, without reading images.

    Args:
        root: the set's folder is relative to it.
        spec: see `complete`.
        train: class folders of the training set.

    Returns:
        ``(class folder, training classes)`` in label order, and the class folders left out.

    Raises:
        UserError: if a class stands for no training class and ``skip_unknown`` is false, or if
            every class stands for none.
    """
    folder = Path(root) / spec["folder"]
    if spec["labels"]:
        return [(name, [i]) for i, name in enumerate(train)], []
    here = class_folders(folder)
    if spec["layout"] == "imagenet_index":
        stands = imagenet.by_index(folder, here)
    elif spec["layout"] == "objectnet":
        stands = imagenet.objectnet_classes(Path(root) / spec["mappings"], here)
    else:
        given = spec["mapping"] or {}
        stands = {name: given.get(name, [name]) for name in here}
    index = {name: i for i, name in enumerate(train)}
    out, passed_over = [], [name for name in here if name not in stands]
    for name in here:
        members = stands.get(name, [])
        foreign = [member for member in members if member not in index]
        if foreign and not spec["skip_unknown"] and name in (spec["mapping"] or {}):
            raise UserError(
                f"{folder}: the mapping of {name!r} names {foreign[0]!r}, which is not among the "
                f"{len(train)} training classes{near(foreign[0], train)}"
            )
        if foreign and not spec["skip_unknown"]:
            raise UserError(
                f"{folder}: class {foreign[0]!r} is not among the {len(train)} training classes; "
                "remove its folder, give its training classes under mapping, or set skip_unknown"
            )
        if members and len(foreign) < len(members):
            out.append((name, [index[m] for m in members if m in index]))
        elif members:
            passed_over.append(name)
    if not out:
        raise UserError(
            f"{folder}: none of its {len(here)} classes stands for a training class, "
            "expected at least one"
        )
    return out, sorted(passed_over)


def listing(root: str | Path, spec: dict, train: Sequence[str]) -> Listing:
    """List all images of a set, ordered by class and then by name.

    The arguments are those of `mapping_of`.
    """
    mapping, passed_over = mapping_of(root, spec, train)
    names = [name for name, _ in mapping]
    folder = Path(root) / spec["folder"]
    if spec["labels"]:
        file = Path(root) / spec["labels"]
        paths, labels, missing, passed_over = flat_images(folder, file, train, spec["skip_unknown"])
    else:
        each = [sorted(walk(folder, name)) for name in names]
        labels = np.repeat(np.arange(len(names)), [len(paths) for paths in each])
        paths, missing = [path for paths in each for path in paths], []
    return Listing(names, mapping, paths, labels.astype(np.int64), missing, passed_over)
