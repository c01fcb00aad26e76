"""Checks of the sections ``data`` and ``model`` for texts, before any job reads a whole file."""

import json
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path

from soups.data import set_names
from soups.errors import UserError, near
from soups.models.architectures import TRANSFORMERS
from soups.text import formats, hub
from soups.text.perturbations import PERTURBATIONS
from soups.text.settings import columns_of, sets, settings_of
from soups.text.source import files_of, names_of


def check(config: dict) -> list[str]:
    """Check both sections, and return the names of the classes.

    Raises:
        UserError: one sentence with the key, its value and what was expected.
    """
    if not config["data"]["text"]:
        raise UserError(
            "data.source is 'text' but data.text is empty, expected settings as in "
            "experiments/glue.yaml"
        )
    settings = settings_of(config["data"])
    set_names.check("data.text.shifts", settings["shifts"], config["finetune"])
    for name, spec in sets(settings).items():
        _check_set(_key(name), spec)
    _check_limit(settings)
    _check_exist(settings)
    _check_apart(settings)
    _check_columns(settings)
    _check_heldout(config["data"]["heldout"])
    check_model(config)
    names = names_of(settings)
    if len(names) < 2:
        raise UserError(f"data.text.classes has only {names[0]!r}, expected at least two classes")
    return names


def check_model(config: Mapping) -> None:
    """Check that the model is one of transformers, and that no setting is for images alone."""
    model = config["model"]
    named, weights = model["architecture"], model["pretrained"]
    if not isinstance(named, str) or not named.startswith(TRANSFORMERS) or named == TRANSFORMERS:
        shown = repr(named) if isinstance(named, str) else "an architecture of images"
        raise UserError(
            f"model.architecture is {shown}, expected {TRANSFORMERS} and a folder or a name of "
            "Hugging Face's hub because data.source is 'text'"
        )
    if weights == "train" or (weights or "").startswith("results/recorded/pretrained/"):
        raise UserError(
            f"model.pretrained is {weights!r}, expected the folder or the name of a pre-trained "
            "model of transformers because data.source is 'text'"
        )
    fixed = {
        "model.mean": (model["mean"], [None], "null"),
        "model.std": (model["std"], [None], "null"),
        "model.recalibrate_batch_norm": (model["recalibrate_batch_norm"], [0], "0"),
        "compute.channels_last": (
            config["compute"]["channels_last"],
            ["auto", False],
            "auto or false",
        ),
    }
    for key, (value, allowed, told) in fixed.items():
        if value not in allowed:
            raise UserError(
                f"{key} is {json.dumps(value)}, expected {told} because data.source is 'text'"
            )
    if tasks := [task for task, members in config["tasks"].items() if members]:
        raise UserError(
            f"tasks has {tasks[0]!r}, expected no task because models of texts have no zero-shot "
            "head"
        )


def _key(name: str) -> str:
    return f"data.text.{name}" if name in ("train", "test") else f"data.text.shifts.{name}"


def _check_set(key: str, spec: Mapping) -> None:
    kinds = [kind for kind in ("files", "hub", "perturbation") if kind in spec]
    if len(kinds) != 1:
        raise UserError(
            f"{key} has {' and '.join(kinds) or 'no origin'}, expected one of files, hub, or "
            "perturbation and severity"
        )
    if kinds == ["perturbation"]:
        if others := sorted(spec.keys() - {"perturbation", "severity"}):
            raise UserError(f"{key} has perturbation and {others[0]}, expected only one of them")
        if (kind := spec["perturbation"]) not in PERTURBATIONS:
            raise UserError(
                f"{key}.perturbation is {kind!r}, expected one of {', '.join(PERTURBATIONS)}"
                f"{near(kind, PERTURBATIONS)}"
            )
        return
    if others := [part for part in ("subset", "split") if part in spec and "hub" not in spec]:
        raise UserError(f"{key} has {others[0]} but no hub, expected both")
    for column, value in spec["columns"].items():
        if value is not None and isinstance(value, int) == _has_names(spec):
            wanted = "the name of a column" if _has_names(spec) else "a number from 1"
            why = "the columns have names" if _has_names(spec) else "there is no header"
            raise UserError(
                f"{key} has columns.{column} = {value!r}, expected {wanted} because {why}"
            )


def _has_names(spec: Mapping) -> bool:
    """Whether columns have names. Only tables can lack a header."""
    files = spec.get("files", [])
    if not files or not all(Path(f).suffix.lower() in formats.tables.ENDINGS for f in files):
        return True
    return spec["header"]


def _check_limit(settings: Mapping) -> None:
    read = [name for name, spec in sets(settings).items() if "perturbation" not in spec]
    for name in settings["limit"]:
        if name not in read:
            raise UserError(
                f"data.text.limit has {name!r}, expected one of {', '.join(read)}{near(name, read)}"
            )


def _check_exist(settings: Mapping) -> None:
    """Report every missing file in one error."""
    missing = {
        path: name
        for name, spec in sets(settings).items()
        for path in files_of(settings, spec)
        if not path.is_file()
    }
    if missing:
        count = "there are no files" if len(missing) > 1 else "there is no file"
        raise UserError(
            f"data.text: {count} {', '.join(map(str, missing))}, expected the texts of "
            f"{', '.join(dict.fromkeys(missing.values()))}"
        )


def _check_apart(settings: Mapping) -> None:
    """Check that no two sets have a file in common."""
    origins = {name: set(_origins(settings, spec)) for name, spec in sets(settings).items()}
    for one, other in combinations(origins, 2):
        if both := sorted(origins[one] & origins[other]):
            raise UserError(
                f"data.text: {one} and {other} both have {both[0]}, expected separate texts for "
                "each set"
            )


def _origins(settings: Mapping, spec: Mapping) -> Iterator[str]:
    yield from (str(path.resolve()) for path in files_of(settings, spec))
    if "hub" in spec:
        yield hub.name_of(spec)


def _check_columns(settings: Mapping) -> None:
    """Check the first line of every file, and that all sets have one text or all have two."""
    seconds = {
        name: spec["columns"]["second"]
        for name, spec in sets(settings).items()
        if "perturbation" not in spec
    }
    odd = [
        name for name, column in seconds.items() if (column is None) != (seconds["train"] is None)
    ]
    if odd:
        has = "one text" if seconds[odd[0]] is None else "two texts"
        raise UserError(
            f"{_key(odd[0])} has {has} per example, expected the same as in data.text.train, or "
            "another columns.second"
        )
    for spec in sets(settings).values():
        for path in files_of(settings, spec):
            formats.check(path, columns_of(spec), spec["quotes"], spec["header"])


def _check_heldout(heldout: Mapping) -> None:
    marks = heldout["indices"]
    if marks and heldout["per_class"]:
        raise UserError(
            f"data.heldout.indices is {marks!r} and data.heldout.per_class is "
            f"{heldout['per_class']}, expected only one of them"
        )
    if marks and not Path(marks).is_file():
        raise UserError(
            f"data.heldout.indices is {marks!r}: no such file, expected an array that marks the "
            "held-out texts with 1"
        )
