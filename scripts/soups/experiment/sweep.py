"""The sweep: one row of hyperparameters per ingredient, drawn while the workflow is parsed.

Equal settings give equal rows. The first n rows of a random sweep do not change when the sweep
grows, and their other values do not change when a hyperparameter is added. A grid names its rows
by a hash of their values, so rows keep their names when values are added to the grid.
"""

import contextlib
import itertools
import re
import zlib
from collections.abc import Mapping

import numpy as np

from soups.errors import UserError
from soups.experiment import found, given
from soups.files import fingerprint
from soups.hyperparameters import TEXT, checked, to_number

_DISTRIBUTION = re.compile(r"(uniform|log_uniform|integer|choice)\((.*)\)(\s+or\s+0)?")


def draw(settings: dict, defaults: dict) -> dict[str, dict]:
    """Draw the rows of a sweep that is fine-tuned here.

    Args:
        settings: the ``sweep`` section.
        defaults: the ``finetune`` section. It gives the hyperparameters that the sweep does not.

    Returns:
        ingredient id to hyperparameters, in order. Every row has all keys of ``defaults``.

    Raises:
        UserError: for an unknown hyperparameter, or an invalid distribution or table.
    """
    kind = settings["kind"]
    rows = {"random": _random, "grid": _grid, "table": _table}[kind](settings[kind])
    _check_any(rows, kind)
    for name, row in rows.items():
        unknown = sorted(row.keys() - defaults.keys())
        if unknown:
            raise UserError(
                f"sweep.{kind}: {name} has the hyperparameter {unknown[0]!r}, expected one of "
                f"{', '.join(defaults)}"
            )
    return {name: checked(name, defaults | row) for name, row in rows.items()}


def ready_made(settings: dict, models: Mapping[str, str] | None = None) -> dict[str, dict]:
    """The rows of ready-made models, which hold what is known about them and nothing else.

    Args:
        settings: the ``sweep`` section.
        models: name of a model to its file, with the kind ``files``.

    Returns:
        model to the columns of the table, in order. All rows have the same columns. The value is
        None where a cell is empty or a model has no row. Without a table, rows are empty, or hold
        the hyperparameters that were drawn.

    Raises:
        UserError: for an invalid table, or a row of the table without a model.
    """
    kind = settings["kind"]
    if kind == "files":
        rows = found.rows(settings["table"], models or {}) if settings["table"] else {}
        columns = dict.fromkeys(next(iter(rows.values()), {}))
        return {name: rows.get(name, columns) for name in models or {}}
    if kind == "table":
        rows = given.rows(settings["table"])
    else:
        rows = {"random": _random, "grid": _grid}[kind](settings[kind])
        rows = {name: checked(name, row) for name, row in rows.items()}
    _check_any(rows, kind)
    return rows


def _check_any(rows: dict, kind: str) -> None:
    if not rows:
        raise UserError(f"sweep.{kind} has no rows, expected at least one")


def check_different(rows: dict[str, dict]) -> None:
    """Refuse a sweep that would train the same model twice.

    Args:
        rows: see `draw`.

    Raises:
        UserError: if two rows have equal hyperparameters.
    """
    first: dict[tuple, str] = {}
    for name, row in rows.items():
        if (other := first.setdefault(tuple(row.values()), name)) != name:
            raise UserError(
                f"sweep: {other} and {name} have the same hyperparameters, expected different "
                "ones (a repetition needs a `seed` of its own)"
            )


def _random(settings: dict) -> dict[str, dict]:
    rows = {}
    for i in range(settings["n"]):
        row = {"seed": i}
        for name, spec in settings["parameters"].items():
            if spec not in (None, "null"):  # an overlay or --config switches it off with null
                rng = np.random.default_rng([settings["seed"], i, zlib.crc32(name.encode())])
                row[name] = _sample(name, spec, rng)
        rows[_id(i)] = row
    return rows


def parse(name: str, spec: str) -> tuple[str, list[float], bool]:
    """Read a distribution.

    Distributions are text, because Snakemake merges overlays key by key. An overlay replaces text
    as a whole.

    Args:
        name: name of the hyperparameter.
        spec: the distribution. config.yaml explains the forms.

    Returns:
        the form, its values, and whether the hyperparameter is 0 with probability 1/2.

    Raises:
        UserError: for an unknown form, or bounds in the wrong order.
    """
    if name in TEXT:
        inside = re.fullmatch(r"choice\((.*)\)", spec.strip())
        return (
            "choice",
            [word.strip() for word in (inside[1] if inside else spec).split(",")],
            False,
        )
    with contextlib.suppress(ValueError):
        return "choice", [to_number(spec)], False  # a number, because YAML reads 1e-4 as text
    match = _DISTRIBUTION.fullmatch(spec.strip())
    where = f"sweep.random.parameters.{name} is {spec!r}, expected"
    if not match:
        raise UserError(
            f"{where} a number, uniform(low, high), log_uniform(low, high), integer(low, high) "
            "or choice(a, b, ...), where `or 0` may follow the brackets"
        )
    form, numbers, or_zero = match.groups()
    try:
        values = [to_number(text) for text in numbers.split(",")]
    except ValueError:
        raise UserError(f"{where} numbers between the brackets") from None
    if form == "choice":
        return form, values, bool(or_zero)
    if form == "integer" and not all(isinstance(value, int) for value in values):
        raise UserError(f"{where} whole numbers between the brackets")
    if len(values) != 2 or values[0] > values[1] or (form == "log_uniform" and values[0] <= 0):
        order = "0 < low <= high" if form == "log_uniform" else "low <= high"
        raise UserError(f"{where} two numbers with {order}")
    return form, values, bool(or_zero)


def _sample(name: str, spec, rng: np.random.Generator):
    """Draw one value of a distribution, see `parse`."""
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
    # Six significant digits keep tables readable.
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _grid(settings: dict) -> dict[str, dict]:
    names = [name for name, values in settings.items() if values is not None]
    if not names:
        return {}
    combinations = list(itertools.product(*(settings[name] for name in names)))
    rows = [dict(zip(names, values, strict=True)) for values in combinations]
    table = {f"g{fingerprint(row)[:8]}": row for row in rows}
    if len(table) < len(rows):
        raise UserError(
            f"sweep.grid has {len(rows)} rows, of which two are equal or have the same hash, "
            "expected different rows"
        )
    return table


def _table(path: str) -> dict[str, dict]:
    rows = {}
    for number, row in given.lines(path):
        name = given.named(path, number, row.pop("model", _id(number - 2)), rows)
        # An empty cell takes the value of the `finetune` section.
        rows[name] = {key: _cell(path, number, key, value) for key, value in row.items() if value}
    return rows


def _cell(path: str, number: int, key: str, text: str) -> float | str:
    if key in TEXT:
        return text
    try:
        return to_number(text)
    except ValueError:
        raise UserError(
            f"{path}: row {number} has {text!r} for {key!r}, expected a number"
        ) from None


def _id(i: int) -> str:
    return f"m{i:02d}"
