"""Checks of the configuration before any job starts, and values that are derived from it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from soups.data import checks, folders, prompts
from soups.data.splits import heldout_split
from soups.errors import UserError, near
from soups.experiment import ready_made
from soups.experiment.registry import SECTIONS
from soups.experiment.schema import check, hint, read_yaml
from soups.experiment.sweep import parse
from soups.models import architectures
from soups.roles import INITIALIZATION, ZEROSHOT
from soups.world.shapes import CLASSES

# Folders of results/ that no experiment may have.
TAKEN = {
    "recorded": "the results that are kept with the project",
    "published": "the paper's released results",
}


def validate(config: dict, schema: str | Path, configfiles: Sequence[str | Path] = ()) -> list[str]:
    """Check the configuration as far as possible without opening an image.

    Text from ``--config 'sweep={random: {n: 20}}'`` that should be a number becomes a number.
    ``only`` in the sections ``soups`` and ``ensembles`` switches off all their other entries.

    Args:
        config: the merged configuration. It is changed in place.
        schema: file of the JSON schema, see `schema.check`.
        configfiles: the files that were merged.

    Returns:
        sentences about parts of the default configuration that are switched off by themselves.

    Raises:
        UserError: one sentence with the key, its value and what was expected.
    """
    _check_keys(config, "")
    ready_made.refuse_layout(config)
    only = {section: _take_only(config, section) for section in SECTIONS}
    # The check comes first, so that a misspelled entry is an error even if `only` leaves it out.
    check(config, schema)
    others = {name: _keep_only(config[name], names, name) for name, names in only.items()}
    _check_nulls(config, configfiles, others)
    if (top := config["name"].split("/")[0]) in TAKEN:
        raise UserError(
            f"name is {config['name']!r}, expected another name, because results/{top} holds "
            f"{TAKEN[top]}"
        )
    _check_shared(config)
    _check_sweep(config["sweep"])
    notes = []
    if config["ingredients"]["source"] == "checkpoints":
        given = ready_made.complete(config["ingredients"]["checkpoints"])
        config["ingredients"]["checkpoints"] = given
        ready_made.check(config)
        default = Path(schema).parents[2] / "config.yaml"
        notes = ready_made.adapt(config, ready_made.Asked(config, default, configfiles, only))
    architectures.check(config)
    _check_ingredients(config)
    _check_drawn_model(config)
    _check_pretrain(config["pretrain"])
    if config["data"]["source"] == "folders":
        if not config["data"]["folders"]:
            raise UserError(
                "data.source is 'folders' but data.folders is empty, expected settings as in "
                "experiments/images.yaml"
            )
        _check_shift_names(config["data"]["folders"]["shifts"], config["finetune"])
        checks.check_folders(config["data"]["folders"], config["data"]["heldout"])
        data = folders.settings_of(config["data"]["folders"])
        _check_store(config, data)
        names = folders.training_classes(data)
        if any(config["tasks"].values()):
            names = prompts.display_names(names, data["names"])
    else:
        world = np.arange(config["data"]["world"]["train"]) % len(CLASSES)
        names = [shape.name for shape in CLASSES]
        heldout = config["data"]["heldout"]
        heldout_split(world, heldout["fraction"], 0, names, per_class=heldout["per_class"])
        if heldout["indices"]:
            raise UserError(
                f"data.heldout.indices is {heldout['indices']!r}, expected null with data.source "
                "'world'"
            )
    _check_tasks(config["tasks"], names)
    if uses_corpus(config) and not _has_corpus(config):
        raise UserError(
            "model.pretrained is 'train' but data.folders.pretrain_fraction is 0, "
            "expected the share of the training images for pre-training"
        )
    return notes


def _check_keys(value, path: str) -> None:
    """Refuse keys that YAML reads as a number, a truth value or null, because names are text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise UserError(f"config has the key {path}{key!r}, expected text in quotes")
            _check_keys(inner, f"{path}{key}.")


def _take_only(config: dict, section: str) -> list[str] | None:
    """Remove ``only`` from a section, which then holds entries alone, and return its names."""
    entries = config.get(section)
    only = entries.pop("only", None) if isinstance(entries, dict) else None
    names = only is None or (isinstance(only, list) and all(isinstance(n, str) for n in only))
    if not names:
        raise UserError(f"{section}.only is {only!r}, expected a list of names from {section}")
    return only


