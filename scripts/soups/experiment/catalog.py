"""The soups and ensembles of a configuration: checked, with defaults, one id per recipe.

This module is read while the workflow is parsed, so it imports nothing heavy. The methods and
their options stand in `registry`.
"""

from collections.abc import Iterable, Mapping, Sequence

from soups.errors import UserError
from soups.experiment.assignment import sources
from soups.experiment.registry import ENSEMBLE_METHODS, POOL, SOUP_METHODS, Method
from soups.roles import BEST


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
        if SOUP_METHODS[entry["method"]].interpolates:
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
            # What is interpolated with its start may be the start itself, which is no member.
            if source not in made or _interpolated(source, made):
                known = [n for n in made if not _interpolated(n, made)]
                raise UserError(
                    f"{key}.of is {source!r}, expected one of {', '.join(known)}, or null for {key}"
                )
        out[name] = entry | {"ingredients": _union(entry, made)}
    return out


def _ordered(settings: Mapping[str, Mapping | None], methods: Mapping[str, Method]) -> dict:
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


def _entry(key: str, spec: Mapping, methods: Mapping[str, Method], pool) -> dict:
    method = methods[spec["method"]]
    defaults = method.options
    given = {name: value for name, value in spec.items() if name != "method"}
    for option in given:
        if option not in defaults and option not in POOL:
            options = ", ".join([*defaults, *POOL])
            raise UserError(
                f"{key}.{option} is not an option of {method.name!r}, expected {options}; an entry "
                "of config.yaml keeps its options, so give another method another name"
            )
    both = {**POOL, **defaults, **given}
    ingredients = pool(both.pop("variants"), both.pop("query"), key)
    of = both.pop("of", [])
    if of is None:
        raise UserError(f"{key}.of is missing, expected the name of a soup")
    of = [of] if isinstance(of, str) else list(of)
    if method.interpolates and len(of) != 1:
        raise UserError(f"{key}.of is {of}, expected one name")
    if of and BEST not in of and (useless := [name for name in POOL if name in given]):
        raise UserError(
            f"{key}.{useless[0]} is {given[useless[0]]!r}, expected none: its ingredients are "
            f"those of {', '.join(of)}"
        )
    return {"method": method.name, "options": both, "pool": ingredients, "of": of}


def _check_source(key: str, source: str, settings: Mapping, path: set[str]) -> None:
    """A soup that ``of`` names is there, is one recipe, and does not need the one that asks."""
    if source == BEST:
        return
    spec = settings.get(source)
    if source in settings and spec is None:
        raise UserError(f"{key}.of is {source!r}, which is switched off; set {key} to null too")
    if spec is None or _is_several(spec):
        known = (n for n, s in settings.items() if s and not _is_several(s))
        names = ", ".join([BEST, *(n for n in known if n not in path)])
        raise UserError(f"{key}.of is {source!r}, expected one of {names}")
    if source in path:
        raise UserError(f"{key}.of is {source!r}, which needs this soup itself")
    for name in sources(spec):
        _check_source(f"soups.{source}", name, settings, path | {source})


def _is_several(spec: Mapping) -> bool:
    """Whether a row is a mean over several soups, in several orders."""
    return "orders" in SOUP_METHODS[spec["method"]].options


def _check_line(key: str, of: Sequence[str], chosen: Mapping[str, Mapping]) -> None:
    for name in of:
        if name == BEST:
            continue
        if SOUP_METHODS[chosen[name]["method"]].elementwise:
            raise UserError(
                f"{key}.of leads to {name!r}, which is no weighted sum of its ingredients "
                f"({chosen[name]['method']}), expected one that is"
            )
        _check_line(key, sources(chosen[name]), chosen)


def _methods(name: str, made: Mapping[str, dict]) -> set[str]:
    """The method of a soup and of those it is made from."""
    further = [_methods(source, made) for source in made[name]["of"] if source != BEST]
    return {made[name]["method"]}.union(*further)


def _interpolated(name: str, made: Mapping[str, dict]) -> bool:
    return any(SOUP_METHODS[method].interpolates for method in _methods(name, made))


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
    methods = sorted(name for name in methods if SOUP_METHODS[name].needs_start)
    if len(found) > 1 and methods:
        raise UserError(
            f"soups.{entry['row']} is made by {methods[0]} and holds models fine-tuned from "
            f"{' and '.join(found[:2])}, expected one start; choose by variants or query, or "
            "switch it off with null"
        )
    return found[0] if len(found) == 1 else None
