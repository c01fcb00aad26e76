"""The configuration: checked against the schema and against itself before any job starts."""

import contextlib
import difflib
import importlib.util
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from soups import folders
from soups.errors import UserError
from soups.splits import heldout_split
from soups.sweep import parse
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
    _check_model(config)
    _check_pretrain(config["pretrain"])
    if config["data"]["source"] == "folders":
        if not config["data"]["folders"]:
            raise UserError(
                "data.source is 'folders' but data.folders is empty; see experiments/images.yaml"
            )
        _check_shift_names(config["data"]["folders"]["shifts"], config["finetune"])
        folders.check(config["data"]["folders"], config["data"]["heldout"]["fraction"])
        data = config["data"]["folders"]
        train = folders.classes(Path(data["root"]) / data["train"])
        names = folders.display_names(train, data.get("names"))
    else:
        world = np.arange(config["data"]["world"]["train"]) % len(CLASSES)
        names = [shape.name for shape in CLASSES]
        heldout_split(world, config["data"]["heldout"]["fraction"], 0, names)
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
                    f"tasks.{task} has {name!r}, expected names of classes{_near(name, classes)}"
                )
    if "all" in tasks:
        raise UserError("tasks.all: the task of all classes is called so, expected another name")


def _check_model(config: dict) -> None:
    model = config["model"]
    custom = isinstance(model["architecture"], dict)
    source = model["pretrained"]
    architecture = model["architecture"] if custom else named_architecture(model["architecture"])
    for template in model["templates"]:
        try:
            template.format("x")
        except (IndexError, KeyError, ValueError):
            raise UserError(
                f"model.templates has {template!r}, expected one {{}} where the class name goes"
            ) from None
    if source == "train" and not custom:
        raise UserError(
            f"model.architecture is {model['architecture']!r} and model.pretrained is 'train', "
            "expected embed_dim, vision_cfg and text_cfg for a model trained here"
        )
    if source.endswith(".safetensors"):
        if not Path(source).is_file():
            raise UserError(f"model.pretrained is {source!r}: no such file")
        made = header(source).get("architecture")
        if made != model["architecture"]:
            raise UserError(
                f"model.pretrained is {source!r}, whose architecture is {json.dumps(made)}, "
                f"expected that of model.architecture, {json.dumps(model['architecture'])}"
            )
    if custom and source != "train" and not source.endswith(".safetensors"):
        raise UserError(
            f"model.pretrained is {source!r}, expected 'train' or a .safetensors file, because "
            "model.architecture is a custom one that no open_clip tag belongs to"
        )
    if config["data"]["source"] == "folders" and config["data"]["folders"]:
        size = config["data"]["folders"]["image_size"]
        want = architecture["vision_cfg"].get("image_size", 224)
        if size != want:
            raise UserError(
                f"data.folders.image_size is {size}, expected {want}, "
                "the image_size of model.architecture"
            )


def header(path: str | Path) -> dict:
    """The note in a checkpoint's header, read without torch; empty if there is none."""
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > 2**26:
            raise UserError(f"{path}: not a safetensors checkpoint")
        try:
            metadata = json.loads(file.read(size)).get("__metadata__", {})
            return json.loads(metadata.get("soups", "{}"))
        except ValueError:
            raise UserError(f"{path}: not a safetensors checkpoint") from None


def named_architecture(name: str) -> dict:
    """The configuration of one of open_clip's models, read without importing it."""
    package = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    known = {path.stem: path for path in (Path(package) / "model_configs").glob("*.json")}
    if name not in known:
        raise UserError(f"model.architecture is {name!r}, unknown to open_clip{_near(name, known)}")
    return json.loads(known[name].read_text(encoding="utf-8"))


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
        "pattern": lambda: f"text matching {value}",
        "oneOf": lambda: "one of the forms that config.yaml and experiments/ show",
        "dependentRequired": lambda: "corruption together with severity, or folder (and mapping)",
    }
    return words.get(rule, lambda: f"{rule} {value}")()


def _hint(name: str, known: Iterable[str]) -> str:
    return _near(name, known) or f", expected one of {', '.join(known)}"


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f"; did you mean {close[0]}?" if close else ""
