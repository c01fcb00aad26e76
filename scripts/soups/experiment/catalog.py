"""The soups and ensembles of a configuration: checked, with defaults, one id per recipe.

Read while the workflow is parsed, so free of heavy imports. What each method does stands
in `methods` and `ensembles`; this module knows their options.
"""

from collections.abc import Iterable, Mapping, Sequence

from soups.errors import UserError
from soups.roles import BEST

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

# Element by element, so no weighted sum that could be interpolated.
MERGES = ("ties", "median", "trimmed_mean")
# These ask where the ingredients started from, so all must have started there.
NEED_START = ("wise_ft", "model_stock", "task_arithmetic", "ties")


def soups(settings: Mapping[str, Mapping | None], pool, starts: Mapping[str, str]) -> dict:
    """Every recipe the configuration asks for.

    Args:
        settings: the ``soups`` section: name to method and options, or to null.
        pool: ``pool(variants, query, key)`` returns ingredient ids, see `variants.pool`.
        starts: ingredient to the model it is fine-tuned from.

    Returns:
        soup id to ``row`` (the name in the methods table), ``method``, ``options``, ``pool``
        (the ingredients it asks for), ``of`` (soups it is made from), ``ingredients`` (its
        pool or, with ``of``, whatever those may hold) and ``start`` (where these were
        fine-tuned from). A method with ``orders`` has one id for each order.

    Raises:
        UserError: for an option the method does not have, or soups that need each other.
    """
    chosen = _ordered(settings, SOUP_METHODS)
    if not chosen:
        raise UserError("soups has none that is not null, expected at least one")
    out = {}
    for name, spec in chosen.items():
        key = f"soups.{name}"
        entry = _entry(key, spec, SOUP_METHODS, pool) | {"row": name}
        for source in entry["of"]:
            _check_source(key, source, settings, {name})
        if entry["method"] == "wise_ft":
            _check_line(key, entry["of"], chosen)
        orders = entry["options"].pop("orders", None)
        if orders is None:
            out[name] = entry
        for order in range(orders or 0):
            options = entry["options"] | {"order": order}
            if f"{name}_{order}" in chosen:
                raise UserError(f"soups.{name}_{order} is also an order of soups.{name}")
            out[f"{name}_{order}"] = entry | {"options": options}
    for entry in out.values():
        entry["ingredients"] = _union(entry, out)
        entry["start"] = _start(entry, starts, out)
    return out


def ensembles(settings: Mapping[str, Mapping | None], made: Mapping[str, dict], pool) -> dict:
    """Every ensemble the configuration asks for, as `soups`; ``of`` names soups in ``made``.

    Raises:
        UserError: for a bad option, a name that is taken, or ``of`` that has no members.
    """
    out = {}
    for name, spec in _ordered(settings, ENSEMBLE_METHODS).items():
        key = f"ensembles.{name}"
        if name in made or name in {entry["row"] for entry in made.values()}:
            raise UserError(f"{key}: a soup is called so too, expected another name")
        entry = _entry(key, spec, ENSEMBLE_METHODS, pool) | {"row": name}
        for source in entry["of"]:
            # At α = 0 nothing but the start is left, which is no member.
            if source not in made or "wise_ft" in _methods(source, made):
                known = [n for n in made if "wise_ft" not in _methods(n, made)]
                raise UserError(
                    f"{key}.of is {source!r}, expected one of {', '.join(known)}, or null for {key}"
                )
        out[name] = entry | {"ingredients": _union(entry, made)}
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


def check_names(models: Iterable[str], **made: Mapping[str, dict]) -> None:
    """Every model needs an id of its own.

    Args:
        models: ids of ingredients, and others that are reserved.
        made: section of the configuration to its entries.

    Raises:
        UserError: naming a soup or ensemble called like another model or a row of the tables.
    """
    taken = set(models)
    for section, entries in made.items():
        for name, entry in entries.items():
            if {name, entry["row"]} & taken:
                raise UserError(
                    f"{section}.{entry['row']}: an ingredient, a starting point or a row of the "
                    f"tables is called {name!r} already, expected another name"
                )


def references(
    names: Sequence[str], settings: Iterable[Mapping[str, Mapping | None]], rows: Iterable[str]
) -> list[str]:
    """Methods that all others are compared with: ``compare_with`` but what is switched off.

    Args:
        names: of rows of the methods table.
        settings: the sections ``soups`` and ``ensembles``.
        rows: the rows there are.

    Raises:
        UserError: for a name nothing has.
    """
    rows = list(dict.fromkeys(rows))
    off = {name for section in settings for name, spec in section.items() if spec is None}
    for name in names:
        if name not in rows and name not in off:
            raise UserError(f"compare_with has {name!r}, expected among {', '.join(rows)}")
    return [name for name in names if name in rows]


