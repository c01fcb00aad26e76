"""Recipes of soups: the ingredients, their coefficients, and how these were chosen.

A recipe is a JSON object. ``coefficients`` has a number per ingredient, or a number per
ingredient and tensor. A recipe with ``merge`` is not a weighted sum: it combines the
ingredients element by element. `mixing.mix` turns any recipe into weights. ``method`` is the
name of a method of `mixing.methods` or of a plan. The row of a soup in the tables may have
another name, which the configuration chooses.
"""

from collections.abc import Iterable, Mapping

from soups.errors import UserError
from soups.hyperparameters import START

Coefficient = float | Mapping[str, float]


def recipe(
    coefficients: Mapping[str, Coefficient], method: str, merge: Mapping | None = None, **selection
) -> dict:
    """Build a recipe as it is written to JSON.

    Args:
        coefficients: ingredient id to a coefficient, or to a coefficient per tensor name. The
            coefficients need not sum to 1.
        method: the method that made the recipe.
        merge: ``rule`` and options of a combination that is not a weighted sum, see
            `merge.merge`.
        selection: how the coefficients were chosen, such as a greedy trace.
    """
    made = {"method": method, "coefficients": dict(coefficients), "selection": selection}
    return made | {"merge": dict(merge)} if merge else made


def uniform(ingredients: Iterable[str], method: str = "uniform", **selection) -> dict:
    """The plain average (paper, Recipe 2), which has coefficient 1/k for each of k ingredients."""
    names = list(ingredients)
    return recipe({name: 1 / len(names) for name in names}, method=method, **selection)


def interpolate(made: dict, start: str, alpha: float, method: str, **selection) -> dict:
    """The interpolation of a soup and the start of its ingredients (WiSE-FT, Wortsman et al. 2022).

    Args:
        made: a recipe that is a weighted sum.
        start: id of the starting point.
        alpha: share of the soup. 1 is the soup, 0 is the start, and more than 1 extrapolates.
        method, selection: see `recipe`.

    Raises:
        UserError: if the recipe is not a weighted sum.
    """
    if "merge" in made:
        raise UserError(
            f"the soup to interpolate with its start was made by {made['method']!r}, expected a "
            "method that makes a weighted sum of its ingredients"
        )
    coefficients = {name: _times(weight, alpha) for name, weight in made["coefficients"].items()}
    rest = coefficients.get(start, 0.0)
    if isinstance(rest, Mapping):
        coefficients[start] = {name: value + 1 - alpha for name, value in rest.items()}
    else:
        coefficients[start] = rest + 1 - alpha
    return recipe(coefficients, method, **selection)


def _times(weight: Coefficient, factor: float) -> Coefficient:
    if isinstance(weight, Mapping):
        return {name: value * factor for name, value in weight.items()}
    return weight * factor


def used(made: dict) -> list[str]:
    """Ids of the ingredients, and of the start, that have a coefficient other than 0."""
    return [
        name
        for name, weight in made["coefficients"].items()
        if (any(weight.values()) if isinstance(weight, Mapping) else weight)
    ]


def alone(made: dict) -> str | None:
    """The id of the only model of a recipe, with the coefficient 1; None for any other recipe."""
    names = used(made)
    if len(names) != 1 or "merge" in made:
        return None
    weight = made["coefficients"][names[0]]
    each = weight.values() if isinstance(weight, Mapping) else [weight]
    return names[0] if all(value == 1 for value in each) else None


def members(made: dict) -> list[str]:
    """Ids of the fine-tuned models in a soup: those of `used` without the start."""
    return [name for name in used(made) if name not in START.values()]
