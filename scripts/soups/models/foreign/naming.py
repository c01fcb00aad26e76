"""Names that a checkpoint gives: its architecture and its classes."""

from collections.abc import Mapping
from pathlib import Path

from soups.errors import LeftOut
from soups.models.foreign.inert import StandIn

ARCHITECTURES = ("arch", "architecture", "model_name", "model", "model_type")
SETTINGS = ("args", "hyper_parameters", "hparams", "config", "cfg", "meta", "opt")
CLASSES = (
    "class_names", "classes", "label_names", "labels", "class_to_idx", "idx_to_class", "id2label",
    "label2id", "CLASSES", "categories",
)  # fmt: skip


def values(content: object) -> dict:
    """The entries of a dictionary, or the attributes of an inert object; empty for others."""
    if isinstance(content, StandIn):
        return content.values
    return dict(dict.items(content)) if isinstance(content, Mapping) else {}


def architecture(content: Mapping, config: dict | None, note: dict) -> str | None:
    """The name of the architecture in a training file, a config.json or this workflow's header."""
    card = values(note.get("model"))
    found = [card.get("architecture"), note.get("architecture"), values(config).get("architecture")]
    listed = values(config).get("architectures")
    found += listed[:1] if isinstance(listed, list) else []
    found += [values(config).get("model_type")]
    inside = values(content)
    places = [inside, *(values(inside.get(key)) for key in SETTINGS)]
    found += [place.get(key) for place in places for key in ARCHITECTURES]
    return next((name for name in found if isinstance(name, str) and name), None)


def classes(path: Path, content: Mapping, config: dict | None, note: dict) -> list[str] | None:
    """Class names in the order of the head's rows; None if the checkpoint names none.

    Raises:
        LeftOut: with the verdict "other classes", if the numbers of the classes have gaps.
    """
    config, inside = values(config), values(content)
    places = [values(note.get("model")), config, values(config.get("pretrained_cfg")), inside]
    places += [values(inside.get(key)) for key in SETTINGS]
    for place in places:
        for key in CLASSES:
            names = listed(place.get(key), f"{path}: {key!r}")
            if names:
                return names
    return None


def listed(given: object, where: str) -> list[str] | None:
    """A list of class names from a list, {index: name} or {name: index}; None if it is neither.

    Args:
        given: what a file holds.
        where: the file and the key, for messages.

    Raises:
        LeftOut: with the verdict "other classes", if the indices have gaps.
    """
    if isinstance(given, list | tuple):
        return list(given) if given and all(isinstance(name, str) for name in given) else None
    by = values(given)
    if not by:
        return None
    if all(_index(value) is not None for value in by.values()) and not all(
        _index(key) is not None and isinstance(value, str) for key, value in by.items()
    ):
        by = {value: key for key, value in by.items()}
    if not all(_index(key) is not None and isinstance(name, str) for key, name in by.items()):
        return None
    numbered = {_index(key): name for key, name in by.items()}
    if sorted(numbered) != list(range(len(by))):
        raise LeftOut(
            "other classes",
            f"{where} numbers {len(by)} classes from {min(numbered)} to {max(numbered)}, expected "
            f"0 to {len(by) - 1} without gaps",
        )
    names = [numbered[i] for i in range(len(by))]
    # transformers gives such names to the classes of a model that was made without names.
    return None if names == [f"LABEL_{i}" for i in range(len(by))] else names


def _index(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and value.isascii() else None
