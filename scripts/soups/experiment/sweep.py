"""The sweep: one row of hyperparameters per ingredient, drawn while the workflow is parsed.

Equal settings give equal rows. The first n rows of a random sweep do not change when the sweep
grows, and their other values do not change when a hyperparameter is added. A grid names its rows
by a hash of their values, so rows keep their names when values are added to the grid.
"""

import itertools
from collections.abc import Mapping

from soups.errors import UserError
from soups.experiment import found, given, search
from soups.files import fingerprint
from soups.hyperparameters import TEXT, checked, to_number


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
    rows = {"random": search.rows, "grid": _grid, "table": _table}[kind](settings[kind])
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
        rows = {"random": search.rows, "grid": _grid}[kind](settings[kind])
        rows = {name: checked(name, row) for name, row in rows.items()}
        columns = dict.fromkeys(key for row in rows.values() for key in row)
        rows = {name: columns | row for name, row in rows.items()}
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
        name = given.named(path, number, row.pop("model", search.name_of(number - 2)), rows)
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
