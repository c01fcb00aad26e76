"""The figures. Each is a function of tables, and `function` finds it by the figure's name.

A new figure needs one public function in a module of this package, and one row in the
registry `soups.experiment.figures`.
"""

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module

import pandas as pd


def function(name: str) -> Callable:
    """The function that draws a figure.

    Args:
        name: of the figure and of its function.

    Raises:
        LookupError: if no module of this package defines a public function of that name.
    """
    found = functions()
    if name not in found:
        raise LookupError(
            f"figure {name!r} has no function in soups.report.figures, "
            f"expected one of {', '.join(sorted(found))}"
        )
    return found[name]


def drawable(draw: Callable, tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame] | None:
    """The tables with rows, or None if the figure cannot be drawn from these.

    A table has no rows if all models behind it are left out.

    Args:
        draw: the function of the figure. Arguments with a default are tables of which the figure
            needs at least one.
        tables: the figure's tables by name.
    """
    filled = {name: table for name, table in tables.items() if len(table)}
    wanted = inspect.signature(draw).parameters
    optional = {name for name in tables if wanted[name].default is not inspect.Parameter.empty}
    needed = tables.keys() - optional
    if not filled.keys() >= needed or (optional and not filled.keys() & optional):
        return None
    return filled


def functions() -> dict[str, Callable]:
    """Every public function that a module of this package defines, by name.

    Raises:
        LookupError: if two modules define functions of one name.
    """
    found: dict[str, Callable] = {}
    for info in pkgutil.iter_modules(__path__):
        module = import_module(f"{__name__}.{info.name}")
        for name, value in vars(module).items():
            defined_here = inspect.isfunction(value) and value.__module__ == module.__name__
            if name.startswith("_") or not defined_here:
                continue
            if name in found:
                raise LookupError(f"two modules of {__name__} define a figure {name!r}")
            found[name] = value
    return found
