"""Image folders as the configuration names them: completed, checked, and listed."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soups.data import layouts
from soups.data.corruptions import CORRUPTIONS
from soups.errors import UserError
from soups.data.layouts import Listing, class_folders, complete, mapping_of, walk
from soups.data.splits import heldout_split

# What `data.folders` may leave out.
DEFAULTS = {
    "seed": 0,
    "pretrain_fraction": 0,
    "names": None,
    "training_images": "array",
    "packed_side": 256,
    "corrupt": "list",
    "real": None,
    "upright": True,
    "expected": {},
}


def settings_of(data: dict) -> dict:
    """``data.folders`` with every key, every set with all that may be said of it."""
    shifts = {
        name: complete(spec) if "folder" in spec else spec
        for name, spec in data["shifts"].items()
        if spec
    }
    sets = {"train": complete(data["train"]), "test": complete(data["test"]), "shifts": shifts}
    return DEFAULTS | data | sets


def sources(settings: dict) -> dict[str, dict]:
    """Set name to where its images come from: a folder, or a corruption of the test set."""
    return {"train": settings["train"], "test": settings["test"]} | settings["shifts"]


def training_classes(settings: dict) -> list[str]:
    """The training classes' folders, in order."""
    return class_folders(Path(settings["root"]) / settings["train"]["folder"])


def inputs(settings: dict, name: str) -> list[str]:
    """What a rule that reads a set depends on: its folders change when an image comes or goes."""
    spec = sources(settings)[name]
    folder = Path(settings["root"]) / spec["folder"]
    if spec["labels"]:
        labels = Path(settings["root"]) / spec["labels"]
        kit = labels.with_name(layouts.KIT)
        return [str(path) for path in (folder, labels, kit) if path != kit or kit.is_file()]
    maps = layouts.MAPPINGS if spec["mappings"] else []
    return [
        *(f"{folder}/{each}" for each in class_folders(folder)),
        *(f"{settings['root']}/{spec['mappings']}/{file}" for file in maps),
    ]


def listing(settings: dict, name: str, corrupt: Sequence[str] = ()) -> Listing:
    """The images of a set.

    Args:
        settings: see `settings_of`.
        name: of the set.
        corrupt: paths to leave out, see `check_set`.

    Raises:
        UserError: if a class has no image left.
    """
    spec = sources(settings)[name]
    found = layouts.listing(settings["root"], spec, training_classes(settings))
    if corrupt:
        bad = set(corrupt)
        keep = [i for i, path in enumerate(found.paths) if path not in bad]
        found.paths, found.labels = [found.paths[i] for i in keep], found.labels[keep]
    count = np.bincount(found.labels, minlength=len(found.names))
    if (count == 0).any():
        empty = Path(settings["root"]) / spec["folder"] / found.names[int(np.argmin(count))]
        raise UserError(f"{empty}: no image, expected at least one per class")
    return found


def check(data: dict, heldout: dict) -> None:
    """Check folders and classes, without opening an image.

    Args:
        data: the section ``data.folders``.
        heldout: the section ``data.heldout``.
    """
    settings = settings_of(data)
    _check_there(settings)
    root, train = Path(settings["root"]), training_classes(settings)
    if isinstance(settings["names"], dict):
        for name in settings["names"]:
            if name not in train:
                raise UserError(
                    f"data.folders.names: {name!r} is no class folder of "
                    f"{root / settings['train']['folder']}"
                )
    _check_imagenet(settings, train)
    if not settings["test"]["labels"]:
        test = class_folders(root / settings["test"]["folder"])
        if test != train:
            odd = sorted(set(test) ^ set(train))[0]
            raise UserError(
                f"{root / settings['test']['folder']}: class {odd!r} is only in one of the "
                "training and test folders, expected the same classes in both"
            )
    for name, spec in sources(settings).items():
        where = (
            f"data.folders.{name}" if name in ("train", "test") else f"data.folders.shifts.{name}"
        )
        if "corruption" in spec:
            if spec["corruption"] not in CORRUPTIONS:
                raise UserError(
                    f"{where}.corruption is {spec['corruption']!r}, "
                    f"expected one of {', '.join(CORRUPTIONS)}"
                )
            continue
        _check_spec(spec, where)
        mapping, _ = mapping_of(root, spec, train)
        _check_mapping(spec, mapping, train, root, where)
        if spec["labels"]:
            found = layouts.listing(root, spec, train)
            have = set(found.labels.tolist())
            none = [name for i, name in enumerate(train) if i not in have]
            if none:
                raise UserError(
                    f"{root / spec['labels']}: gives {len(found.paths)} images of "
                    f"{root / spec['folder']} a class, but none {none[0]!r}, expected at least one "
                    "image per class"
                )
            continue
        for folder, _ in mapping:
            if next(walk(root / spec["folder"], folder), None) is None:
                raise UserError(
                    f"{root / spec['folder'] / folder}: no image, expected at least one per class"
                )
    _check_apart(root, [s["folder"] for s in sources(settings).values() if "folder" in s])
    _check_counts(settings, train, heldout)


