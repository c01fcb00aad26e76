"""The methods: one row for each way to make a soup or an ensemble.

A method is a row here and a function of the same name in `mixing.methods` or
`mixing.ensembles`. The configuration's schema, the estimate of costs, the table in
docs/methods.md and the tests derive from the row. This module is imported while the workflow
is parsed, so it imports no large package.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

ALPHAS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
SCALES = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0]
# Options of every method: variants of the sweep, and a query on hyperparameters.
POOL = {"variants": ["base"], "query": None}
# Option of every soup: the number of held-out images on which its batch statistics are measured
# again, in place of `model.recalibrate_batch_norm`.
RECALIBRATE = {"recalibrate": None}
# When a greedy rule takes a model: if the score is at least that without it, as the paper says, or
# only if it is better, as in the authors' code.
ACCEPT = {"accept": "at_least"}
# Options that are newer than soups which users have made, with the value that those soups have.
# Entries leave them out where they have this value, so that such soups stay valid.
NEWER = {**ACCEPT}


@dataclass(frozen=True)
class Cost:
    """The work of choosing a soup. A greedy rule is counted as if it took every model.

    Attributes:
        scored: soups whose accuracy on the held-out set is computed.
        added: checkpoints that are read and added to a sum.
        merged: checkpoints that are read and combined element by element.
        epochs: passes over the held-out set with gradients.
    """

    scored: int = 0
    added: float = 0
    merged: int = 0
    epochs: int = 0


def _free(options: Mapping, ingredients: int, sources: int) -> Cost:
    return Cost()


@dataclass(frozen=True)
class Method:
    """One way to make a soup or an ensemble.

    Attributes:
        name: name of the method in the configuration, and of its function.
        about: one line for the table in docs/methods.md.
        options: options with their defaults. ``of`` names the soups that a soup is made from.
            Its default is None, because the configuration has to name them.
        needs_start: whether all ingredients must have been fine-tuned from the same model.
        elementwise: whether the method combines parameters element by element. Then the soup is
            not a weighted sum and cannot be interpolated.
        interpolates: whether the method goes from the start to the one soup that ``of`` names.
            That soup has to be a weighted sum, and the result may be equal to the start.
        cost: function of the options, the number of ingredients and the number of soups in
            ``of``. It returns a `Cost`. Without it, the estimate counts the method as free.
    """

    name: str
    about: str
    options: Mapping = field(default_factory=dict)
    needs_start: bool = False
    elementwise: bool = False
    interpolates: bool = False
    cost: Callable[[Mapping, int, int], Cost] = _free


_SOUPS = [
    Method("uniform", "the average of all ingredients (paper, Recipe 2)"),
    Method(
        "greedy",
        "tries ingredients by falling held-out accuracy and keeps each that does not hurt "
        "(paper, Recipe 1)",
        ACCEPT,
        cost=lambda options, n, sources: Cost(n - 1, 2 * n),
    ),
    Method(
        "greedy_random",
        "the greedy rule in random orders; its row holds means over orders, with `_sd` columns",
        {"orders": 3, "seed": 0, **ACCEPT},
        cost=lambda options, n, sources: Cost(n - 1, 2 * n),
    ),
    Method(
        "greedy_pruned",
        "the greedy soup, from which ingredients are removed again where that does not hurt",
        ACCEPT,
        # Each soup without one ingredient needs a sum of its own.
        cost=lambda options, n, sources: Cost(2 * (n - 1), 2 * n + n * (n - 1) / 2),
    ),
    Method(
        "learned",
        "softmax coefficients and a temperature, fitted by gradient steps on the held-out set",
        {
            "groups": "model",
            "lr": 0.05,
            "epochs": 5,
            "batch_size": 128,
            "seed": 0,
            "memory_gb": 4,
        },
        cost=lambda options, n, sources: Cost(epochs=options["epochs"]),
    ),
    Method(
        "wise_ft",
        "a soup, or the best individual model, interpolated with its start",
        {"of": None, "alphas": ALPHAS},
        needs_start=True,
        interpolates=True,
        cost=lambda options, n, sources: _along_a_line(options["alphas"], n),
    ),
    Method(
        "best_of",
        "the best of several soups on the held-out set",
        {"of": None},
        cost=lambda options, n, sources: Cost(sources, sources * n),
    ),
    Method(
        "model_stock",
        "per tensor, from the start towards the average, by the angle between ingredients "
        "([Jang et al., 2024](https://arxiv.org/abs/2403.19522))",
        needs_start=True,
        cost=lambda options, n, sources: Cost(added=n),
    ),
    Method(
        "task_arithmetic",
        "the start plus a multiple of the mean change "
        "([Ilharco et al., 2023](https://arxiv.org/abs/2212.04089))",
        {"scales": SCALES},
        needs_start=True,
        cost=lambda options, n, sources: _along_a_line(options["scales"], n),
    ),
    Method(
        "ties",
        "trims small changes, elects a sign, and averages the changes that agree "
        "([Yadav et al., 2023](https://arxiv.org/abs/2306.01708))",
        {"density": 0.2, "scales": SCALES},
        needs_start=True,
        elementwise=True,
        cost=lambda options, n, sources: Cost(
            len(options["scales"]), len(options["scales"]), n + 1
        ),
    ),
    Method("median", "the median of each parameter", elementwise=True),
    Method(
        "trimmed_mean",
        "the mean of each parameter without a share `trim` of the ingredients at either end",
        {"trim": 0.2},
        elementwise=True,
    ),
]
_ENSEMBLES = [
    Method("uniform", "the average over all ingredients", {"average": "logits"}),
    Method(
        "greedy",
        "the greedy rule, applied to averages of logits instead of weights",
        {"average": "logits", **ACCEPT},
    ),
    Method(
        "members",
        "the average over the ingredients of a soup",
        {"of": None, "average": "logits"},
    ),
]


def _along_a_line(amounts: Sequence[float], ingredients: int) -> Cost:
    return Cost(len(amounts), ingredients + len(amounts))


SOUP_METHODS: dict[str, Method] = {method.name: method for method in _SOUPS}
ENSEMBLE_METHODS: dict[str, Method] = {method.name: method for method in _ENSEMBLES}
SECTIONS = {"soups": SOUP_METHODS, "ensembles": ENSEMBLE_METHODS}

# Allowed values of options, as JSON schema. An option that is not listed may have any value of
# its default's type.
_COUNT = {"type": "integer", "minimum": 1}
_NAMES = {
    "oneOf": [
        {"type": "string"},
        {"type": "array", "minItems": 1, "items": {"type": "string"}},
    ]
}
_NUMBERS = {"type": "array", "minItems": 1, "items": {"type": "number"}}
LIMITS: dict[str, dict] = {
    "variants": {"type": "array", "minItems": 1, "items": {"type": "string"}},
    "query": {"type": ["string", "null"]},
    "of": _NAMES,
    "orders": _COUNT,
    "seed": {"type": "integer", "minimum": 0},
    "groups": {"enum": ["model", "block", "tensor"]},
    "lr": {"type": "number", "exclusiveMinimum": 0},
    "epochs": _COUNT,
    "batch_size": _COUNT,
    "memory_gb": {"type": "number", "minimum": 0},
    "alphas": _NUMBERS,
    "scales": _NUMBERS,
    "density": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
    "trim": {"type": "number", "minimum": 0, "exclusiveMaximum": 0.5},
    "average": {"enum": ["logits", "probabilities"]},
    "accept": {"enum": ["at_least", "better"]},
    "recalibrate": {"type": ["integer", "null"], "minimum": 0},
}
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def _like(default) -> dict:
    """The JSON schema of an option that is not in `LIMITS`; an option without default takes any."""
    return {} if default is None else {"type": _TYPES[type(default)]}


def schema(section: str) -> dict:
    """The JSON schema of one entry of the section ``soups`` or ``ensembles``.

    The schema accepts the options of all methods. `catalog` checks the options of each method.
    """
    methods = SECTIONS[section]
    options = {name: value for method in methods.values() for name, value in method.options.items()}
    properties = {
        name: LIMITS.get(name) or _like(default)
        for name, default in {
            **POOL,
            **(RECALIBRATE if section == "soups" else {}),
            **options,
        }.items()
    }
    return {
        "type": ["object", "null"],
        "additionalProperties": False,
        "required": ["method"],
        "properties": {"method": {"enum": list(methods)}, **properties},
    }
