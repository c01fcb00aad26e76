"""A soup is a recipe: which ingredients, with which coefficients, and how they were chosen.

A recipe is a JSON object. ``coefficients`` has a number per ingredient, or one per
ingredient and tensor. A recipe with ``merge`` is no weighted sum but combines the
ingredients element by element. `mixing.mix` turns any recipe into weights.
"""

from collections.abc import Iterable, Mapping

from soups.errors import UserError
from soups.hyperparameters import START

Coefficient = float | Mapping[str, float]


def recipe(
    coefficients: Mapping[str, Coefficient], method: str, merge: Mapping | None = None, **selection
) -> dict:
    """A recipe as it is written to JSON.

    Args:
        coefficients: ingredient id to weight, or to one weight per tensor name; they need
            not sum to 1.
        method: how it was made.
        merge: for a combination that is no weighted sum, its ``rule`` and options, see
            `merging.merge`.
        selection: how the coefficients were chosen, e.g. a greedy trace.
    """
    made = {"method": method, "coefficients": dict(coefficients), "selection": selection}
    return made | {"merge": dict(merge)} if merge else made


def uniform(ingredients: Iterable[str], method: str = "uniform", **selection) -> dict:
    """The plain average (paper, Recipe 2): coefficient 1/k for each of k ingredients."""
    names = list(ingredients)
    return recipe({name: 1 / len(names) for name in names}, method=method, **selection)


def interpolate(made: dict, start: str, alpha: float, method: str, **selection) -> dict:
    """Alpha of a soup and 1 − alpha of where its ingredients start (WiSE-FT, Wortsman et al. 2022).

    Args:
        made: a recipe that is a weighted sum.
        start: id of the starting point.
        alpha: 1 is the soup, 0 the start; more than 1 extrapolates.
    """
    if "merge" in made:
        raise UserError(
            f"a {made['method']} soup is no weighted sum of its ingredients, "
            "expected one that is, to interpolate with its start"
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
    """Ingredients (and perhaps the start) whose coefficients are not all 0."""
    return [
        name
        for name, weight in made["coefficients"].items()
        if (any(weight.values()) if isinstance(weight, Mapping) else weight)
    ]


def members(made: dict) -> list[str]:
    """Fine-tuned models in a soup: what is `used`, without where they start from."""
    return [name for name in used(made) if name not in START.values()]
