"""The figures. Each is a function of tables, and `function` finds it by the figure's name.

A new figure needs one public function in a module of this package, and one row in the
registry `soups.experiment.figures`.
"""

import inspect
import pkgutil
from collections.abc import Callable
from importlib import import_module


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
