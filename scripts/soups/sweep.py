"""The sweep: one row of hyperparameters per ingredient, drawn at parse time.

Pure and seeded. The first n rows of a random sweep do not change when it grows, nor
when a hyperparameter is added; a grid names its rows by what is in them, so adding a
value anywhere leaves the others as they were.
"""

import contextlib
import csv
import itertools
import math
import re
import zlib
from pathlib import Path

import numpy as np

from soups.errors import UserError
from soups.files import fingerprint

_DISTRIBUTION = re.compile(r"(uniform|log_uniform|integer|choice)\((.*)\)(\s+or\s+0)?")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
INTEGERS = ("batch_size", "seed", "rand_augment_ops", "rand_augment_magnitude")
TEXT = ("start", "task")  # hyperparameters that are words
# finetune.start to the model a fine-tune begins from.
START = {"probe": "initialization", "zeroshot": "zeroshot", "new": "newhead"}
# Ids no ingredient, soup or ensemble may have: of starts, of rows of the tables, and what
# a CSV reads as missing.
RESERVED = (*START.values(), "best_individual", "second_best", "oracle")
RESERVED += ("NA", "NULL", "null", "None", "nan", "NaN")
BASE = "base"
ALL = "all"  # the task of all classes


def draw(settings: dict, defaults: dict) -> dict[str, dict]:
    """The sweep table.

    Args:
        settings: the ``sweep`` section: ``kind`` and the section of that name.
        defaults: the ``finetune`` section, used for what the sweep leaves alone.

    Returns:
        ingredient id to hyperparameters, in order; every row has all keys of ``defaults``.

    Raises:
        UserError: for a hyperparameter nobody knows, an unusable distribution or table.
    """
    kind = settings["kind"]
    rows = {"random": _random, "grid": _grid, "table": _table}[kind](settings[kind], defaults)
    if not rows:
        raise UserError(f"sweep.{kind} gives no configuration, expected at least one")
    for name, row in rows.items():
        unknown = sorted(row.keys() - defaults.keys())
        if unknown:
            raise UserError(
                f"sweep.{kind}: {name} sets {unknown[0]!r}, expected one of {', '.join(defaults)}"
            )
    return {name: _checked(name, defaults | row) for name, row in rows.items()}


def vary(rows: dict[str, dict], variants: dict) -> tuple[dict[str, dict], dict[str, tuple]]:
    """Rows of the sweep once more, trained in another way.

    Args:
        rows: from `draw`.
        variants: the ``sweep.variants`` section: name to ``set``, the hyperparameters that
            differ, and ``first``, how many rows (all by default); null is left out. Rows that
            come out alike are trained once.

    Returns:
        all rows, those of ``rows`` first; and for each id the row it comes from and the
        variant's name, ``base`` for the sweep itself.

    Raises:
        UserError: for a variant that cannot be, or a sweep that would teach itself.
    """
    for name, row in rows.items():
        if row.get("distill"):
            raise UserError(
                f"sweep: {name} has distill = {row['distill']}, but the whole sweep is the "
                "teacher; expected distill in sweep.variants only"
            )
    out, origin = dict(rows), {name: (name, BASE) for name in rows}
    for variant, spec in variants.items():
        if spec is None:
            continue
        if variant == BASE:
            raise UserError(f"sweep.variants.{BASE}: the sweep itself is called so")
        made: list[dict] = []
        for name in list(rows)[: spec.get("first")]:
            key = f"{name}_{variant}"
            if key in out:
                raise UserError(f"sweep.variants.{variant}: {key} is there already")
            row = _checked(key, rows[name] | spec["set"])
            if row in made:
                continue  # what `set` leaves alone does not differ: the same model again
            made.append(row)
            out[key], origin[key] = row, (name, variant)
    return out, origin


def origins(rows: dict[str, dict], starts: list[str], ready_made: bool) -> dict[str, str]:
    """The model that each row's fine-tuning starts from.

    Args:
        rows: from `vary`.
        starts: starting points that there are, without the head of zeros.
        ready_made: the models were fine-tuned elsewhere, from one start. Where that is not
            known, each is taken to have its own, and what asks for a common one is refused.

    Raises:
        UserError: for a start that the pre-trained model cannot give.
    """
    if ready_made:
        return {name: starts[0] if starts else f"an unknown start ({name})" for name in rows}
    for name, row in rows.items():
        if row["start"] == "zeroshot" and "zeroshot" not in starts:
            raise UserError(
                f"sweep: {name} has start = 'zeroshot', expected 'probe' or 'new': the pre-trained "
                "model has no text side to make that head of"
            )
    return {name: START[row["start"]] for name, row in rows.items()}


