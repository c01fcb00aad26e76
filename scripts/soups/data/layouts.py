"""Layouts of image sets on disk: list the images and the training classes of their labels.

A set is a folder with one subfolder per class (``classes``, the default), or a flat folder with a
file of labels. Some of ImageNet's shifts have other layouts. In ``imagenet_index`` (ImageNetV2),
the subfolders are named 0 to 999. In ``objectnet``, the subfolders are named by objects, and
mapping files relate these to ImageNet's classes. The subfolders determine the classes of a set.
"""

import csv
import importlib.util
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from soups.data.decode import ENDINGS
from soups.data.images import ClassMapping
from soups.errors import UserError, near
from soups.files import read_json

# The mapping files that ObjectNet comes with.
MAPPINGS = (
    "folder_to_objectnet_label.json",  # class folder to object
    "objectnet_to_imagenet_1k.json",  # object to ImageNet's names for it, separated by "; "
    "pytorch_to_imagenet_2012_id.json",  # class index by WordNet id to class number of 2012
    "imagenet_to_label_2012_v2",  # one name per line, in the order of the class numbers of 2012
)
KIT = "meta.mat"  # the file of ImageNet's development kit that explains its class numbers
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
        stands = _by_index(folder, here)
    elif spec["layout"] == "objectnet":
        stands = objectnet_classes(Path(root) / spec["mappings"], here)
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
        paths, labels, missing, passed_over = _flat(folder, file, train, spec["skip_unknown"])
    else:
        each = [sorted(walk(folder, name)) for name in names]
        labels = np.repeat(np.arange(len(names)), [len(paths) for paths in each])
        paths, missing = [path for paths in each for path in paths], []
    return Listing(names, mapping, paths, labels.astype(np.int64), missing, passed_over)


@cache
def imagenet_classes() -> list[str]:
    """Return the WordNet ids of ImageNet's 1,000 classes by index, from a file in timm."""
    package = importlib.util.find_spec("timm").submodule_search_locations[0]
    return (Path(package) / "data" / "_info" / "imagenet_synsets.txt").read_text().split()


def _by_index(folder: Path, here: Sequence[str]) -> dict[str, list[str]]:
    """Class folder to WordNet ids, for folders named by class index.

    Names are read as numbers, because "10" sorts before "2" as text.
    """
    known = imagenet_classes()
    for name in here:
        if not (name.isdecimal() and int(name) < len(known)):
            raise UserError(
                f"{folder}: a class folder is named {name!r}, expected 0 to {len(known) - 1}"
            )
    return {name: [known[int(name)]] for name in here}


def objectnet_classes(mappings: str | Path, here: Sequence[str]) -> dict[str, list[str]]:
    """Return the ImageNet classes of ObjectNet's class folders, from ObjectNet's mapping files.

    Args:
        mappings: the folder with the four mapping files.
        here: class folders.

    Returns:
        class folder to WordNet ids. An object may stand for several ImageNet classes. Folders that
        stand for no ImageNet class are left out.

    Raises:
        UserError: if a mapping file is missing, or names a class that another one does not have.
    """
    files = [Path(mappings) / name for name in MAPPINGS]
    for path in files:
        if not path.is_file():
            raise UserError(f"{path}: no such file, expected ObjectNet's own mapping files")
    label_of, names_of, numbers, titles = files
    number = {int(n): int(index) for index, n in read_json(numbers).items()}
    lines = titles.read_text(encoding="utf-8").splitlines()
    known = imagenet_classes()
    wnid = {line.strip(): known[number[n]] for n, line in enumerate(lines) if n in number}
    names = read_json(names_of)
    out = {}
    for folder, label in read_json(label_of).items():
        if folder not in here or label not in names:
            continue
        titles_of = [title.strip() for title in names[label].split(";")]
        if unknown := [title for title in titles_of if title not in wnid]:
            raise UserError(
                f"{names_of}: {label!r} has the ImageNet name {unknown[0]!r}, "
                f"expected a name in {titles}"
            )
        out[folder] = [wnid[title] for title in titles_of]
    return out


