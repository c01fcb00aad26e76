"""Layouts of image sets on disk: list the images and the training classes of their labels.

A set is a folder with one subfolder per class (``classes``, the default), a flat folder with a file
of labels, a folder of Parquet files (``parquet``), or several domains (`data.domains`). Some of
ImageNet's shifts have other layouts. In ``imagenet_index`` (ImageNetV2), the subfolders are named 0
to 999. In ``objectnet``, the subfolders are named by objects, and mapping files relate these to
ImageNet's classes. The subfolders determine the classes of a set.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from soups.data import domains, imagenet, parquet
from soups.data.label_files import composed
from soups.data.labelled import flat_images
from soups.data.prepared import ClassMapping
from soups.data.walking import Aside, is_folder, is_image, is_odd, scan, walk
from soups.errors import UserError, near

# Optional keys of a set in the configuration, with their defaults.
SPEC = {
    "labels": None,  # file with the labels of a flat folder
    "layout": "classes",
    "mapping": None,  # class folder to training classes
    "mappings": None,  # folder with ObjectNet's mapping files
    "border": 0,  # pixels to cut off each side
    "split": None,  # beginning of the names of Parquet files, by default the name of the set
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
        aside: files that are no images.
    """

    names: list[str]
    mapping: ClassMapping
    paths: list[str]
    labels: np.ndarray
    missing: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)
    aside: Aside = field(default_factory=Aside)


def complete(spec: str | dict) -> dict:
    """Fill in the optional keys of a set's entry in the configuration.

    Args:
        spec: the set's folder, or a dict with the key ``folder``.
    """
    return SPEC | ({"folder": spec} if isinstance(spec, str) else spec)


def class_folders(folder: str | Path) -> list[str]:
    """Return the names of all class folders in order.

    Hidden folders, and those that file managers and archives leave behind, are no classes.

    Raises:
        UserError: if the folder is missing or has no subfolder, or if a name cannot be a class.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected one subfolder of images per class")
    names = sorted(e.name for e in scan(folder) if not is_odd(e.name) and is_folder(e))
    if not names:
        loose = next((e.name for e in scan(folder) if not is_odd(e.name) and is_image(e)), None)
        beside = (
            ""
            if loose is None
            else (
                f", or a file of labels under `labels`, because it holds images such as {loose!r}"
            )
        )
        raise UserError(f"{folder}: the folder has no subfolder, expected one per class{beside}")
    _check_names(folder, names)
    return names


def _check_names(folder: Path, names: Sequence[str]) -> None:
    """Refuse names that differ in their Unicode form alone, or hold control characters."""
    forms: dict[str, str] = {}
    for name in names:
        if not name.isprintable() and any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
            raise UserError(
                f"{folder}: a class folder is named {name!a}, expected a name in UTF-8 without "
                "control characters"
            )
        other = forms.setdefault(composed(name), name)
        if other != name:
            raise UserError(
                f"{folder}: the class folders {other!a} and {name!a} have the same name in two "
                "Unicode forms, expected one folder per class"
            )


def classes_of(root: str | Path, spec: dict) -> list[str]:
    """Return the classes of a set with classes of its own, in order.

    Args:
        root: the set's folder is relative to it.
        spec: see `complete`. A flat folder with labels has the classes of the training set.
    """
    folder = Path(root) / spec["folder"]
    if spec["layout"] == "parquet":
        return parquet.classes(folder, spec["split"])
    if spec["layout"] == domains.LAYOUT:
        return _common_classes(folder, spec["domains"])
    return class_folders(folder)


def _common_classes(root: Path, names: Sequence[str]) -> list[str]:
    """Return the classes of several domains, which all have to be the same."""
    first = class_folders(root / names[0])
    for name in names[1:]:
        if other := sorted(set(first).symmetric_difference(class_folders(root / name))):
            raise UserError(
                f"{root / name}: the classes differ from those of {root / names[0]} by "
                f"{', '.join(map(repr, other[:5]))}, expected the same classes in every training "
                "domain"
            )
    return first


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
    here = classes_of(root, spec)
    if spec["layout"] == "imagenet_index":
        stands = imagenet.by_index(folder, here)
    elif spec["layout"] == "objectnet":
        stands = imagenet.objectnet_classes(Path(root) / spec["mappings"], here)
    else:
        given = {composed(name): members for name, members in (spec["mapping"] or {}).items()}
        stands = {name: given.get(composed(name), [name]) for name in here}
    index = {composed(name): i for i, name in enumerate(train)}
    out, passed_over = [], [name for name in here if name not in stands]
    for name in here:
        members = [composed(member) for member in stands.get(name, [])]
        foreign = [member for member in members if member not in index]
        mapped = composed(name) in map(composed, spec["mapping"] or {})
        if foreign and not spec["skip_unknown"] and mapped:
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

    Images in Parquet files are ordered by file and row. The arguments are those of `mapping_of`.
    """
    mapping, passed_over = mapping_of(root, spec, train)
    names, aside = [name for name, _ in mapping], Aside()
    folder = Path(root) / spec["folder"]
    if spec["labels"]:
        file = Path(root) / spec["labels"]
        found = flat_images(folder, file, train, spec["skip_unknown"], aside)
        paths, labels, missing, passed_over = found
    elif spec["layout"] == "parquet":
        every, paths, labels = parquet.labelled(folder, spec["split"])
        number = {name: i for i, name in enumerate(names)}
        new = np.array([number.get(name, -1) for name in every])[labels]
        keep, missing = np.flatnonzero(new >= 0), []
        paths, labels = [paths[i] for i in keep], new[keep]
    elif spec["layout"] == domains.LAYOUT:
        each = []
        for label, name in enumerate(names):
            found = []
            for domain in spec["domains"]:
                own = sorted(f"{domain}/{path}" for path in walk(folder / domain, name, aside))
                found += domains.part(own, domain, label, spec["part"])
            each.append(found)
        labels = np.repeat(np.arange(len(names)), [len(paths) for paths in each])
        paths, missing = [path for paths in each for path in paths], []
    else:
        each = [sorted(walk(folder, name, aside)) for name in names]
        labels = np.repeat(np.arange(len(names)), [len(paths) for paths in each])
        paths, missing = [path for paths in each for path in paths], []
        for entry in scan(folder):  # beside the class folders
            if is_odd(entry.name):
                aside.left_behind[entry.name] += 1
    return Listing(names, mapping, paths, labels.astype(np.int64), missing, passed_over, aside)
