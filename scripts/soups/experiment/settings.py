"""The configuration: checked against the schema and against itself before any job starts."""

import contextlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from soups.data import folders, prompts
from soups.data.splits import heldout_split
from soups.errors import UserError, near
from soups.experiment.sweep import parse
from soups.models import architectures
from soups.world.shapes import CLASSES


def _is_finite(value) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


# In JSON 12.0 is an integer, but range() does not think so; and YAML has .nan.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: _is_finite(value),
        }
    ),
)


def validate(config: dict, schema: str | Path) -> None:
    """Check everything that can be checked without opening an image.

    Numbers that came as text from ``--config 'sweep={random: {n: 20}}'`` become numbers.

    Raises:
        UserError: one sentence with the key, its value and what was expected.
    """
    _check_keys(config, "")
    rules = yaml.safe_load(Path(schema).read_text(encoding="utf-8"))
    validator = _Validator(rules)
    for error in list(validator.iter_errors(config)):
        _parse_text(config, error)
    error = best_match(validator.iter_errors(config))
    if error:
        raise UserError(_sentence(error))
    if config["name"].split("/")[0] == "recorded":
        raise UserError("name is 'recorded', which is where this project keeps its own results")
    _check_shared(config)
    _check_sweep(config["sweep"])
    architectures.check(config)
    _check_ingredients(config)
    _check_pretrain(config["pretrain"])
    if config["data"]["source"] == "folders":
        if not config["data"]["folders"]:
            raise UserError(
                "data.source is 'folders' but data.folders is empty; see experiments/images.yaml"
            )
        _check_shift_names(config["data"]["folders"]["shifts"], config["finetune"])
        folders.check(config["data"]["folders"], config["data"]["heldout"])
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
                f"data.heldout.indices is {heldout['indices']!r}, expected null where images are "
                "drawn, not read from folders"
            )
    _check_tasks(config["tasks"], names)
    if uses_corpus(config) and not _has_corpus(config):
        raise UserError(
            "model.pretrained is 'train' but data.folders.pretrain_fraction is 0, "
            "expected the share of the training images to pre-train on"
        )


