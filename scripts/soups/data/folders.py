"""The image folders of the configuration: fill in their settings and list their images.

`soups.data.checks` checks them before a run.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from soups.data import domains, imagenet, labelled, layouts, parquet, walking
from soups.data.layouts import Listing, class_folders, complete
from soups.data.splits import heldout_split
from soups.errors import UserError
from soups.files import fingerprint, stamp

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
SIDES = ("train", "test")
# Keys of `data.folders` about other sets than the one that a job reads, see `only`.
OF_OTHERS = ("domains", "expected", "real", "test", "shifts")


def settings_of(data: dict) -> dict:
    """Fill in the optional keys of ``data.folders`` and of each set in it."""
    data = domains.expanded(data)
    shifts = {
        name: _with_split(name, complete(spec)) if "folder" in spec else spec
        for name, spec in data["shifts"].items()
        if spec
    }
    sets = {name: _with_split(name, complete(data[name])) for name in SIDES}
    return DEFAULTS | data | sets | {"shifts": shifts}


def _with_split(name: str, spec: dict) -> dict:
    return spec | {"split": name} if spec["layout"] == "parquet" and not spec["split"] else spec


def in_folders(spec: dict) -> bool:
    """Return whether each class of a set has a folder of its own."""
    return not spec.get("labels") and spec.get("layout") not in ("parquet", domains.LAYOUT)


def sources(settings: dict) -> dict[str, dict]:
    """Return set name to the origin of its images: a folder, or a corruption of the test set."""
    return {name: settings[name] for name in SIDES if name in settings} | settings["shifts"]


def only(settings: dict, name: str) -> dict:
    """Return the settings that decide how one set is checked and prepared.

    They lack all other sets but the training set, whose classes every set needs. Therefore a new or
    changed shift makes no other set again, and no model.

    Args:
        settings: see `settings_of`.
        name: name of the set.
    """
    kept = {key: value for key, value in settings.items() if key not in OF_OTHERS}
    if name == "train":
        return kept | {"shifts": {}}
    if name == "test":
        return kept | {"test": settings["test"], "shifts": {}}
    return kept | {"shifts": {name: settings["shifts"][name]}}


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
    if spec["layout"] == domains.LAYOUT:
        each = {d: walking.state(folder / d, class_folders(folder / d)) for d in spec["domains"]}
        return fingerprint([each, spec["part"]])
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
            raise UserError(unlabelled(settings, spec, found, name))
        raise UserError(walking.no_image(Path(settings["root"]) / spec["folder"] / name))
    return found


def unlabelled(settings: dict, spec: dict, found: Listing, name: str) -> str:
    """Return the sentence about a class of which a file of labels has no image.

    Args:
        settings: see `settings_of`.
        spec: the set's entry in the settings.
        found: the images of the set.
        name: the class.
    """
    root = Path(settings["root"])
    where = root / (spec["labels"] or spec["folder"])
    return (
        f"{where}: none of the {len(found.paths)} labelled images in "
        f"{root / spec['folder']} has class {name!r}, expected at least one image per class"
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
