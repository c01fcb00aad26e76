"""Hyperparameters of a fine-tune: their names, types and limits."""

import contextlib
import math

import numpy as np

from soups.errors import UserError
from soups.roles import INITIALIZATION, ZEROSHOT

# Value of finetune.start to the name of the model that the fine-tune begins from.
START = {"probe": INITIALIZATION, "zeroshot": ZEROSHOT, "new": "newhead"}
ALL = "all"  # the task that contains every class

_POSITIVE = {"type": "number", "exclusiveMinimum": 0}
_AMOUNT = {"type": "number", "minimum": 0}
_BELOW_ONE = {"type": "number", "minimum": 0, "exclusiveMaximum": 1}
_SHARE = {"type": "number", "minimum": 0, "maximum": 1}
_COUNT = {"type": "integer", "exclusiveMinimum": 0}
_WHOLE = {"type": "integer", "minimum": 0}

# Every hyperparameter with the values that it may have, as JSON schema. config.yaml explains
# each. The schema of the configuration and the checks of the sweep derive from this table.
HYPERPARAMETERS: dict[str, dict] = {
    "task": {"type": "string"},
    "start": {"enum": list(START)},
    "lr": _POSITIVE,
    "weight_decay": _AMOUNT,
    "decayed": {"enum": ["matrices", "all"]},
    "epochs": _AMOUNT,
    "batch_size": _COUNT,
    "warmup": _AMOUNT,
    "warmup_peak": {"enum": ["after", "last"]},
    "clip": _POSITIVE,
    "batch_norm": {"enum": ["frozen", "trained"]},
    "label_smoothing": _BELOW_ONE,
    "mixup": _AMOUNT,
    "augment": _AMOUNT,
    "crop": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "interpolation": {"enum": ["bicubic", "random"]},
    "flip": _SHARE,
    "rand_augment_ops": _WHOLE,
    "rand_augment_magnitude": _WHOLE,
    "layer_decay": _POSITIVE,
    "ema": _BELOW_ONE,
    "swa": _BELOW_ONE,
    "swa_lr": _AMOUNT,
    "sam": _AMOUNT,
    "distill": _SHARE,
    "distill_temperature": _POSITIVE,
    "seed": _WHOLE,
}
# Hyperparameters that are newer than models which users have trained, with the value that those
# models have. Rows leave them out where they have this value, so that such models stay valid.
NEWER = {
    "decayed": "matrices",
    "warmup_peak": "after",
    "interpolation": "bicubic",
    "batch_norm": "frozen",
}
INTEGERS = tuple(n for n, rule in HYPERPARAMETERS.items() if rule.get("type") == "integer")
# Hyperparameters whose values are words.
TEXT = tuple(n for n, rule in HYPERPARAMETERS.items() if rule.get("type") in (None, "string"))


def _limits(rule: dict) -> tuple[float, float, bool, bool]:
    """Return the lower and upper bound of a rule, and whether each may be reached."""
    low = rule.get("minimum", rule.get("exclusiveMinimum", -math.inf))
    high = rule.get("maximum", rule.get("exclusiveMaximum", math.inf))
    return low, high, "minimum" in rule, "maximum" in rule


def _holds(rule: dict, value: float) -> bool:
    low, high, from_low, to_high = _limits(rule)
    return (value > low or (from_low and value == low)) and (
        value < high or (to_high and value == high)
    )


def _wanted(rule: dict) -> str:
    """Return the bounds of a rule in words."""
    low, high, from_low, to_high = _limits(rule)
    if high == math.inf:
        return f"{low} or more" if from_low else f"more than {low}"
    if from_low and to_high:
        return f"between {low} and {high}"
    lower = f"at least {low}" if from_low else f"more than {low}"
    return f"{lower}, at most {high}" if to_high else f"{lower}, below {high}"


def checked(name: str, row: dict) -> dict:
    """Check one row of the sweep and convert its numbers.

    Args:
        name: name of the row, for messages.
        row: hyperparameter to value.

    Returns:
        a copy of the row, where whole-number hyperparameters are int.

    Raises:
        UserError: if a value is not allowed, or if two values exclude each other.
    """
    row = dict(row)
    for key, value in row.items():
        known = HYPERPARAMETERS[key].get("enum", [value])
        if value not in known:
            raise UserError(f"sweep: {name} has {key} = {value!r}, expected {_or(known)}")
        if key in TEXT:
            continue
        if isinstance(value, str):  # YAML files and --config give 1e-4 as text
            with contextlib.suppress(ValueError):
                value = to_number(value)
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not math.isfinite(value):
            raise UserError(f"sweep: {name} has {key} = {value!r}, expected a number")
        value = value.item() if isinstance(value, np.number) else value
        if key in INTEGERS:
            if value != int(value):
                raise UserError(f"sweep: {name} has {key} = {value!r}, expected a whole number")
            value = int(value)
        row[key] = value
        rule = HYPERPARAMETERS[key]
        if not _holds(rule, value):
            raise UserError(f"sweep: {name} has {key} = {value}, expected {_wanted(rule)}")
    for one, other in (("ema", "swa"), ("distill", "mixup")):
        if row.get(one) and row.get(other):
            raise UserError(
                f"sweep: {name} has {one} = {row[one]} and {other} = {row[other]}, "
                "expected one of them to be 0"
            )
    for key in ("ema", "swa", "sam"):
        if row.get("batch_norm") == "trained" and row.get(key):
            raise UserError(
                f"sweep: {name} has batch_norm = 'trained' and {key} = {row[key]}, expected "
                f"{key} = 0 because the batch statistics would not be those of the weights"
            )
    if row.get("task", ALL) != ALL:
        for key, wanted in (("start", "zeroshot"), ("distill", 0)):
            if row.get(key, wanted) != wanted:
                raise UserError(
                    f"sweep: {name} has task = {row['task']!r} and {key} = {row[key]!r}, expected "
                    f"{wanted!r} because a task is trained with the frozen zero-shot head"
                )
    if row.get("swa_lr") and not row.get("swa"):
        raise UserError(
            f"sweep: {name} has swa_lr = {row['swa_lr']} and swa = 0, "
            "expected swa above 0 with swa_lr"
        )
    return row


def without_newer(row: dict) -> dict:
    """Leave out the hyperparameters of a row that are newer and have the value of `NEWER`."""
    return {key: value for key, value in row.items() if key not in NEWER or NEWER[key] != value}


def without_unused(rows: dict[str, dict]) -> dict[str, dict]:
    """Leave out newer hyperparameters that have the value of `NEWER` in all rows."""
    used = {key for row in rows.values() for key in without_newer(row)}
    return {name: {k: v for k, v in row.items() if k in used} for name, row in rows.items()}


def to_number(text: str) -> float:
    """Convert text to a number. Whole numbers become int.

    Raises:
        ValueError: if the text is not a finite number.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return int(value) if value.is_integer() else value


def _or(names) -> str:
    return ", ".join(repr(name) for name in names)
