"""The configuration against its JSON schema, with one sentence per error."""

import contextlib
import math
from collections.abc import Iterable
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.validators import extend

from soups.errors import UserError, near
from soups.experiment import registry
from soups.experiment.registry import SECTIONS
from soups.hyperparameters import HYPERPARAMETERS

LONGEST = 120  # characters of a value in a message
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C loader is ten times as fast


def check(config: dict, path: str | Path) -> None:
    """Check a configuration against the schema.

    Text from ``--config 'sweep={random: {n: 20}}'`` that should be a number becomes a number. Fixed
    keys get the order of the schema, because Snakemake would take another order for a change.

    Args:
        config: the merged configuration. It is changed in place.
        path: file of the JSON schema. Methods and hyperparameters are added to the schema from
            their registries.

    Raises:
        UserError: one sentence with the key, its value and what was expected.
    """
    rules = read_yaml(path)
    _complete(rules["properties"])
    validator = _Validator(rules)
    for error in list(validator.iter_errors(config)):
        _parse_text(config, error)
    error = best_match(validator.iter_errors(config))
    if error:
        raise UserError(sentence(error))
    for key, value in config.items():
        config[key] = _sorted(value, rules["properties"][key], rules["$defs"])


def _sorted(value, rules: dict, shared: dict):
    """A valid value, its fixed keys in the order of the schema.

    Keys that are names, such as those of soups, keep their order, and so do the keys of
    open_clip's architectures, which the schema does not know.
    """
    if "$ref" in rules:
        rules = shared[rules["$ref"].rsplit("/", 1)[1]]
    rules = next((one for one in rules.get("oneOf", []) if one.get("type") == "object"), rules)
    others = rules.get("additionalProperties")
    if not isinstance(value, dict) or others is None:
        return value
    known = rules.get("properties", {})
    order = value if others else known
    return {
        key: _sorted(value[key], known.get(key, others), shared) for key in order if key in value
    }


def read_yaml(path: str | Path):
    """Read a YAML file."""
    return yaml.load(Path(path).read_text(encoding="utf-8"), _Loader)


def _is_finite(value) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)


# JSON schema takes 12.0 for an integer, which range() refuses. YAML can also contain .nan.
_Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: isinstance(value, int) and not isinstance(value, bool),
            "number": lambda _, value: _is_finite(value),
        }
    ),
)


def _complete(sections: dict) -> None:
    """Add the methods and hyperparameters of the registries to the schema."""
    for name in SECTIONS:
        sections[name]["additionalProperties"] = registry.schema(name)
    names = list(HYPERPARAMETERS)
    sections["finetune"] |= {"properties": HYPERPARAMETERS, "required": names}
    sweep = sections["sweep"]["properties"]
    search = sweep["random"]["properties"]
    search["parameters"]["propertyNames"] = {"enum": names}
    option = search["choices"]["additionalProperties"]["additionalProperties"]
    option["properties"]["set"]["propertyNames"] = {"enum": names}
    sweep["grid"]["propertyNames"] = {"enum": names}
    variant = sweep["variants"]["additionalProperties"]["properties"]
    variant["set"]["properties"] = HYPERPARAMETERS


def _parse_text(config: dict, error: ValidationError) -> None:
    """Convert text to a number, null or a truth value, if the schema expects one.

    Snakemake passes nested ``--config`` values on as text.
    """
    if error.validator != "type" or not isinstance(error.instance, str):
        return
    *parents, last = error.absolute_path
    for key in parents:
        config = config[key]
    for read in (int, float, {"null": None, "true": True, "false": False}.__getitem__):
        with contextlib.suppress(ValueError, KeyError):
            config[last] = read(error.instance)
            return


def sentence(error: ValidationError) -> str:
    """The error as one sentence with the key, its value and what was expected."""
    key = ".".join(str(part) for part in error.absolute_path)
    where = f"config key {key}" if key else "config"
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        name = next(name for name in error.instance if name not in known)
        full = f"{key}.{name}" if key else name
        return f"config key {full} is unknown{hint(name, known)}"
    if "propertyNames" in error.absolute_schema_path:
        known = error.validator_value if error.validator == "enum" else []
        end = hint(error.instance, known) if known else ", expected letters, digits, _ and -"
        if any(c in error.instance for c in "()"):
            end = "; a distribution has to be quoted, such as lr: 'uniform(0, 1)'"
        return f"{where}.{error.instance} is unknown{end}"
    if error.validator == "required":
        return f"{where}: {error.message}"
    value = repr(error.instance)
    value = value if len(value) < LONGEST else value[: LONGEST - 3] + "..."
    return f"{where} is {value}, expected {_expected(error)}"


def _expected(error: ValidationError) -> str:
    """What the schema expects, in words."""
    rule, value = error.validator, error.validator_value
    words = {
        "type": lambda: " or ".join(value if isinstance(value, list) else [value]),
        "enum": lambda: "one of " + ", ".join(map(str, value)),
        "minimum": lambda: f"at least {value}",
        "maximum": lambda: f"at most {value}",
        "exclusiveMinimum": lambda: f"more than {value}",
        "exclusiveMaximum": lambda: f"less than {value}",
        "multipleOf": lambda: f"a multiple of {value}",
        "minItems": lambda: f"at least {_entries(value)}",
        "minProperties": lambda: f"at least {_entries(value)}",
        "uniqueItems": lambda: "different entries",
        "const": lambda: f"{value!r}",
        "pattern": lambda: f"text matching {value}",
        "oneOf": lambda: "one of the forms in config.yaml and experiments/",
        "dependentRequired": lambda: "corruption with severity, or folder (and mapping)",
    }
    return words.get(rule, lambda: f"{rule} {value}")()


def _entries(number: int) -> str:
    return f"{number} {'entry' if number == 1 else 'entries'}"


def hint(name: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown name: the most similar known name, or all of them."""
    return near(name, known) or f", expected one of {', '.join(known)}"