def pairs(
    rows: dict[str, dict], starts: dict[str, str], most: int | None = None, single: bool = False
) -> list[dict]:
    """Pairs of models that were fine-tuned from the same start.

    Args:
        rows: model id to hyperparameters.
        starts: model id to where it starts from.
        most: how many; a random part (the same one each time) where there are more.
        single: only pairs that differ in one hyperparameter.

    Returns:
        per pair ``model_1`` and ``model_2``, what they ``differ`` in (a hyperparameter, or
        ``several``), and their learning rates ``lr_1`` <= ``lr_2``.
    """
    out = []
    # What was not trained is its start, and has no direction from there.
    trained = [name for name, row in rows.items() if row.get("epochs") != 0]
    for one, two in itertools.combinations(trained, 2):
        differ = [name for name in rows[one] if rows[one][name] != rows[two][name]]
        if starts[one] != starts[two] or (single and len(differ) != 1):
            continue
        one, two = sorted((one, two), key=lambda name: rows[name]["lr"])
        differ = differ[0] if len(differ) == 1 else "several"
        lr = {"lr_1": rows[one]["lr"], "lr_2": rows[two]["lr"]}
        out.append({"model_1": one, "model_2": two, "differ": differ} | lr)
    if most is None or len(out) <= most:
        return out
    chosen = np.random.default_rng(0).permutation(len(out))[:most]
    return [out[i] for i in sorted(chosen)]


def for_curves(curves: dict) -> set[str]:
    """Names of the variants that the ``curves`` section asks for, without the sweep itself."""
    parts = [curves[name] for name in ("paths", "landscape", "tasks")]
    parts += [spec for spec in curves["slices"].values() if spec]
    return {name for part in parts for name in part["variants"]} - {BASE}


def pool(
    rows: dict[str, dict],
    origin: dict[str, tuple],
    variants: list[str],
    query: str | None,
    key: str,
) -> list[str]:
    """Ingredients of some variants for which a query holds.

    Args:
        rows, origin: from `vary`.
        variants: names; ``base`` is the sweep itself.
        query: an condition on hyperparameters (and ``model``, ``row``: the ingredient's id
            and the number of its row, from 0), as of `pandas.DataFrame.query`.
        key: the config key it comes from, for messages.

    Raises:
        UserError: for an unknown variant, a query that cannot be read, or no ingredient.
    """
    known = sorted({variant for _, variant in origin.values()})
    if unknown := [name for name in variants if name not in known]:
        raise UserError(f"{key}.variants has {unknown[0]!r}, expected among {', '.join(known)}")
    names = [name for name in rows if origin[name][1] in variants]
    if query is not None:
        names = _where(rows, origin, names, query, key)
    if not names:
        raise UserError(f"{key}.query is {query!r}: no ingredient is so, expected at least one")
    return names


def _where(rows, origin, names: list[str], query: str, key: str) -> list[str]:
    import pandas as pd  # half a second that most runs need not spend while parsing

    order = {name: i for i, name in enumerate(n for n in rows if origin[n][1] == BASE)}
    table = pd.DataFrame(
        {"model": name, "row": order[origin[name][0]], **rows[name]} for name in names
    )
    expected = f"expected a condition on {', '.join(table)}"
    try:
        holds = table.eval(query, engine="python")
    except Exception as error:  # the query is the user's, and fails in many ways
        reason = " ".join(str(error).split())
        raise UserError(
            f"{key}.query is {query!r}, which cannot be read ({reason}); {expected}"
        ) from None
    if not pd.api.types.is_bool_dtype(getattr(holds, "dtype", object)):
        raise UserError(f"{key}.query is {query!r}, which is not true or false; {expected}")
    return table["model"][holds].tolist()


def _random(settings: dict, defaults: dict) -> dict[str, dict]:
    rows = {}
    for i in range(settings["n"]):
        row = {"seed": i}
        for name, spec in settings["parameters"].items():
            if spec not in (None, "null"):  # how an overlay or --config switches one off
                rng = np.random.default_rng([settings["seed"], i, zlib.crc32(name.encode())])
                row[name] = _sample(name, spec, rng)
        rows[_id(i)] = row
    return rows


