"""The image folders of the configuration: fill in their settings, check and list them."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soups.data import imagenet, labelled, layouts, parquet, walking
from soups.data.corruptions import CORRUPTIONS
from soups.data.label_files import composed
from soups.data.layouts import Listing, class_folders, complete, mapping_of
from soups.data.splits import heldout_split
from soups.data.walking import walk
from soups.errors import UserError, closest, near
from soups.files import fingerprint, stamp

SHOWN = 20  # class names that one message lists at most
# Optional keys of `data.folders`, with their defaults.
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
    """Fill in the optional keys of ``data.folders`` and of each set in it."""
    shifts = {
        name: _with_split(name, complete(spec)) if "folder" in spec else spec
        for name, spec in data["shifts"].items()
        if spec
    }
    sets = {name: _with_split(name, complete(data[name])) for name in ("train", "test")}
    return DEFAULTS | data | sets | {"shifts": shifts}


def _with_split(name: str, spec: dict) -> dict:
    return spec | {"split": name} if spec["layout"] == "parquet" and not spec["split"] else spec


def in_folders(spec: dict) -> bool:
    """Return whether each class of a set has a folder of its own."""
    return not spec.get("labels") and spec.get("layout") != "parquet"


def sources(settings: dict) -> dict[str, dict]:
    """Return set name to the origin of its images: a folder, or a corruption of the test set."""
    return {"train": settings["train"], "test": settings["test"]} | settings["shifts"]


def training_classes(settings: dict) -> list[str]:
    """Return the training classes in order: class folders, or the labels of a flat folder."""
    spec, root = settings["train"], Path(settings["root"])
    if spec["labels"]:
        return labelled.classes(root / spec["folder"], root / spec["labels"])
    return layouts.classes_of(root, spec)


def inputs(settings: dict, name: str) -> tuple[str, list[str]]:
    """Return the inputs of a rule that reads a set.

    Returns:
        the folder of the images, whose modification time says nothing, and files that Snakemake
        compares by their time: labels, and ObjectNet's mappings. See `state`.
    """
    spec = sources(settings)[name]
    root = Path(settings["root"])
    files = []
    if spec["labels"]:
        labels = root / spec["labels"]
        kit = labels.with_name(labelled.KIT)
        files = [str(path) for path in (labels, kit) if path != kit or kit.is_file()]
    elif spec["layout"] == "parquet":
        files = [str(path) for path in parquet.files(root / spec["folder"], spec["split"])]
    elif spec["mappings"]:
        files = [f"{root / spec['mappings']}/{file}" for file in imagenet.MAPPINGS]
    return str(root / spec["folder"]), files


def state(settings: dict, name: str) -> str:
    """Return a hash of what was found in the folder of a set, see `walking.state`.

    The hash changes if an image is added, removed, renamed or changed. A file of a file manager
    does not change it, although it changes the modification time of the folder.
    """
    spec = sources(settings)[name]
    folder = Path(settings["root"]) / spec["folder"]
    if spec["layout"] == "parquet":
        return fingerprint([stamp(path) for path in parquet.files(folder, spec["split"])])
    return walking.state(folder, [""] if spec["labels"] else class_folders(folder))


def listing(settings: dict, name: str, corrupt: Sequence[str] = ()) -> Listing:
    """List the images of a set.

    Args:
        settings: see `settings_of`.
        name: name of the set.
        corrupt: paths of images to leave out, which the rule `check_set` could not read.

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
        name = found.names[int(np.argmin(count))]
        if not in_folders(spec):
            raise UserError(_unlabelled(settings, spec, found, name))
        raise UserError(walking.no_image(Path(settings["root"]) / spec["folder"] / name))
    return found


def _unlabelled(settings: dict, spec: dict, found: Listing, name: str) -> str:
    root = Path(settings["root"])
    where = root / (spec["labels"] or spec["folder"])
    return (
        f"{where}: none of the {len(found.paths)} labelled images in "
        f"{root / spec['folder']} has class {name!r}, expected at least one image per class"
    )


def check(data: dict, heldout: dict) -> None:
    """Check folders and classes without opening an image.

    Args:
        data: the config section ``data.folders``.
        heldout: the config section ``data.heldout``.

    Raises:
        UserError: if a folder or file is missing, or if a setting does not fit the folders.
    """
    settings = settings_of(data)
    _check_exist(settings)
    root, train = Path(settings["root"]), training_classes(settings)
    _check_several(settings, train)
    if isinstance(settings["names"], dict):
        known = set(map(composed, train))
        for name in settings["names"]:
            if composed(name) not in known:
                raise UserError(
                    f"data.folders.names has {name!r}, expected class folders of "
                    f"{root / settings['train']['folder']}{near(name, train)}"
                )
    _check_imagenet(settings, train)
    _check_store(settings)
    if not settings["test"]["labels"]:
        folder = root / settings["test"]["folder"]
        test = layouts.classes_of(root, settings["test"])
        _check_same(train, test, root / settings["train"]["folder"], folder)
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
        if not in_folders(spec):
            found = layouts.listing(root, spec, train)
            have = set(found.labels.tolist())
            none = [name for i, name in enumerate(found.names) if i not in have]
            if none:
                raise UserError(_unlabelled(settings, spec, found, none[0]))
            continue
        for folder, _ in mapping:
            if next(walk(root / spec["folder"], folder), None) is None:
                raise UserError(walking.no_image(root / spec["folder"] / folder))
    _check_apart(settings, train)
    _check_counts(settings, train, heldout)