def _keep_only(entries: dict, only: list[str] | None, section: str) -> list[str]:
    """Switch off all entries of a section, except for those that its ``only`` names.

    Returns:
        the entries that this switches off.
    """
    if only is None:
        return []
    known = [name for name, spec in entries.items() if spec is not None]
    for name in only:
        if name in entries and name not in known:
            raise UserError(
                f"{section}.only has {name!r}, which is switched off by null, expected one of "
                f"{', '.join(known)}"
            )
        if name not in known:
            raise UserError(f"{section}.only has {name!r}{hint(str(name), known)}")
    others = [name for name in known if name not in only]
    entries.update(dict.fromkeys(others))
    return others


# Sections whose entries an overlay may switch off with null.
_OPTIONAL = (
    ("soups",),
    ("ensembles",),
    ("data", "folders", "shifts"),
    ("sweep", "variants"),
    ("tasks",),
    ("curves", "slices"),
)


def _check_nulls(
    config: dict, configfiles: Iterable[str | Path], others: Mapping[str, Sequence[str]]
) -> None:
    """Refuse a name that is set to null, if no configuration file gives it a value.

    Otherwise a misspelled name would silently switch off nothing.

    Args:
        config, configfiles: see `validate`.
        others: section to the entries that its ``only`` switches off.

    Raises:
        UserError: with the name.
    """
    off = {
        path: [n for n, value in _at(config, path).items() if value is None] for path in _OPTIONAL
    }
    if not any(off.values()):
        return
    given = [read_yaml(path) for path in configfiles]
    for path, names in off.items():
        known = {n for part in given for n, value in _at(part, path).items() if value is not None}
        known |= {n for n, value in _at(config, path).items() if value is not None}
        key = ".".join(path)
        known |= set(others.get(key, []))
        for name in names if given else ():
            if name not in known:
                end = hint(name, sorted(known)) if known else ""
                raise UserError(
                    f"config key {key}.{name} is null, but {key} has no such entry to switch off"
                    f"{end}"
                )


def _at(config, path: Sequence[str]) -> dict:
    """The section at a path of keys, or an empty one."""
    for key in path:
        config = config.get(key) if isinstance(config, dict) else None
    return config if isinstance(config, dict) else {}


def shifts(config: dict) -> list[str]:
    """Names of the shifts in the order of the configuration, without those set to null."""
    data = config["data"]
    if data["source"] == "world":
        return list(data["world"]["shifts"])
    return [name for name, spec in data["folders"]["shifts"].items() if spec is not None]


def store(config: dict) -> str:
    """How training images are stored, see `data.images.train_paths`."""
    data = config["data"]
    if data["source"] == "world":
        return "array"
    return folders.settings_of(data["folders"])["training_images"]


def starts(config: dict) -> list[str]:
    """Names of the starting points that are evaluated like other models."""
    if config["ingredients"]["source"] == "checkpoints":
        given = ready_made.complete(config["ingredients"]["checkpoints"])
        return [INITIALIZATION] if given["initialization"] else []
    return ([ZEROSHOT] if architectures.has_text(config["model"]) else []) + [INITIALIZATION]


def uses_corpus(config: dict) -> bool:
    """Whether this experiment pre-trains its model."""
    return config["model"]["pretrained"] == "train"


def _has_corpus(config: dict) -> bool:
    data = config["data"]
    return data["source"] == "world" or bool(data["folders"].get("pretrain_fraction"))


def sections(config: dict) -> dict:
    """The sections that decide the data, the splits, the pre-trained model and the starts."""
    return {key: config[key] for key in ("data", "model", "pretrain", "probe")}


def _check_shared(config: dict) -> None:
    """Check that the shared experiment has the same data and starts as this one.

    Raises:
        UserError: if it does not exist, or if a setting differs.
    """
    if config["shared"] is None:
        return
    made = Path("results") / config["shared"] / "settings.json"
    if not made.is_file():
        raise UserError(
            f"shared is {config['shared']!r} but there is no {made}, expected the name of an "
            "experiment that was run before"
        )
    theirs = json.loads(made.read_text(encoding="utf-8"))
    for section, ours in sections(config).items():
        key = next(
            (k for k in ours | theirs[section] if ours.get(k) != theirs[section].get(k)), None
        )
        if key:
            raise UserError(
                f"{section}.{key} differs from that of the shared experiment "
                f"{config['shared']!r}, expected the same value, or shared: null"
            )