def _check_keys(value, path: str) -> None:
    """Names that YAML reads as a number, true or null would only confuse what follows."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise UserError(f"config has the key {path}{key!r}, expected text; quote it")
            _check_keys(inner, f"{path}{key}.")


def shifts(config: dict) -> list[str]:
    """Names of the shifts, in the order of the configuration; one set to null is left out."""
    data = config["data"]
    if data["source"] == "world":
        return list(data["world"]["shifts"])
    return [name for name, spec in data["folders"]["shifts"].items() if spec is not None]


def store(config: dict) -> str:
    """How training images are kept, see `images.train_paths`."""
    data = config["data"]
    if data["source"] == "world":
        return "array"
    return folders.settings_of(data["folders"])["training_images"]


def starts(config: dict) -> list[str]:
    """Starting points that are evaluated themselves."""
    if config["ingredients"]["source"] == "checkpoints":
        return ["initialization"] if config["ingredients"]["checkpoints"]["initialization"] else []
    return (["zeroshot"] if architectures.has_text(config["model"]) else []) + ["initialization"]


def uses_corpus(config: dict) -> bool:
    """Is the model pre-trained here?"""
    return config["model"]["pretrained"] == "train"


def _has_corpus(config: dict) -> bool:
    data = config["data"]
    return data["source"] == "world" or bool(data["folders"].get("pretrain_fraction"))


def sections(config: dict) -> dict:
    """What decides the data, the splits, the pre-trained model and the initialisation."""
    return {key: config[key] for key in ("data", "model", "pretrain", "probe")}


def _check_shared(config: dict) -> None:
    """An experiment that others share must be the one they would make themselves."""
    if config["shared"] is None:
        return
    made = Path("results") / config["shared"] / "settings.json"
    if not made.is_file():
        raise UserError(
            f"shared is {config['shared']!r}: no {made}, expected the name of an experiment that "
            "was run before"
        )
    theirs = json.loads(made.read_text(encoding="utf-8"))
    for section, ours in sections(config).items():
        key = next(
            (k for k in ours | theirs[section] if ours.get(k) != theirs[section].get(k)), None
        )
        if key:
            raise UserError(
                f"{section}.{key} differs from that of shared experiment {config['shared']!r}; "
                "leave it as it is there, or set shared to null"
            )


def _check_shift_names(shifts: dict, hyperparameters: Iterable[str]) -> None:
    # What other sets and the columns of the tables are called.
    taken = {"train", "test", "corpus", "heldout", "model", "method", "members", "ingredients"}
    taken |= {"inference_cost", "shifts_mean", "kind", "variant", "alpha", "n", "start"}
    taken |= {"model_1", "model_2", "lr_1", "lr_2", "angle", "distance_1", "distance_2", "differ"}
    taken |= {"order", "large", "slice", "tasks", "of", "models", "beta", "variance", "soup_loss"}
    taken |= {"curvature", "curvature_wide"}
    taken |= set(hyperparameters)
    for name, spec in shifts.items():
        if spec is not None and ("folder" in spec) == ("corruption" in spec):
            raise UserError(
                f"data.folders.shifts.{name} is {spec}, expected either folder (and mapping) "
                "or corruption and severity"
            )
        if name in taken or name.endswith(("_lo", "_hi", "_sd", "_top")):
            raise UserError(f"data.folders.shifts: {name!r} is taken, expected another name")
        if name.startswith(("n_", "ensemble_", "test_", "shifts_mean_", "gap")):
            raise UserError(f"data.folders.shifts: {name!r} is taken, expected another name")
    if not any(shifts.values()):
        raise UserError("data.folders.shifts has no shift that is not null, expected at least one")


def _check_store(config: dict, data: dict) -> None:
    kept = data["training_images"]
    if kept != "array" and config["model"]["pretrained"] == "train":
        raise UserError(
            f"data.folders.training_images is {kept!r} and model.pretrained is 'train', expected "
            "'array' for a model that is pre-trained here"
        )
    heldout = config["data"]["heldout"]
    for other, value in (
        ("data.folders.pretrain_fraction", data["pretrain_fraction"]),
        ("data.heldout.per_class", heldout["per_class"]),
    ):
        if heldout["indices"] and value:
            raise UserError(
                f"data.heldout.indices is {heldout['indices']!r} and {other} is {value}, expected "
                "one of them to be null"
            )
    if kept == "folder" and data["pretrain_fraction"]:
        raise UserError("data.folders.pretrain_fraction wants training_images: array")
    sets = ["train", "test", *config["data"]["folders"]["shifts"]]  # also switched off
    for name in data["expected"]:
        if name not in sets:
            raise UserError(
                f"data.folders.expected has {name!r}, expected names of sets: {', '.join(sets)}"
            )
    if data["names"] == prompts.IMAGENET and config["model"]["pretrained"] == "train":
        raise UserError("data.folders.names is 'imagenet', which a model trained here has not read")


def _check_ingredients(config: dict) -> None:
    given, pretrained = config["ingredients"], config["model"]["pretrained"]
    if given["source"] == "train":
        if pretrained is None:
            raise UserError(
                "model.pretrained is null, expected pre-trained weights for ingredients that are "
                "fine-tuned here"
            )
        return
    if not given["checkpoints"]:
        raise UserError(
            "ingredients.source is 'checkpoints' but ingredients.checkpoints is empty; see "
            "experiments/released.yaml"
        )
    if any(config["sweep"]["variants"].values()):
        variant = next(name for name, spec in config["sweep"]["variants"].items() if spec)
        raise UserError(
            f"sweep.variants.{variant}: nothing is trained from ready-made checkpoints, expected "
            "null"
        )


def _check_sweep(sweep: dict) -> None:
    kind = sweep["kind"]
    if not sweep[kind]:
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
            f"pretrain.warmup is {pretrain['warmup']} of {horizon} epochs, expected it to be over "
            f"before the cooldown begins after {epochs - cooldown}"
        )


def _check_tasks(tasks: dict, classes: Sequence[str]) -> None:
    for task, members in tasks.items():
        for name in members or []:
            if name not in classes:
                raise UserError(
                    f"tasks.{task} has {name!r}, expected names of classes{near(name, classes)}"
                )
    if "all" in tasks:
        raise UserError("tasks.all: the task of all classes is called so, expected another name")


def _parse_text(config: dict, error: ValidationError) -> None:
    """Snakemake hands nested ``--config`` values over as text; read those that should not be."""
    if error.validator != "type" or not isinstance(error.instance, str):
        return
    *parents, last = error.absolute_path
    for key in parents:
        config = config[key]
    for read in (int, float, {"null": None, "true": True, "false": False}.__getitem__):
        with contextlib.suppress(ValueError, KeyError):
            config[last] = read(error.instance)
            return


def _sentence(error: ValidationError) -> str:
    key = ".".join(str(part) for part in error.absolute_path)
    where = f"config key {key}" if key else "config"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        name = next(name for name in error.instance if name not in known)
        full = f"{key}.{name}" if key else name
        return f"config key {full} is unknown{_hint(name, known)}"
    if "propertyNames" in error.absolute_schema_path:
        known = error.validator_value if error.validator == "enum" else []
        hint = _hint(error.instance, known) if known else ", expected letters, digits, _ and -"
        if any(c in error.instance for c in "()"):
            hint = ", perhaps a distribution that wants quotes: lr: 'uniform(0, 1)'"
        return f"{where}.{error.instance} is unknown{hint}"
    if error.validator == "required":
        return f"{where}: {error.message}"
    value = repr(error.instance)
    value = value if len(value) < 120 else value[:117] + "..."
    return f"{where} is {value}, expected {_expected(error)}"


def _expected(error: ValidationError) -> str:
    rule, value = error.validator, error.validator_value
    words = {
        "type": lambda: " or ".join(value if isinstance(value, list) else [value]),
        "enum": lambda: "one of " + ", ".join(map(str, value)),
        "minimum": lambda: f"at least {value}",
        "maximum": lambda: f"at most {value}",
        "exclusiveMinimum": lambda: f"more than {value}",
        "exclusiveMaximum": lambda: f"less than {value}",
        "multipleOf": lambda: f"a multiple of {value}",
        "minItems": lambda: f"at least {value} entries",
        "minProperties": lambda: f"at least {value} entries",
        "uniqueItems": lambda: "no entry twice",
        "const": lambda: f"{value!r}",
        "pattern": lambda: f"text matching {value}",
        "oneOf": lambda: "one of the forms that config.yaml and experiments/ show",
        "dependentRequired": lambda: "corruption together with severity, or folder (and mapping)",
    }
    return words.get(rule, lambda: f"{rule} {value}")()


def _hint(name: str, known: Iterable[str]) -> str:
    return near(name, known) or f", expected one of {', '.join(known)}"