def _check_store(settings: dict) -> None:
    if settings["train"]["layout"] == "parquet" and settings["training_images"] == "folder":
        raise UserError(
            "data.folders.training_images is 'folder', expected 'array' or 'packed' because the "
            "training images are in Parquet files"
        )


def _check_exist(settings: dict) -> None:
    """Report every missing folder in one error."""
    root = Path(settings["root"])
    folders = {name: s["folder"] for name, s in sources(settings).items() if "folder" in s}
    missing = {
        name: root / folder for name, folder in folders.items() if not (root / folder).is_dir()
    }
    if len(missing) > 1:  # `class_folders` reports a single one
        raise UserError(
            f"data.folders: there are no folders {', '.join(map(str, missing.values()))}, "
            f"expected the images of {', '.join(missing)}"
        )


def _check_several(settings: dict, train: list[str]) -> None:
    """Refuse a single class, which is often a folder too many above the classes."""
    spec, root = settings["train"], Path(settings["root"])
    if len(train) > 1:
        return
    if not in_folders(spec):
        where = root / (spec["labels"] or spec["folder"])
        raise UserError(f"{where}: every label is {train[0]!r}, expected at least two classes")
    folder = root / spec["folder"]
    below = sorted(
        e.name
        for e in walking.scan(folder / train[0])
        if not walking.is_odd(e.name) and walking.is_folder(e)
    )
    meant = ""
    if len(below) > 1:
        meant = (
            f"; its subfolders {_quoted(below)} look like classes, and then data.folders.train is "
            f"'{spec['folder']}/{train[0]}'"
        )
    raise UserError(
        f"{folder}: there is a single class, {train[0]!r}, expected at least two{meant}"
    )


def _check_same(train: list[str], test: list[str], train_folder: Path, test_folder: Path) -> None:
    """Report every difference between training and test classes in one error."""
    forms, others = set(map(composed, train)), set(map(composed, test))
    only_test = sorted(name for name in test if composed(name) not in forms)
    only_train = sorted(name for name in train if composed(name) not in others)
    sides = (("test", only_test), ("training", only_train))
    differences = [f"only the {side} folder has {_quoted(names)}" for side, names in sides if names]
    if not differences:
        return
    similar = [(name, closest(name, only_train)) for name in only_test[:SHOWN]]
    meant = [f"{other!r} by {name!r}" for name, other in similar if other]
    raise UserError(
        f"{test_folder}: {' and '.join(differences)}, expected the same classes as in "
        f"{train_folder}" + (f"; did the test folder mean {', '.join(meant)}?" if meant else "")
    )


def _quoted(names: Sequence[str]) -> str:
    rest = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([repr(name) for name in names[:SHOWN]] + rest)


def _check_spec(spec: dict, where: str) -> None:
    if (spec["layout"] == "objectnet") != bool(spec["mappings"]):
        raise UserError(
            f"{where} has layout {spec['layout']!r} and mappings {spec['mappings']!r}, expected "
            "mappings (the folder of ObjectNet's mapping files) with layout objectnet and no other"
        )
    if spec["labels"] and (spec["layout"] != "classes" or spec["mapping"]):
        raise UserError(
            f"{where} has labels {spec['labels']!r} and layout or mapping, expected labels alone"
        )
    own = ("classes", "parquet")
    if spec["split"] and spec["layout"] != "parquet":
        raise UserError(
            f"{where} has split {spec['split']!r} and layout {spec['layout']!r}, expected layout "
            "parquet with split"
        )
    if where.endswith(".train") and spec["layout"] not in own:
        raise UserError(
            f"{where} has layout {spec['layout']!r}, expected one subfolder per class, or a flat "
            "folder with labels"
        )
    if where.endswith(".test") and spec["layout"] not in own:
        raise UserError(f"{where}.layout is {spec['layout']!r}, expected one subfolder per class")