def parse(name: str, spec: str) -> tuple[str, list[float], bool]:
    """Read a distribution: its form, its numbers, and whether it is 0 half of the time.

    Text, because Snakemake merges overlays key by key: an overlay replaces text as a whole.

    Raises:
        UserError: if it is none of the forms, or its bounds are no range.
    """
    if name in TEXT:
        inside = re.fullmatch(r"choice\((.*)\)", spec.strip())
        return (
            "choice",
            [word.strip() for word in (inside[1] if inside else spec).split(",")],
            False,
        )
    with contextlib.suppress(ValueError):
        return "choice", [_number(spec)], False  # YAML reads 1e-4 as text
    match = _DISTRIBUTION.fullmatch(spec.strip())
    where = f"sweep.random.parameters.{name} is {spec!r}, expected"
    if not match:
        raise UserError(
            f"{where} a number, uniform(low, high), log_uniform(low, high), integer(low, high) "
            "or choice(a, b, ...), the last four perhaps followed by `or 0`"
        )
    form, numbers, or_zero = match.groups()
    try:
        values = [_number(text) for text in numbers.split(",")]
    except ValueError:
        raise UserError(f"{where} numbers between the brackets") from None
    if form == "choice":
        return form, values, bool(or_zero)
    if form == "integer" and not all(isinstance(value, int) for value in values):
        raise UserError(f"{where} whole numbers between the brackets")
    if len(values) != 2 or values[0] > values[1] or (form == "log_uniform" and values[0] <= 0):
        order = "0 < low <= high" if form == "log_uniform" else "low <= high"
        raise UserError(f"{where} two numbers, {order}")
    return form, values, bool(or_zero)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return int(value) if value.is_integer() else value


def _sample(name: str, spec, rng: np.random.Generator):
    """One value of a distribution; see config.yaml for the forms."""
    if not isinstance(spec, str):
        return spec
    form, values, or_zero = parse(name, spec)
    zero = rng.random() < 0.5 and or_zero
    if form == "choice":
        value = values[int(rng.integers(len(values)))]
    else:
        low, high = values
        if form == "uniform":
            value = float(rng.uniform(low, high))
        elif form == "log_uniform":
            value = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        else:
            value = int(rng.integers(low, high, endpoint=True))
    return 0 if zero else _rounded(value)


def _rounded(value):
    # Six digits are plenty, and they keep tables, hashes and eyes at ease.
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _grid(settings: dict, defaults: dict) -> dict[str, dict]:
    names = [name for name, values in settings.items() if values is not None]
    if not names:
        return {}
    combinations = list(itertools.product(*(settings[name] for name in names)))
    rows = [dict(zip(names, values, strict=True)) for values in combinations]
    table = {f"g{fingerprint(row)[:8]}": row for row in rows}
    if len(table) < len(rows):
        raise UserError(f"sweep.grid: two of its {len(rows)} rows are the same or share an id")
    return table


def _table(path: str, defaults: dict) -> dict[str, dict]:
    if not Path(path).is_file():
        raise UserError(f"sweep.table is {path!r}: no such file, expected a CSV of hyperparameters")
    try:
        with open(path, newline="", encoding="utf-8-sig") as handle:
            lines = [line for line in csv.reader(handle) if line]
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text, expected a CSV with commas") from None
    header = [name.strip() for name in lines[0]] if lines else []
    if len(set(header)) < len(header) or ";" in "".join(header):
        raise UserError(f"{path}: row 1 is {lines[0]}, expected different names between commas")
    rows = {}
    for number, line in enumerate(lines[1:], start=2):
        if len(line) != len(header):
            raise UserError(
                f"{path}: row {number} has {len(line)} values, expected {len(header)} as in row 1"
            )
        row = {key: value.strip() for key, value in zip(header, line, strict=True)}
        name = row.pop("model", _id(number - 2))
        if not _NAME.fullmatch(name) or name in RESERVED:
            raise UserError(
                f"{path}: a model is called {name!r}, expected letters, digits, _ and -, "
                f"and none of {', '.join(RESERVED)}"
            )
        if name in rows:
            raise UserError(f"{path}: model {name!r} occurs twice, expected one row per model")
        # An empty cell is left to `finetune`.
        rows[name] = {key: _cell(path, number, key, value) for key, value in row.items() if value}
    return rows


def _cell(path: str, number: int, key: str, text: str) -> float | str:
    if key in TEXT:
        return text
    try:
        return _number(text)
    except ValueError:
        raise UserError(
            f"{path}: row {number} has {text!r} for {key!r}, expected a number"
        ) from None


def _id(i: int) -> str:
    return f"m{i:02d}"


# Hyperparameter to what must hold of it, and how to say so.
_LIMITS = {
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


def _checked(name: str, row: dict) -> dict:
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
                value = _number(value)
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not number or not math.isfinite(value):
            raise UserError(f"sweep: {name} has {key} = {value!r}, expected a number")
        value = value.item() if isinstance(value, np.number) else value
        if key in INTEGERS:
            if value != int(value):
                raise UserError(f"sweep: {name} has {key} = {value!r}, expected a whole number")
            value = int(value)
        row[key] = value
        holds, wanted = _LIMITS[key]
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


def _or(names) -> str:
    return ", ".join(repr(name) for name in names)