# Names that no shift may have: other sets, and columns of tables that have a column per shift. A
# test compares them with the recorded tables.
RESERVED_COLUMNS = {
    "train", "test", "corpus", "heldout", "model", "method", "members", "ingredients",
    "inference_cost", "shifts_mean", "kind", "variant", "alpha", "n", "start", "model_1",
    "model_2", "lr_1", "lr_2", "angle", "distance_1", "distance_2", "differ", "order", "large",
    "slice", "tasks", "of", "models", "beta", "variance", "soup_loss", "curvature",
    "curvature_wide",
}  # fmt: skip
RESERVED_BEGINNINGS = ("n_", "ensemble_", "test_", "shifts_mean_", "gap")
RESERVED_ENDINGS = ("_lo", "_hi", "_sd", "_top")


def _check_shift_names(shifts: dict, hyperparameters: Iterable[str]) -> None:
    taken = RESERVED_COLUMNS | set(hyperparameters)
    for name, spec in shifts.items():
        if spec is not None and ("folder" in spec) == ("corruption" in spec):
            raise UserError(
                f"data.folders.shifts.{name} is {spec}, expected either folder (and mapping) "
                "or corruption and severity"
            )
        ends = name.startswith(RESERVED_BEGINNINGS) or name.endswith(RESERVED_ENDINGS)
        if name in taken or ends:
            raise UserError(
                f"data.folders.shifts has the name {name!r}, expected another one because a set or "
                "a column of the tables has this name"
            )
    if not any(shifts.values()):
        raise UserError("data.folders.shifts has only null entries, expected at least one shift")


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
    sets = ["train", "test", *config["data"]["folders"]["shifts"]]  # with those set to null
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


def _check_ingredients(config: dict) -> None:
    """Check settings that depend on whether models are fine-tuned here."""
    if config["ingredients"]["source"] == "checkpoints":
        return
    if config["model"]["pretrained"] is None:
        raise UserError(
            "model.pretrained is null, expected pre-trained weights because "
            "ingredients.source is 'train'"
        )
    if config["sweep"]["kind"] == "files":
        raise UserError(
            "sweep.kind is 'files' but ingredients.source is 'train', expected 'checkpoints'"
        )
    heldout = config["data"]["heldout"]
    if heldout["fraction"] == 1 and not heldout["per_class"] and not heldout["indices"]:
        raise UserError(
            "data.heldout.fraction is 1, expected less than 1 because ingredients.source is 'train'"
        )


def _check_sweep(sweep: dict) -> None:
    kind = sweep["kind"]
    if kind != "files" and not sweep[kind]:
        raise UserError(f"sweep.kind is {kind!r} but sweep.{kind} is empty")
    for name, spec in sweep["random"]["parameters"].items():
        if isinstance(spec, str) and spec != "null":
            parse(name, spec)


def _check_pretrain(pretrain: dict) -> None:
    epochs, horizon, cooldown = (pretrain[key] for key in ("epochs", "horizon", "cooldown"))
    if not cooldown <= epochs <= horizon:
        raise UserError(
            f"pretrain has cooldown {cooldown}, epochs {epochs} and horizon {horizon}, "
            "expected cooldown <= epochs <= horizon"
        )
    if pretrain["warmup"] * horizon > epochs - cooldown:
        raise UserError(
            f"pretrain.warmup is {pretrain['warmup']} of {horizon} epochs, expected the warmup to "
            f"end before the cooldown begins after {epochs - cooldown} epochs"
        )


def _check_tasks(tasks: dict, classes: Sequence[str]) -> None:
    for task, members in tasks.items():
        for name in members or []:
            if name not in classes:
                raise UserError(
                    f"tasks.{task} has {name!r}, expected the name of a class{near(name, classes)}"
                )
    if "all" in tasks:
        raise UserError(
            "tasks has the name 'all', expected another one because the task of all classes has "
            "this name"
        )