def _check_imagenet(settings: dict, train: Sequence[str]) -> None:
    """Check the prerequisites of ImageNet's class names and of ReaL labels."""
    known = set(imagenet.imagenet_classes())
    odd = [name for name in train if name not in known]
    keys = ["names"] if settings["names"] == "imagenet" else []
    keys += ["real"] if settings["real"] else []
    if keys and odd:
        raise UserError(
            f"data.folders.{keys[0]} is {settings[keys[0]]!r}, but training class {odd[0]!r} is "
            "none of ImageNet's 1,000 classes, expected folders named by WordNet id"
        )
    real = settings["real"]
    if real and not (Path(settings["root"]) / real).is_file():
        raise UserError(f"{Path(settings['root']) / real}: no such file, expected ReaL's labels")


def _check_mapping(spec: dict, mapping, train: Sequence[str], root: Path, where: str) -> None:
    here = {composed(name) for name, _ in mapping}
    for name in spec["mapping"] or {}:
        if composed(name) not in here:
            raise UserError(
                f"{where}.mapping has {name!r}, expected class folders of "
                f"{root / spec['folder']}{near(name, here)}"
            )
    members = [member for _, members in mapping for member in members]
    twice = next((train[m] for m in members if members.count(m) > 1), None)
    if twice and spec["layout"] != "objectnet":
        raise UserError(
            f"{where}: two classes stand for training class {twice!r}, expected at most one"
        )


def _check_apart(settings: dict, train: Sequence[str]) -> None:
    """Check that no two sets share images. Flat folders may be shared by files of labels."""
    root = Path(settings["root"])
    sets = {name: spec for name, spec in sources(settings).items() if "folder" in spec}
    for one, other in itertools.permutations(sets.values(), 2):
        inner, outer = (root / one["folder"]).resolve(), (root / other["folder"]).resolve()
        if outer != inner and outer not in inner.parents:
            continue
        if one["labels"] and other["labels"] and outer == inner:
            found = [layouts.listing(root, spec, train).paths for spec in (one, other)]
            if both := sorted(set(found[0]).intersection(found[1])):
                raise UserError(
                    f"data.folders: the files of labels {one['labels']!r} and {other['labels']!r} "
                    f"share {len(both)} images such as {both[0]!r}, expected separate images for "
                    "each set"
                )
            continue
        if one["layout"] == other["layout"] == "parquet":
            each = [set(parquet.files(root / s["folder"], s["split"])) for s in (one, other)]
            if not each[0] & each[1]:
                continue
        raise UserError(
            f"data.folders: the folders {one['folder']!r} and {other['folder']!r} share images, "
            "expected a separate folder for each set"
        )


COUNTED = 20_000  # images that are counted at most for this, which takes a fraction of a second


def _check_counts(settings: dict, names: list[str], heldout: dict) -> None:
    """Check that the training images can be split.

    The check counts only the images per class that decide it, because training sets are large.
    """
    folder = Path(settings["root"]) / settings["train"]["folder"]
    share, fraction = settings["pretrain_fraction"], heldout["fraction"]
    if fraction == 1 and not share and not heldout["per_class"] and not heldout["indices"]:
        return  # all images are held out
    # A class with this many images can always be split, however the share is rounded.
    smallest = min(fraction * (1 - share), (1 - fraction) * (1 - share), share or 1)
    enough = math.ceil(max(2 / smallest, ((heldout["per_class"] or 0) + 2) / (1 - share)))
    # How a share is rounded in one class depends on all counts, so small sets are counted exactly.
    enough = max(enough, COUNTED // len(names))
    if not in_folders(settings["train"]):
        labels = layouts.listing(settings["root"], settings["train"], names).labels
    else:
        counts = [sum(1 for _ in itertools.islice(walk(folder, name), enough)) for name in names]
        labels = np.repeat(np.arange(len(names)), counts)
    rest, taken = training_share(labels, share, settings["seed"], names)
    if not heldout["indices"]:
        pretrain = np.bincount(labels[taken], minlength=len(names))
        heldout_split(
            labels[rest],
            fraction,
            settings["seed"],
            names,
            per_class=heldout["per_class"],
            pretrain=pretrain,
        )
    elif not Path(heldout["indices"]).is_file():
        raise UserError(
            f"data.heldout.indices is {heldout['indices']!r}: no such file, expected an array "
            "that marks the held-out images with 1"
        )


def training_share(
    labels: np.ndarray, fraction: float, seed: int, names: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Divide the training folder into rows for fine-tuning and rows for pre-training.

    Args:
        labels: shape (n,).
        fraction: share of the images for pre-training; 0 takes none.
        seed: seed of the random choice.
        names: class names, for messages.

    Returns:
        rows for fine-tuning and rows for pre-training, both sorted and disjoint.

    Raises:
        UserError: if a class would have no image on one side.
    """
    if not fraction:
        return np.arange(len(labels)), np.arange(0)
    return heldout_split(labels, fraction, seed, names, key="data.folders.pretrain_fraction")
