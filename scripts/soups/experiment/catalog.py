"""The soups and ensembles of a configuration, checked and with their defaults.

This module is imported while the workflow is parsed, so it imports no large package. `registry`
has the methods and their options.
"""

from collections.abc import Iterable, Mapping, Sequence

from soups.errors import UserError
from soups.experiment.assignment import is_of_the_sweep, sources
from soups.experiment.registry import (
    ENSEMBLE_METHODS,
    NEWER,
    POOL,
    RECALIBRATE,
    SOUP_METHODS,
    Method,
)
from soups.hyperparameters import START
from soups.roles import BEST, ROLES


def soups(settings: Mapping[str, Mapping | None], pool, starts: Mapping[str, str]) -> dict:
    """Work out the soups of the configuration.

    Args:
        settings: the ``soups`` section: name to method and options, or to null.
        pool: ``pool(variants, query, key)`` returns ingredient ids, see `variants.pool`.
        starts: ingredient to the model that its fine-tuning starts from.

    Returns:
        soup id to an entry. ``row`` is the name in the methods table. ``method`` and ``options``
        are as in the section, with all defaults. ``pool`` has the ingredients that the soup's
        variants and query choose, and ``of`` the soups that it is made from. ``ingredients`` has
        all that it may contain: its pool, or the ingredients of ``of``. ``start`` is the common
        start of the ingredients, or None. A soup with ``orders`` has one id per order.

    Raises:
        UserError: for an option that the method does not have, or soups that need each other.
    """
    chosen = _ordered(settings, SOUP_METHODS)
    if not chosen:
        raise UserError("soups has only null entries, expected at least one soup")
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
                raise UserError(
                    f"soups has the name '{name}_{order}', expected another one because an order "
                    f"of soups.{name} has this name"
                )
            out[f"{name}_{order}"] = entry | {"options": options}
    for entry in out.values():
        entry["ingredients"] = _union(entry, out)
        entry["start"] = _start(entry, starts, out)
    return out


def ensembles(settings: Mapping[str, Mapping | None], made: Mapping[str, dict], pool) -> dict:
    """Work out the ensembles of the configuration.

    Args:
        settings: the ``ensembles`` section.
        made: the soups, see `soups`. ``of`` of an ensemble names one of them.
        pool: see `soups`.

    Returns:
        ensemble id to an entry, see `soups`.

    Raises:
        UserError: for an invalid option, the name of a soup, or an ``of`` without members.
    """
    out = {}
    for name, spec in _ordered(settings, ENSEMBLE_METHODS).items():
        key = f"ensembles.{name}"
        if name in made or name in {entry["row"] for entry in made.values()}:
            raise UserError(
                f"ensembles has the name {name!r}, expected another one because a soup has this "
                "name"
            )
        entry = _entry(key, spec, ENSEMBLE_METHODS, pool) | {"row": name}
        for source in entry["of"]:
            # An interpolation may be equal to the start, and then it has no members.
            if source not in made or _interpolated(source, made):
                known = [n for n in made if not _interpolated(n, made)]
                raise UserError(
                    f"{key}.of is {source!r}, expected one of {', '.join(known)}, or {key}: null"
                )
        out[name] = entry | {"ingredients": _union(entry, made)}
    return out


def _ordered(settings: Mapping[str, Mapping | None], methods: Mapping[str, Method]) -> dict:
    """Entries that are not null, sorted by method, because overlays put their entries first.

    Among entries of one method, the one with the method's name comes first, and then those that
    are made of the whole sweep or have the name of a method's role. The others keep their order.
    """
    order = list(methods)
    usual_names = {role.name for role in ROLES if role.method}

    def place(entry: tuple[str, Mapping]) -> tuple[int, bool, bool]:
        name, spec = entry
        usual = is_of_the_sweep(spec) or name in usual_names
        return order.index(spec["method"]), name != spec["method"], not usual

    return dict(sorted(((n, s) for n, s in settings.items() if s is not None), key=place))


def check_names(models: Iterable[str], **made: Mapping[str, dict]) -> None:
    """Check that soups and ensembles have names of their own.

    Args:
        models: ids of ingredients, and reserved names.
        made: section of the configuration to its entries.

    Raises:
        UserError: if a soup or ensemble has the name of another model or of a row of the tables.
    """
    taken = set(models)
    for section, entries in made.items():
        for name, entry in entries.items():
            if {name, entry["row"]} & taken:
                raise UserError(
                    f"{section} has the name {entry['row']!r}, expected another one because an "
                    f"ingredient, a start or a row of the tables has the name {name!r}"
                )


def references(
    names: Sequence[str], settings: Iterable[Mapping[str, Mapping | None]], rows: Iterable[str]
) -> list[str]:
    """Rows that all methods are compared with: ``compare_with`` without rows set to null.

    Args:
        names: the rows in ``compare_with``.
        settings: the sections ``soups`` and ``ensembles``.
        rows: rows of the methods table.

    Raises:
        UserError: for a name that is not a row.
    """
    rows = list(dict.fromkeys(rows))
    off = {name for section in settings for name, spec in section.items() if spec is None}
    for name in names:
        if name not in rows and name not in off:
            raise UserError(f"compare_with has {name!r}, expected one of {', '.join(rows)}")
    return [name for name in names if name in rows]


