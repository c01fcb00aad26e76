"""Check the image folders of the configuration before a run, without opening an image."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soups.data import domains, imagenet, layouts, parquet, walking
from soups.data.corruptions import CORRUPTIONS
from soups.data.folders import (
    in_folders,
    settings_of,
    sources,
    training_classes,
    training_share,
    unlabelled,
)
from soups.data.label_files import composed
from soups.data.layouts import mapping_of
from soups.data.splits import check_drawn, heldout_split
from soups.data.walking import walk
from soups.errors import UserError, closest, near

SHOWN = 20  # class names that one message lists at most
COUNTED = 20_000  # training images that are counted at most, in a fraction of a second


def check_folders(data: dict, heldout: dict, drawn: int = 0) -> None:
    """Check folders and classes without opening an image.

    Args:
        data: the config section ``data.folders``.
        heldout: the config section ``data.heldout``.
        drawn: see `splits.check_drawn`.

    Raises:
        UserError: if a folder or file is missing, or if a setting does not fit the folders.
    """
    settings = settings_of(data)
    _check_exist(settings)
    root, train = Path(settings["root"]), training_classes(settings)
    _check_several(settings, train)
    _check_names(settings, train)
    _check_imagenet(settings, train)
    _check_store(settings)
    if not settings["test"]["labels"]:
        folder = root / settings["test"]["folder"]
        test = layouts.classes_of(root, settings["test"])
        _check_same(train, test, root / settings["train"]["folder"], folder)
    for name in sources(settings):
        _check_set(settings, train, name)
    _check_apart(settings, train)
    _check_counts(settings, train, heldout, drawn)


def _check_names(settings: dict, train: Sequence[str]) -> None:
    """Check that the names for prompts are those of class folders."""
    if not isinstance(settings["names"], dict):
        return
    known = set(map(composed, train))
    for name in settings["names"]:
        if composed(name) not in known:
            raise UserError(
                f"data.folders.names has {name!r}, expected class folders of "
                f"{Path(settings['root']) / settings['train']['folder']}{near(name, train)}"
            )


def _check_set(settings: dict, train: Sequence[str], name: str) -> None:
    """Check the settings and the classes of one set, of which each must have an image."""
    spec, root = sources(settings)[name], Path(settings["root"])
    where = f"data.folders.{name}" if name in ("train", "test") else f"data.folders.shifts.{name}"
    if "corruption" in spec:
        if spec["corruption"] not in CORRUPTIONS:
            raise UserError(
                f"{where}.corruption is {spec['corruption']!r}, "
                f"expected one of {', '.join(CORRUPTIONS)}"
            )
        return
    _check_spec(spec, where)
    mapping, _ = mapping_of(root, spec, train)
    _check_mapping(spec, mapping, train, root, where)
    if spec["layout"] == domains.LAYOUT:
        for domain in spec["domains"]:
            _check_filled(root / domain, train)
    if not in_folders(spec):
        found = layouts.listing(root, spec, train)
        have = set(found.labels.tolist())
        none = [name for i, name in enumerate(found.names) if i not in have]
        if none:
            raise UserError(unlabelled(settings, spec, found, none[0]))
        return
    _check_filled(root / spec["folder"], [folder for folder, _ in mapping])


def _check_filled(folder: Path, classes: Sequence[str]) -> None:
    """Check that each class folder within a folder has an image."""
    for name in classes:
        if next(walk(folder, name), None) is None:
            raise UserError(walking.no_image(folder / name))


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
    own = ("classes", "parquet", domains.LAYOUT)
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
        if one["layout"] == domains.LAYOUT:
            continue  # the parts of the training domains are disjoint
        if other["layout"] == domains.LAYOUT:
            inner = (root / one["folder"]).resolve()
            of = [d for d in other["domains"] if (root / d).resolve() in (inner, *inner.parents)]
            if of:
                raise UserError(
                    f"data.folders: the shift in {one['folder']!r} has the images of the training "
                    f"domain {of[0]!r}, expected a folder that is no training domain"
                )
            continue
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


def _check_counts(settings: dict, names: list[str], heldout: dict, drawn: int = 0) -> None:
    """Check that the training images can be split.

    The check counts only the images per class that decide it, because training sets are large.
    """
    folder = Path(settings["root"]) / settings["train"]["folder"]
    share, fraction = settings["pretrain_fraction"], heldout["fraction"]
    if fraction == 1 and not (share or heldout["per_class"] or heldout["indices"] or drawn):
        return  # all images are held out
    # A class with this many images can always be split, however the share is rounded.
    shares = (fraction * (1 - share), (1 - fraction) * (1 - share), share)
    smallest = min(each for each in shares if each > 0)
    least = [2 / smallest, ((heldout["per_class"] or 0) + 2) / (1 - share)]
    least.append((drawn + 1) / fraction / (1 - share))
    enough = math.ceil(max(least))
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
        _, held = heldout_split(
            labels[rest],
            fraction,
            settings["seed"],
            names,
            per_class=heldout["per_class"],
            pretrain=pretrain,
        )
        check_drawn(labels[rest][held], names, drawn)
    elif not Path(heldout["indices"]).is_file():
        raise UserError(
            f"data.heldout.indices is {heldout['indices']!r}: no such file, expected an array "
            "that marks the held-out images with 1"
        )
