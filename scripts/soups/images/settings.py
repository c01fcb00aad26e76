"""Checks of the ``data`` section for drawn images and image folders, without opening an image."""

from collections.abc import Mapping

import numpy as np

from soups.data import checks, domains, folders, prompts, set_names
from soups.data.splits import check_drawn, heldout_split
from soups.errors import UserError
from soups.models import architectures
from soups.world.shapes import CLASSES


def check(config: dict) -> list[str]:
    """Check the sections ``data`` and ``model``, and return the names of the classes.

    Raises:
        UserError: one sentence with the key, its value and what was expected.
    """
    architectures.check(config)
    _check_drawn_model(config)
    names = _folders(config) if config["data"]["source"] == "folders" else _world(config)
    if config["model"]["pretrained"] == "train" and not _has_corpus(config["data"]):
        raise UserError(
            "model.pretrained is 'train' but data.folders.pretrain_fraction is 0, "
            "expected the share of the training images for pre-training"
        )
    return names


def shifts(data: Mapping) -> list[str]:
    """Names of the shifts in the order of the configuration, without those set to null."""
    if data["source"] == "world":
        return list(data["world"]["shifts"])
    given = domains.expanded(data["folders"])["shifts"]
    return [name for name, spec in given.items() if spec is not None]


def store(data: Mapping) -> str:
    """How training images are stored, see `data.prepared.train_paths`."""
    if data["source"] == "world":
        return "array"
    return folders.settings_of(data["folders"])["training_images"]


def _drawn(config: Mapping) -> int:
    """The largest held-out set of ``curves.heldout_size`` in images per class, or 0."""
    curve = config["curves"].get("heldout_size")
    return max(curve["per_class"]) if curve else 0


def _world(config: Mapping) -> list[str]:
    data = config["data"]
    labels = np.arange(data["world"]["train"]) % len(CLASSES)
    names = [shape.name for shape in CLASSES]
    heldout = data["heldout"]
    per_class = heldout["per_class"]
    _, held = heldout_split(labels, heldout["fraction"], 0, names, per_class=per_class)
    check_drawn(labels[held], names, _drawn(config))
    if heldout["indices"]:
        raise UserError(
            f"data.heldout.indices is {heldout['indices']!r}, expected null with data.source "
            "'world'"
        )
    return names


def _folders(config: dict) -> list[str]:
    given = config["data"]["folders"]
    if not given:
        raise UserError(
            "data.source is 'folders' but data.folders is empty, expected settings as in "
            "experiments/images.yaml"
        )
    shifts = domains.expanded(given)["shifts"]
    _check_shifts(shifts, config["finetune"])
    checks.check_folders(given, config["data"]["heldout"], _drawn(config))
    data = folders.settings_of(given)
    _check_store(config, data)
    names = folders.training_classes(data)
    return prompts.display_names(names, data["names"]) if any(config["tasks"].values()) else names


def _has_corpus(data: Mapping) -> bool:
    return data["source"] == "world" or bool(data["folders"].get("pretrain_fraction"))


def _check_shifts(shifts: dict, hyperparameters: Mapping) -> None:
    for name, spec in shifts.items():
        if spec is not None and ("folder" in spec) == ("corruption" in spec):
            raise UserError(
                f"data.folders.shifts.{name} is {spec}, expected either folder (and mapping) "
                "or corruption and severity"
            )
    set_names.check("data.folders.shifts", shifts, hyperparameters)


def _check_store(config: dict, data: dict) -> None:
    kept = data["training_images"]
    if kept != "array" and config["model"]["pretrained"] == "train":
        raise UserError(
            f"data.folders.training_images is {kept!r}, expected 'array' because "
            "model.pretrained is 'train'"
        )
    heldout = config["data"]["heldout"]
    for other, value in (
        ("data.folders.pretrain_fraction", data["pretrain_fraction"]),
        ("data.heldout.per_class", heldout["per_class"]),
    ):
        if heldout["indices"] and value:
            raise UserError(
                f"data.heldout.indices is {heldout['indices']!r} and {other} is {value}, expected "
                "only one of them"
            )
    if kept == "folder" and data["pretrain_fraction"]:
        raise UserError(
            f"data.folders.pretrain_fraction is {data['pretrain_fraction']}, expected 0 because "
            "data.folders.training_images is 'folder'"
        )
    shifts = domains.expanded(config["data"]["folders"])["shifts"]
    sets = ["train", "test", *shifts]  # with those set to null
    for name in data["expected"]:
        if name not in sets:
            raise UserError(
                f"data.folders.expected has {name!r}, expected one of the sets {', '.join(sets)}"
            )
    if data["names"] == prompts.IMAGENET and config["model"]["pretrained"] == "train":
        raise UserError(
            "data.folders.names is 'imagenet', expected the names of your classes or null because "
            "model.pretrained is 'train'"
        )


def _check_drawn_model(config: dict) -> None:
    """Refuse the miniature's pre-trained model for image folders, whose classes it cannot know."""
    given = config["model"]["pretrained"] or ""
    if config["data"]["source"] == "folders" and given.startswith("results/recorded/pretrained/"):
        raise UserError(
            f"model.pretrained is {given!r}, which knows the drawn classes only, expected 'train', "
            "a tag or a file that fits model.architecture, as in experiments/images.yaml"
        )