def curve_ends(
    of: Sequence[str],
    settings: Mapping[str, Mapping | None],
    made: Mapping[str, dict],
    starts: Iterable[str],
) -> dict[str, str]:
    """Where the lines of ``curves.wise_ft`` lead: all of ``of`` but soups that are switched off.

    Args:
        of: names of soups or `BEST`.
        settings: the ``soups`` section.
        made: see `soups`.
        starts: of the sweep's own ingredients, among which `BEST` is.

    Returns:
        the names, each with the start its line comes from.

    Raises:
        UserError: for a name nothing has, or a soup whose ingredients started apart.
    """
    for name in of:
        if name != BEST and name not in made and settings.get(name, ...) is not None:
            names = ", ".join([BEST, *made])
            raise UserError(f"curves.wise_ft.of has {name!r}, expected among {names}")
    starts = set(starts)
    ends = {name: made[name]["start"] for name in of if name in made}
    if BEST in of:
        ends = {BEST: next(iter(starts)) if len(starts) == 1 else None} | ends
    for name, start in ends.items():
        if start is None:
            raise UserError(f"curves.wise_ft.of has {name!r}, {_APART}")
    return ends


_APART = "whose ingredients are fine-tuned from different starts, expected one start"


def _entry(key: str, spec: Mapping, methods: Mapping[str, dict], pool) -> dict:
    method, defaults = spec["method"], methods[spec["method"]]
    given = {name: value for name, value in spec.items() if name != "method"}
    for option in given:
        if option not in defaults and option not in POOL:
            options = ", ".join([*defaults, *POOL])
            raise UserError(
                f"{key}.{option}: not an option of {method!r}, expected {options}; an option that "
                "config.yaml brings along is avoided by another name"
            )
    both = POOL | defaults | given
    ingredients = pool(both.pop("variants"), both.pop("query"), key)
    of = both.pop("of", [])
    if of is None:
        raise UserError(f"{key}.of is missing, expected the name of a soup")
    of = [of] if isinstance(of, str) else list(of)
    if method == "wise_ft" and len(of) != 1:
        raise UserError(f"{key}.of is {of}, expected one name")
    if of and BEST not in of and (useless := [name for name in POOL if name in given]):
        raise UserError(
            f"{key}.{useless[0]} is {given[useless[0]]!r}, expected none: its ingredients are "
            f"those of {', '.join(of)}"
        )
    return {"method": method, "options": both, "pool": ingredients, "of": of}


def _check_source(key: str, source: str, settings: Mapping, path: set[str]) -> None:
    """A soup that ``of`` names is there, is one recipe, and does not need the one that asks."""
    if source == BEST:
        return
    spec = settings.get(source)
    if source in settings and spec is None:
        raise UserError(f"{key}.of is {source!r}, which is switched off; set {key} to null too")
    if spec is None or spec["method"] == "greedy_random":
        known = (n for n, s in settings.items() if s and s["method"] != "greedy_random")
        names = ", ".join([BEST, *(n for n in known if n not in path)])
        raise UserError(f"{key}.of is {source!r}, expected one of {names}")
    if source in path:
        raise UserError(f"{key}.of is {source!r}, which needs this soup itself")
    for name in _named(spec):
        _check_source(f"soups.{source}", name, settings, path | {source})


def _check_line(key: str, of: Sequence[str], chosen: Mapping[str, Mapping]) -> None:
    for name in of:
        if name == BEST:
            continue
        if chosen[name]["method"] in MERGES:
            raise UserError(
                f"{key}.of leads to {name!r}, which is no weighted sum of its ingredients "
                f"({chosen[name]['method']}), expected one that is"
            )
        _check_line(key, _named(chosen[name]), chosen)


def _named(spec: Mapping) -> list[str]:
    of = spec.get("of") or []
    return [of] if isinstance(of, str) else list(of)


def _methods(name: str, made: Mapping[str, dict]) -> set[str]:
    """The method of a soup and of those it is made from."""
    further = [_methods(source, made) for source in made[name]["of"] if source != BEST]
    return {made[name]["method"]}.union(*further)


def _union(entry: Mapping, made: Mapping[str, dict]) -> list[str]:
    """A soup made of others may hold whatever they may hold."""
    if not entry["of"]:
        return entry["pool"]
    parts = [entry["pool"] if name == BEST else _union(made[name], made) for name in entry["of"]]
    return list(dict.fromkeys(name for part in parts for name in part))


def _start(entry: Mapping, starts: Mapping[str, str], made: Mapping[str, dict]) -> str | None:
    """The one start of all its ingredients, or None."""
    found = sorted({starts[name] for name in entry["ingredients"]})
    methods = {entry["method"]}.union(*(_methods(n, made) for n in entry["of"] if n != BEST))
    if len(found) > 1 and (methods := sorted(methods.intersection(NEED_START))):
        raise UserError(
            f"soups.{entry['row']} is made by {methods[0]} and holds models fine-tuned from "
            f"{' and '.join(found[:2])}, expected one start; choose by variants or query, or "
            "switch it off with null"
        )
    return found[0] if len(found) == 1 else None
