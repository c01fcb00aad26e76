"""The soups and ensembles of a configuration: checked, with defaults, one id per recipe.

Read while the workflow is parsed, so free of heavy imports. What each method does stands
in `methods` and `ensembles`; this module knows their options.
"""

from collections.abc import Iterable, Mapping, Sequence

from soups.errors import UserError

ALPHAS = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
SCALES = [0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0]

# method: its options and their defaults. `of` names soups whose recipes it starts from.
SOUP_METHODS: dict[str, dict] = {
    "uniform": {},
    "greedy": {},
    "greedy_random": {"orders": 3, "seed": 0},
    "greedy_pruned": {},
    "learned": {
        "groups": "model",
        "lr": 0.05,
        "epochs": 5,
        "batch_size": 128,
        "seed": 0,
        "memory_gb": 4,
    },
    "wise_ft": {"of": None, "alphas": ALPHAS},
    "best_of": {"of": None},
    "model_stock": {},
    "task_arithmetic": {"scales": SCALES},
    "ties": {"density": 0.2, "scales": SCALES},
    "median": {},
    "trimmed_mean": {"trim": 0.2},
}
ENSEMBLE_METHODS: dict[str, dict] = {
    "uniform": {"average": "logits"},
    "greedy": {"average": "logits"},
    "members": {"of": None, "average": "logits"},
}
# Which ingredients: variants of the sweep's rows, and a query on their hyperparameters.
POOL = {"variants": ["base"], "query": None}

# What `of` may name besides a soup: the ingredient with the best held-out accuracy.
BEST = "best_individual"


def soups(settings: Mapping[str, Mapping | None], pool) -> dict[str, dict]:
    """Every recipe the configuration asks for.

    Args:
        settings: the ``soups`` section: name to method and options, or to null.
        pool: ``pool(variants, query, key)`` returns ingredient ids, see `sweep.pool`.

    Returns:
        soup id to ``row`` (the name in the methods table), ``method``, ``options``,
        ``ingredients`` and ``of`` (ids of soups it needs). A method with ``orders`` has
        one id for each order.

    Raises:
        UserError: for an option the method does not have, or soups that need each other.
    """
    chosen = _ordered(settings, SOUP_METHODS)
    if not chosen:
        raise UserError("soups has none that is not null, expected at least one")
    out = {}
    for name, spec in chosen.items():
        entry = _entry(f"soups.{name}", spec, SOUP_METHODS, pool)
        entry["row"] = name
        for source in entry["of"]:
            _check_source(f"soups.{name}.of", source, chosen, {name})
        orders = entry["options"].pop("orders", None)
        if orders is None:
            out[name] = entry
        else:
            for order in range(orders):
                options = entry["options"] | {"order": order}
                if f"{name}_{order}" in chosen:
                    raise UserError(f"soups.{name}_{order} is also an order of soups.{name}")
                out[f"{name}_{order}"] = entry | {"options": options}
    for entry in out.values():
        entry["ingredients"] = _union(entry, out)
    return out


def ensembles(settings: Mapping[str, Mapping | None], made: Mapping[str, dict], pool) -> dict:
    """Every ensemble the configuration asks for, as `soups`; ``of`` names soups in ``made``."""
    out = {}
    for name, spec in _ordered(settings, ENSEMBLE_METHODS).items():
        key = f"ensembles.{name}"
        if name in made or name in {entry["row"] for entry in made.values()}:
            raise UserError(f"{key}: a soup is called so too, expected another name")
        out[name] = _entry(key, spec, ENSEMBLE_METHODS, pool) | {"row": name}
        for source in out[name]["of"]:
            _check_source(f"{key}.of", source, {n: {} for n in made}, set())
        out[name]["ingredients"] = _union(out[name], made)
    return out


def _ordered(settings: Mapping[str, Mapping | None], methods: Mapping[str, dict]) -> dict:
    """What is not switched off, method by method: overlays put their entries first.

    Of one method, the entry called like it leads; the others stay in the order given.
    """
    order = list(methods)
    chosen = {name: spec for name, spec in settings.items() if spec is not None}
    return dict(
        sorted(chosen.items(), key=lambda e: (order.index(e[1]["method"]), e[0] != e[1]["method"]))
    )


def check_names(taken: Iterable[str], *made: Mapping[str, dict]) -> None:
    """Every model needs an id of its own: ingredients, starting points, soups, ensembles.

    Raises:
        UserError: naming a soup or ensemble called like another model or a row of the tables.
    """
    taken = {*taken, BEST, "second_best", "oracle"}
    for entries in made:
        for name, entry in entries.items():
            if {name, entry["row"]} & taken:
                raise UserError(f"{name!r} is the id of another model, expected another name")


def curve_ends(
    of: Sequence[str], settings: Mapping[str, Mapping | None], made: Mapping[str, dict]
) -> list[str]:
    """Where the lines of ``curves.wise_ft`` lead: all of ``of`` but soups that are switched off.

    Raises:
        UserError: for a name nothing has.
    """
    for name in of:
        if name != BEST and name not in made and settings.get(name, ...) is not None:
            names = ", ".join([BEST, *made])
            raise UserError(f"curves.wise_ft.of has {name!r}, expected among {names}")
    return [name for name in of if name == BEST or name in made]


def _entry(key: str, spec: Mapping, methods: Mapping[str, dict], pool) -> dict:
    defaults = methods[spec["method"]]
    given = {name: value for name, value in spec.items() if name != "method"}
    for option in given:
        if option not in defaults and option not in POOL:
            options = ", ".join([*defaults, *POOL])
            raise UserError(
                f"{key}.{option}: not an option of method {spec['method']!r}, expected {options}"
            )
    both = POOL | defaults | given
    ingredients = pool(both.pop("variants"), both.pop("query"), key)
    of = both.pop("of", [])
    if of is None:
        raise UserError(f"{key}.of is missing, expected the name of a soup")
    of = [of] if isinstance(of, str) else list(of)
    return {"method": spec["method"], "options": both, "ingredients": ingredients, "of": of}


def _union(entry: Mapping, made: Mapping[str, dict]) -> list[str]:
    """A soup made of others may hold whatever they may hold."""
    sources = [made[name] for name in entry["of"] if name != BEST]
    if not sources:
        return entry["ingredients"]
    return list(dict.fromkeys(name for source in sources for name in _union(source, made)))


def _check_source(key: str, source: str, known: Mapping[str, Mapping], path: set[str]) -> None:
    if source == BEST:
        return
    if source not in known or known[source].get("method") == "greedy_random":
        names = [BEST, *(n for n in known if known[n].get("method") != "greedy_random")]
        raise UserError(f"{key} is {source!r}, expected one of {', '.join(names)}")
    if source in path:
        raise UserError(f"{key} is {source!r}, which needs this soup itself")
    further = known[source].get("of") or []
    for name in [further] if isinstance(further, str) else further:
        _check_source(f"soups.{source}.of", name, known, path | {source})
