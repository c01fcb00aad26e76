"""Random search: the rows of a sweep, drawn from distributions of hyperparameters.

Every value has a random generator of its own, which depends on the seed of the search, the number
of the row and the name of the hyperparameter. Therefore a longer search keeps its first rows, and
another hyperparameter changes no other value. Two searches with different seeds share no seed of
training, so no model of one is a model of the other.
"""

import contextlib
import re
import zlib
from collections.abc import Iterator, Mapping

import numpy as np

from soups.errors import UserError
from soups.hyperparameters import TEXT, to_number

PARAMETERS = "sweep.random.parameters"
CHOICES = "sweep.random.choices"
MOST = 1000  # rows of a search, a limit that the schema of the configuration has too
_DISTRIBUTION = re.compile(r"(uniform|log_uniform|integer|choice)\((.*)\)(\s+or\s+0)?")


def rows(settings: Mapping) -> dict[str, dict]:
    """Draw the rows of a random search.

    Args:
        settings: the ``sweep.random`` section. A choice draws one of its options with a
            probability in proportion to ``weight``, and then each distribution in its ``set``.

    Returns:
        id to the hyperparameters that the search sets, in order.
    """
    return {name_of(i): _row(settings, i) for i in range(settings["n"])}


def name_of(i: int) -> str:
    """The id of row ``i``."""
    return f"m{i:02d}"


def training_seed(seed: int, i: int) -> int:
    """The seed with which row ``i`` of a search is trained.

    Args:
        seed: the seed of the search.
        i: below `MOST`, so that no two searches share a seed.
    """
    return MOST * seed + i


def _row(settings: Mapping, i: int) -> dict:
    def generator(name: str) -> np.random.Generator:
        return np.random.default_rng([settings["seed"], i, zlib.crc32(name.encode())])

    drawn = dict(settings["parameters"])
    for choice, options in _choices(settings):
        weights = np.array([option.get("weight", 1) for option in options.values()], float)
        share = generator(f"choices.{choice}").random()
        number = np.searchsorted(np.cumsum(weights / weights.sum()), share, side="right")
        drawn |= list(options.values())[min(number, len(options) - 1)]["set"]
    specs = {name: spec for name, spec in drawn.items() if _is_on(spec)}
    return {"seed": training_seed(settings["seed"], i)} | {
        name: _sample(name, spec, generator(name)) for name, spec in specs.items()
    }


def _choices(settings: Mapping) -> Iterator[tuple[str, dict]]:
    """The choices that are not switched off, each with its options that are not."""
    for choice, options in settings["choices"].items():
        if _is_on(options):
            yield choice, {name: option for name, option in options.items() if _is_on(option)}


def _is_on(spec) -> bool:
    return spec not in (None, "null")  # an overlay or --config switches it off with null


def check(settings: Mapping) -> None:
    """Check the distributions of a random search, and that none of them exclude each other.

    Args:
        settings: the ``sweep.random`` section.

    Raises:
        UserError: for an invalid distribution, a choice without options, or a hyperparameter that
            is drawn twice.
    """
    named = {name: PARAMETERS for name, spec in settings["parameters"].items() if _is_on(spec)}
    for name in named:
        _check(name, settings["parameters"][name], PARAMETERS)
    for choice, options in _choices(settings):
        where = f"{CHOICES}.{choice}"
        if not options:
            raise UserError(f"{where} is empty, expected at least one option")
        for option, spec in options.items():
            for name, distribution in spec["set"].items():
                if named.get(name, where) != where:
                    raise UserError(
                        f"{where}.{option} sets {name}, which {named[name]} sets too, expected "
                        "one of them to leave it out"
                    )
                _check(name, distribution, f"{where}.{option}.set")
        named |= {name: where for spec in options.values() for name in spec["set"]}


def _check(name: str, spec, key: str) -> None:
    if isinstance(spec, str):
        parse(name, spec, key)


def parse(name: str, spec: str, key: str = PARAMETERS) -> tuple[str, list[float], bool]:
    """Read a distribution.

    Distributions are text, because Snakemake merges overlays key by key. An overlay replaces text
    as a whole.

    Args:
        name: name of the hyperparameter.
        spec: the distribution. config.yaml explains the forms.
        key: key of the configuration that holds the distribution, for messages.

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
    where = f"{key}.{name} is {spec!r}, expected"
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