def _check_there(settings: dict) -> None:
    """All that is missing at once: who downloads data sets wants to know what is left to do."""
    root = Path(settings["root"])
    folders = {name: s["folder"] for name, s in sources(settings).items() if "folder" in s}
    missing = {
        name: root / folder for name, folder in folders.items() if not (root / folder).is_dir()
    }
    if len(missing) > 1:  # a single one is told by `class_folders`
        raise UserError(
            f"data.folders: no folders {', '.join(map(str, missing.values()))}, "
            f"expected the images of {', '.join(missing)}"
        )


def _check_spec(spec: dict, where: str) -> None:
    if (spec["layout"] == "objectnet") != bool(spec["mappings"]):
        raise UserError(
            f"{where} has layout {spec['layout']!r} and mappings {spec['mappings']!r}, expected "
            "mappings, the folder of ObjectNet's mapping files, with layout objectnet alone"
        )
    if spec["labels"] and (spec["layout"] != "classes" or spec["mapping"]):
        raise UserError(f"{where} has labels, expected neither layout nor mapping beside them")
    if where.endswith(".train") and (spec["labels"] or spec["layout"] != "classes"):
        raise UserError(f"{where}: expected one subfolder per class, without labels or layout")
    if where.endswith(".test") and spec["layout"] != "classes":
        raise UserError(f"{where}.layout is {spec['layout']!r}, expected one subfolder per class")


def _check_imagenet(settings: dict, train: Sequence[str]) -> None:
    """Names, layouts and ReaL labels of ImageNet want classes called by WordNet id."""
    known = set(layouts.imagenet_classes())
    odd = [name for name in train if name not in known]
    wants = ["names"] if settings["names"] == "imagenet" else []
    wants += ["real"] if settings["real"] else []
    if wants and odd:
        raise UserError(
            f"data.folders.{wants[0]} is {settings[wants[0]]!r}, but training class {odd[0]!r} "
            "is none of ImageNet's 1,000, expected folders called by WordNet id"
        )
    real = settings["real"]
    if real and not (Path(settings["root"]) / real).is_file():
        raise UserError(f"{Path(settings['root']) / real}: no such file, expected ReaL's labels")


def _check_mapping(spec: dict, mapping, train: Sequence[str], root: Path, where: str) -> None:
    here = {name for name, _ in mapping}
    for name in spec["mapping"] or {}:
        if name not in here:
            raise UserError(f"{where}.mapping: {name!r} is no class folder of this shift")
    members = [member for _, members in mapping for member in members]
    twice = next((train[m] for m in members if members.count(m) > 1), None)
    if twice and spec["layout"] != "objectnet":
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


def _check_counts(settings: dict, names: list[str], heldout: dict) -> None:
    """Can the training images be divided? Counts no further than it takes to know."""
    folder = Path(settings["root"]) / settings["train"]["folder"]
    share, fraction = settings["pretrain_fraction"], heldout["fraction"]
    enough = math.ceil(2 / min(fraction * (1 - share), share or 1, 1 - share))
    enough = max(enough, (heldout["per_class"] or 0) + 1)
    counts = [sum(1 for _ in itertools.islice(walk(folder, name), enough)) for name in names]
    labels = np.repeat(np.arange(len(names)), counts)
    rest, _ = training_share(labels, share, settings["seed"], names)
    if not heldout["indices"]:
        per_class = heldout["per_class"]
        heldout_split(labels[rest], fraction, settings["seed"], names, per_class=per_class)
    elif not Path(heldout["indices"]).is_file():
        raise UserError(
            f"data.heldout.indices is {heldout['indices']!r}: no such file, expected an array "
            "that marks the held-out images with 1"
        )


def training_share(
    labels: np.ndarray, fraction: float, seed: int, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the training folder: rows to fine-tune on, and disjoint rows to pre-train on."""
    if not fraction:
        return np.arange(len(labels)), np.arange(0)
    return heldout_split(labels, fraction, seed, names, key="data.folders.pretrain_fraction")
