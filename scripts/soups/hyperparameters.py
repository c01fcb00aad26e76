"""What a fine-tune can be told: names, kinds and limits of hyperparameters."""

import contextlib
import math

import numpy as np

from soups.errors import UserError

INTEGERS = ("batch_size", "seed", "rand_augment_ops", "rand_augment_magnitude")
TEXT = ("start", "task")  # hyperparameters that are words
# finetune.start to the model a fine-tune begins from.
START = {"probe": "initialization", "zeroshot": "zeroshot", "new": "newhead"}
ALL = "all"  # the task of all classes

# Hyperparameter to what must hold of it, and how to say so.
LIMITS = {
    **dict.fromkeys(("lr", "batch_size", "clip"), (lambda v: v > 0, "more than 0")),
    **dict.fromkeys(
        (
            *("weight_decay", "mixup", "augment", "seed", "sam", "swa_lr", "warmup", "epochs"),
            *("rand_augment_ops", "rand_augment_magnitude"),
        ),
        (lambda v: v >= 0, "0 or more"),
    ),
    "crop": (lambda v: 0 < v <= 1, "more than 0, at most 1"),
    "flip": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    **dict.fromkeys(
        ("label_smoothing", "ema", "swa"), (lambda v: 0 <= v < 1, "at least 0, below 1")
    ),
    "distill": (lambda v: 0 <= v <= 1, "between 0 and 1"),
    **dict.fromkeys(("layer_decay", "distill_temperature"), (lambda v: v > 0, "more than 0")),
}


def checked(name: str, row: dict) -> dict:
    """The row with whole numbers as such.

    Raises:
        UserError: for a value that cannot be, or values that exclude each other.
    """
    row = dict(row)
    for key, value in row.items():
        if key == "start" and value not in START:
            raise UserError(f"sweep: {name} has start = {value!r}, expected {_or(START)}")
        if key in TEXT:
            continue
        if isinstance(value, str):  # YAML reads 1e-4 as text, and so does --config
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
        holds, wanted = LIMITS[key]
        if not holds(value):
            raise UserError(f"sweep: {name} has {key} = {value}, expected {wanted}")
    for one, other in (("ema", "swa"), ("distill", "mixup")):
        if row.get(one) and row.get(other):
            raise UserError(
                f"sweep: {name} has {one} = {row[one]} and {other} = {row[other]}, "
                "expected one of them to be 0"
            )
    if row.get("task", ALL) != ALL:
        for key, wanted in (("start", "zeroshot"), ("distill", 0)):
            if row.get(key, wanted) != wanted:
                raise UserError(
                    f"sweep: {name} has task = {row['task']!r} and {key} = {row[key]!r}, expected "
                    f"{wanted!r}: a task is learned under the frozen zero-shot head"
                )
    if row.get("swa_lr") and not row.get("swa"):
        raise UserError(f"sweep: {name} has swa_lr = {row['swa_lr']}, but swa is 0")
    return row


def to_number(text: str) -> float:
    """The number that a text says, whole ones as int.

    Raises:
        ValueError: if it says none, or one that is not finite.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return int(value) if value.is_integer() else value


def _or(names) -> str:
    return ", ".join(repr(name) for name in names)
