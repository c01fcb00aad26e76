"""How image sets lie on disk: which images there are, and which training classes each stands for.

A set is a folder with one subfolder per class (``classes``, the default), or a flat folder
with a file of labels. ImageNet's sets come in layouts of their own: subfolders called 0 to
999 (``imagenet_index``: ImageNetV2), or by objects that mapping files tie to ImageNet's
classes (``objectnet``). Which classes a set has follows from its folders.
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
from soups.errors import UserError, near
from soups.files import read_json
from soups.data.images import Mapping

# ObjectNet's own mapping files.
MAPPINGS = (
    "folder_to_objectnet_label.json",  # folder: object
    "objectnet_to_imagenet_1k.json",  # object: ImageNet's names for it, "; " between them
    "pytorch_to_imagenet_2012_id.json",  # index by WordNet id: number of 2012
    "imagenet_to_label_2012_v2",  # a name per number of 2012
)
KIT = "meta.mat"  # of ImageNet's development kit: what the numbers of its labels mean
# What may be said of a set besides its folder, and what holds if it is not.
SPEC = {
    "labels": None,  # file of labels of a flat folder
    "layout": "classes",
    "mapping": None,  # class folder to training classes
    "mappings": None,  # folder of ObjectNet's mapping files
    "border": 0,  # pixels to cut off every side
    "skip_unknown": False,  # pass over classes that are no training classes
}


@dataclass
class Listing:
    """The images of a set.

    Attributes:
        names: class folders (for a flat folder: training classes), in label order.
        mapping: per label its name and the training classes it stands for.
        paths: of images, relative to the set's folder.
        labels: int64, shape (n,).
        missing: images that the labels name and nobody has.
        passed_over: class folders (for a flat folder: labels) that stand for no training class,
            and images of a flat folder that have no label.
    """

    names: list[str]
    mapping: Mapping
    paths: list[str]
    labels: np.ndarray
    missing: list[str] = field(default_factory=list)
    passed_over: list[str] = field(default_factory=list)


def complete(spec: str | dict) -> dict:
    """A set's entry in the configuration, a folder or a mapping with one, with every key."""
    return SPEC | ({"folder": spec} if isinstance(spec, str) else spec)


def class_folders(folder: str | Path) -> list[str]:
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


def walk(folder: str | Path, name: str) -> Iterator[str]:
    """Paths of one class's images relative to ``folder``, in any order, subfolders included.

    Whoever wants only a few of many does not wait for the rest of the folder to be read.
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


def mapping_of(root: str | Path, spec: dict, train: Sequence[str]) -> tuple[Mapping, list[str]]:
    """Which training classes each class of a set stands for, without looking at images.

    Args:
        root: what the set's folder is relative to.
        spec: see `complete`.
        train: the training classes' folders.

    Returns:
        ``(class folder, training classes)`` in label order, and class folders passed over.

    Raises:
        UserError: for a class that is no training class, unless these are to be skipped.
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
                "remove its folder, say what it stands for under `mapping`, or set skip_unknown"
            )
        if members and len(foreign) < len(members):
            out.append((name, [index[m] for m in members if m in index]))
        elif members:
            passed_over.append(name)
    if not out:
        raise UserError(f"{folder}: none of its {len(here)} classes stands for a training class")
    return out, sorted(passed_over)


def listing(root: str | Path, spec: dict, train: Sequence[str]) -> Listing:
    """All images of a set, class by class in name order; arguments as of `mapping_of`."""
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
    """WordNet ids of ImageNet's 1,000 classes, in order of their index (from timm's files)."""
    package = importlib.util.find_spec("timm").submodule_search_locations[0]
    return (Path(package) / "data" / "_info" / "imagenet_synsets.txt").read_text().split()


def _by_index(folder: Path, here: Sequence[str]) -> dict[str, list[str]]:
    """Folders called by their class's index: as text 10 comes before 2, so names are read."""
    known = imagenet_classes()
    for name in here:
        if not (name.isdecimal() and int(name) < len(known)):
            raise UserError(f"{folder}: class folder {name!r}, expected 0 to {len(known) - 1}")
    return {name: [known[int(name)]] for name in here}