def _flat(
    folder: Path, file: Path, train: Sequence[str], skip_unknown: bool
) -> tuple[list[str], np.ndarray, list[str], list[str]]:
    """List the images of one flat folder by a file of labels, ordered by class and then by name.

    Each line of the file holds a class, for the images in name order, or an image and its class.
    A class is the folder name of a training class. Beside an image, it may be the class index,
    counted from 0. Two files that come with ImageNet are read unchanged: Kaggle's
    LOC_val_solution.csv, and the class numbers of the development kit, which the meta.mat in the
    same folder explains.

    Returns:
        paths, labels, missing images, and the labels and images that are left out.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected the images of the labels in {file}")
    if not file.is_file():
        raise UserError(f"{file}: no such file, expected the labels of the images in {folder}")
    here = sorted(
        e.name
        for e in os.scandir(folder)
        if e.is_file() and e.name.lower().endswith(ENDINGS) and not e.name.startswith(".")
    )
    label_of, named = _labels(file, folder, here)
    index = _meaning(file, set(label_of.values()), train, named)
    unknown = sorted(label for label in set(label_of.values()) if index.get(label, -1) < 0)
    if unknown and not skip_unknown:
        raise UserError(
            f"{file}: label {unknown[0]!r} is none of the {len(train)} training classes, expected "
            "one of them, or skip_unknown"
        )
    known = {name for name, label in label_of.items() if label not in unknown}
    missing = sorted(known - set(here))
    passed_over = [*unknown, *(name for name in here if name not in label_of)]
    order = sorted((index[label_of[name]], name) for name in known.intersection(here))
    return [name for _, name in order], np.array([c for c, _ in order], int), missing, passed_over


def _labels(file: Path, folder: Path, here: Sequence[str]) -> tuple[dict[str, str], bool]:
    """Read a file of labels.

    Returns:
        image to label as written in the file, and whether the file has image names.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{file}: the file is not text, expected one label per line") from None
    lines = text.splitlines()
    cells = csv.reader(lines) if "," in text else (line.split() for line in lines)
    rows = [row for row in ([cell for cell in row if cell] for row in cells) if row]
    named = bool(rows) and len(rows[0]) > 1
    if not named:
        if len(rows) != len(here):
            raise UserError(
                f"{file}: the file has {len(rows)} labels, expected one for each of the "
                f"{len(here)} images in {folder}"
            )
        return dict(zip(here, (row[0] for row in rows), strict=True)), named
    odd = next((row for row in rows if len(row) < 2), None)
    if odd:
        raise UserError(f"{file}: a line holds only {odd[0]!r}, expected an image and its class")
    pairs = [(row[0], row[1]) for row in rows]
    if pairs[0][0] == "ImageId":  # Kaggle's names have no ending, and boxes follow the class
        ending = Path(here[0]).suffix if here else ".JPEG"
        pairs = [(name + ending, label.split()[0]) for name, label in pairs[1:]]
    label_of = dict(pairs)
    if len(label_of) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UserError(f"{file}: image {twice!r} has two lines, expected one line per image")
    return label_of, named


def _meaning(file: Path, labels: set[str], train: Sequence[str], named: bool) -> dict[str, int]:
    """Return the training class of each label.

    Args:
        file: the file of labels.
        labels: the labels as written in the file.
        train: class folders of the training set.
        named: whether the file has image names.

    Returns:
        label to index of its training class, or to -1 for no training class. Unknown labels have no
        entry.
    """
    index = {name: i for i, name in enumerate(train)}
    if labels <= set(index) or not all(label.isdecimal() for label in labels):
        return index
    if named:
        # An index counts all 1,000 ImageNet classes, even if the training set has only some.
        known = imagenet_classes()
        own = train if not set(train) <= set(known) else known
        return {str(i): index.get(name, -1) for i, name in enumerate(own)}
    kit = file.with_name(KIT)
    if not kit.is_file():
        raise UserError(
            f"{file}: the file has class numbers without image names, expected {kit} of ImageNet's "
            "development kit, which explains these numbers"
        )
    from scipy.io import loadmat

    try:
        synsets = np.atleast_1d(loadmat(kit, squeeze_me=True)["synsets"])
        return {str(int(row["ILSVRC2012_ID"])): index.get(str(row["WNID"]), -1) for row in synsets}
    except Exception as error:  # on broken files, scipy raises exceptions of many types
        raise UserError(
            f"{kit}: the file cannot be read ({error}), "
            "expected the development kit's synsets with ILSVRC2012_ID and WNID"
        ) from error