def curve_ends(
    of: Sequence[str],
    settings: Mapping[str, Mapping | None],
    made: Mapping[str, dict],
    starts: Iterable[str],
) -> dict[str, str]:
    """The ends of the lines of ``curves.wise_ft``, without soups that are set to null.

    Args:
        of: names of soups, or `BEST`.
        settings: the ``soups`` section.
        made: see `soups`.
        starts: starts of the sweep's own ingredients, of which `BEST` is one.

    Returns:
        end to the start of its line.

    Raises:
        UserError: for an unknown name, or a soup whose ingredients have different starts.
    """
    for name in of:
        if name != BEST and name not in made and settings.get(name, ...) is not None:
            names = ", ".join([BEST, *made])
            raise UserError(f"curves.wise_ft.of has {name!r}, expected one of {names}")
    starts = set(starts)
    ends = {name: made[name]["start"] for name in of if name in made}
    if BEST in of:
        ends = {BEST: next(iter(starts)) if len(starts) == 1 else None} | ends
    for name, start in ends.items():
        if start is None:
            raise UserError(
                f"curves.wise_ft.of has {name!r}, whose ingredients are fine-tuned from different "
                "starts, expected one start"
            )
    return ends


def _entry(key: str, spec: Mapping, methods: Mapping[str, Method], pool) -> dict:
    method = methods[spec["method"]]
    defaults = method.options
    given = {name: value for name, value in spec.items() if name != "method"}
    recalibrate = given.pop("recalibrate", None) if methods is SOUP_METHODS else None
    for option in given:
        if option not in defaults and option not in POOL:
            shared = [*POOL, *(RECALIBRATE if methods is SOUP_METHODS else [])]
            options = ", ".join([*defaults, *shared])
            raise UserError(
                f"{key}.{option} is not an option of {method.name!r}, expected one of {options}; "
                "a row with another method needs another name, because overlays merge options"
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
            f"{key}.{useless[0]} is {given[useless[0]]!r}, expected no such key because the "
            f"ingredients are those of {', '.join(of)}"
        )
    options = {k: v for k, v in both.items() if k not in NEWER or NEWER[k] != v}
    entry = {"method": method.name, "options": options, "pool": ingredients, "of": of}
    return entry if recalibrate is None else entry | {"recalibrate": recalibrate}


def _check_source(key: str, source: str, settings: Mapping, path: set[str]) -> None:
    """Check a soup that ``of`` names: it exists, is one recipe, and needs none of its users.

    Args:
        key: config key of the soup that has ``of``.
        source: the soup that ``of`` names.
        settings: the ``soups`` section.
        path: soups that need this one.
    """
    if source == BEST:
        return
    spec = settings.get(source)
    if source in settings and spec is None:
        raise UserError(f"{key}.of is {source!r}, which is null, expected {key}: null as well")
    if spec is None or _is_several(spec):
        known = (n for n, s in settings.items() if s and not _is_several(s))
        names = ", ".join([BEST, *(n for n in known if n not in path)])
        raise UserError(f"{key}.of is {source!r}, expected one of {names}")
    if source in path:
        raise UserError(
            f"{key}.of is {source!r}, which itself needs this soup, expected another soup"
        )
    for name in sources(spec):
        _check_source(f"soups.{source}", name, settings, path | {source})


def _is_several(spec: Mapping) -> bool:
    """Whether the row of a soup is a mean over several orders."""
    return "orders" in SOUP_METHODS[spec["method"]].options


def _check_line(key: str, of: Sequence[str], chosen: Mapping[str, Mapping]) -> None:
    for name in of:
        if name == BEST:
            continue
        if SOUP_METHODS[chosen[name]["method"]].elementwise:
            raise UserError(
                f"{key}.of leads to {name!r} of the method {chosen[name]['method']!r}, expected a "
                "soup that is a weighted sum of its ingredients"
            )
        _check_line(key, sources(chosen[name]), chosen)


def _methods(name: str, made: Mapping[str, dict]) -> set[str]:
    """Methods of a soup and of the soups it is made from."""
    further = [_methods(source, made) for source in made[name]["of"] if source != BEST]
    return {made[name]["method"]}.union(*further)


def _interpolated(name: str, made: Mapping[str, dict]) -> bool:
    return any(SOUP_METHODS[method].interpolates for method in _methods(name, made))


def _union(entry: Mapping, made: Mapping[str, dict]) -> list[str]:
    """All ingredients that a soup may contain. With ``of``, those of the soups it is made from."""
    if not entry["of"]:
        return entry["pool"]
    parts = [entry["pool"] if name == BEST else _union(made[name], made) for name in entry["of"]]
    return list(dict.fromkeys(name for part in parts for name in part))


def _start(entry: Mapping, starts: Mapping[str, str], made: Mapping[str, dict]) -> str | None:
    """The common start of all ingredients, or None if it is unknown or their starts differ.

    Raises:
        UserError: if the starts differ and the method needs a common one.
    """
    found = sorted({starts[name] for name in entry["ingredients"]})
    methods = {entry["method"]}.union(*(_methods(n, made) for n in entry["of"] if n != BEST))
    methods = sorted(name for name in methods if SOUP_METHODS[name].needs_start)
    if len(found) > 1 and methods:
        raise UserError(
            f"soups.{entry['row']} needs a common start for the method {methods[0]!r} and has "
            f"ingredients from {' and '.join(found[:2])}, expected ingredients from one start, "
            "chosen by variants or query"
        )
    return found[0] if len(found) == 1 and found[0] in START.values() else None