def objectnet_classes(mappings: str | Path, here: Sequence[str]) -> dict[str, list[str]]:
    """ObjectNet's class folders that stand for ImageNet classes, by its own mapping files.

    Args:
        mappings: the folder that ObjectNet comes with.
        here: class folders.

    Returns:
        folder to WordNet ids; one object may be several of ImageNet's classes.

    Raises:
        UserError: for a missing file, or an object or class that another file does not know.
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
            raise UserError(f"{names_of}: {label!r} is {unknown[0]!r}, which {titles} has not")
        out[folder] = [wnid[title] for title in titles_of]
    return out


def _flat(
    folder: Path, file: Path, train: Sequence[str], skip_unknown: bool
) -> tuple[list[str], np.ndarray, list[str], list[str]]:
    """Images that lie in one folder, by a file of labels; sorted by class, then by name.

    The file has a class per line, one for each image in name order; or an image and its class
    per line. A class is a training class's folder or, beside an image, its index from 0. Two
    files that come with ImageNet are read as they are: Kaggle's LOC_val_solution.csv, and the
    development kit's numbers, whose meaning stands in the meta.mat beside them.

    Returns:
        paths, labels, images that are missing, and labels and images passed over.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder, expected images that {file} has labels of")
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
            f"{file}: label {unknown[0]!r} is none of the {len(train)} training classes"
        )
    known = {name for name, label in label_of.items() if label not in unknown}
    missing = sorted(known - set(here))
    passed_over = [*unknown, *(name for name in here if name not in label_of)]
    order = sorted((index[label_of[name]], name) for name in known.intersection(here))
    return [name for _, name in order], np.array([c for c, _ in order], int), missing, passed_over


def _labels(file: Path, folder: Path, here: Sequence[str]) -> tuple[dict[str, str], bool]:
    """Image to label as it stands in the file; and whether images' names stand there, too."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{file}: not text, expected labels, a line for each image") from None
    lines = text.splitlines()
    cells = csv.reader(lines) if "," in text else (line.split() for line in lines)
    rows = [row for row in ([cell for cell in row if cell] for row in cells) if row]
    named = bool(rows) and len(rows[0]) > 1
    if not named:
        if len(rows) != len(here):
            raise UserError(
                f"{file}: {len(rows)} labels, expected one for each of the {len(here)} images "
                f"in {folder}"
            )
        return dict(zip(here, (row[0] for row in rows), strict=True)), named
    odd = next((row for row in rows if len(row) < 2), None)
    if odd:
        raise UserError(f"{file}: the line {odd[0]!r}, expected an image and its class")
    pairs = [(row[0], row[1]) for row in rows]
    if pairs[0][0] == "ImageId":  # Kaggle's: names without ending, boxes after the class
        ending = Path(here[0]).suffix if here else ".JPEG"
        pairs = [(name + ending, label.split()[0]) for name, label in pairs[1:]]
    label_of = dict(pairs)
    if len(label_of) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise UserError(f"{file}: image {twice!r} stands there twice, expected one line for each")
    return label_of, named


def _meaning(file: Path, labels: set[str], train: Sequence[str], named: bool) -> dict[str, int]:
    """Label as it stands in the file to index of the training class; below 0 for none."""
    index = {name: i for i, name in enumerate(train)}
    if labels <= set(index) or not all(label.isdecimal() for label in labels):
        return index
    if named:
        # ImageNet's indices are those of all its classes, also where some are trained on.
        known = imagenet_classes()
        own = train if not set(train) <= set(known) else known
        return {str(i): index.get(name, -1) for i, name in enumerate(own)}
    kit = file.with_name(KIT)
    if not kit.is_file():
        raise UserError(
            f"{file}: numbers without images' names, as in ImageNet's development kit, but "
            f"no {kit} beside it that says what they mean"
        )
    from scipy.io import loadmat

    try:
        synsets = np.atleast_1d(loadmat(kit, squeeze_me=True)["synsets"])
        return {str(int(row["ILSVRC2012_ID"])): index.get(str(row["WNID"]), -1) for row in synsets}
    except Exception as error:  # scipy has many kinds for files that are none of MATLAB's
        raise UserError(
            f"{kit}: {error}, expected the development kit's synsets with ILSVRC2012_ID and WNID"
        ) from error
