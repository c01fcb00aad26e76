"""Find the row of the methods table that plays each role, see `soups.roles`."""

from collections.abc import Iterable, Mapping

from soups.errors import UserError
from soups.experiment.registry import POOL, SECTIONS
from soups.experiment.schema import hint
from soups.roles import BEST, ROLES, Role

Section = Mapping[str, Mapping | None]  # row to method and options, or to null


def assign(sections: Mapping[str, Section], chosen: Mapping[str, str | None]) -> dict[str, str]:
    """Role to the row that plays it, without roles that no row plays.

    A row in the ``roles`` section always plays its role. Otherwise the row must have the role's
    method and options, and it is chosen in this order:

    1. the row with the role's name, if it is made of the whole sweep;
    2. the first row that is made of the whole sweep;
    3. the row with the role's name, if it is made of a part of the sweep or of variants.

    Args:
        sections: the sections ``soups`` and ``ensembles``.
        chosen: the ``roles`` section, role to row.

    Raises:
        UserError: for an unknown role, or a row that does not exist.
    """
    known = [role.name for role in ROLES if role.section]
    for role in chosen:
        if role not in known:
            raise UserError(f"config key roles.{role} is unknown{hint(role, known)}")
    rows: dict[str, str] = {}
    for role in ROLES:
        if not role.section:
            continue
        section = {name: spec for name, spec in sections[role.section].items() if spec is not None}
        if row := chosen.get(role.name):
            _check_chosen(role, row, section)
            rows[role.name] = row
            continue
        asked = with_rows(section, sections["soups"], rows, chosen)
        players = [name for name, spec in asked.items() if _plays(role, name, spec, rows)]
        whole = [name for name in players if is_of_the_sweep(section[name])]
        if role.name in players and (role.name in whole or not whole):
            rows[role.name] = role.name
        elif whole:
            rows[role.name] = whole[0]
    return rows


def _check_chosen(role: Role, row: str, section: Section) -> None:
    """Refuse a row that does not exist, or whose method cannot play the role.

    Claims and tables read what the method of a role leaves, such as the trace of a greedy soup.
    """
    fitting = [name for name, spec in section.items() if role.method in (None, spec["method"])]
    if row not in fitting:
        names = f"one of {', '.join(fitting)}" if fitting else "null"
        method = f" with the method {role.method}" if role.method else ""
        raise UserError(
            f"roles.{role.name} is {row!r}, which is not a row of {role.section}{method}, expected "
            f"{names}"
        )


def is_of_the_sweep(spec: Mapping) -> bool:
    """Whether a row is made of the whole sweep, not of a part of it or of variants."""
    return all(spec.get(key, default) == default for key, default in POOL.items())


def _plays(role: Role, name: str, spec: Mapping, rows: Mapping[str, str]) -> bool:
    if role.method is None:
        return name == role.name
    if spec["method"] != role.method:
        return False
    if role.of and sources(spec) != [rows.get(role.of)]:
        return False
    options = {**SECTIONS[role.section][role.method].options, **spec}
    return all(options[key] == value for key, value in role.options.items())


def sources(spec: Mapping) -> list[str]:
    """The names in the option ``of``, as a list."""
    of = spec.get("of") or []
    return [of] if isinstance(of, str) else list(of)


def row_of(
    name: str, made: Section, roles: Mapping[str, str], chosen: Mapping[str, str | None]
) -> str:
    """The row that a name stands for.

    A role that the ``roles`` section assigns means the row there. Otherwise the name is that of a
    row, or else of a role.

    Args:
        name: name of a row or of a role.
        made: rows that the configuration makes.
        roles, chosen: see `assign`.
    """
    if chosen.get(name):
        return chosen[name]
    if name == BEST or made.get(name) is not None:
        return name
    return roles.get(name, name)


def rows_of(names: Iterable[str], *where) -> list[str]:
    """The rows that some names stand for, without repetitions; ``where`` is as in `row_of`."""
    return list(dict.fromkeys(row_of(name, *where) for name in names))


def with_rows(
    section: Section, made: Section, roles: Mapping[str, str], chosen: Mapping[str, str | None]
) -> dict:
    """A section in which the names of roles in ``of`` are replaced by rows, see `row_of`."""
    out = {}
    for name, spec in section.items():
        if spec and "of" in spec and spec["of"] is not None:
            of = [row_of(source, made, roles, chosen) for source in sources(spec)]
            spec = {**spec, "of": of[0] if isinstance(spec["of"], str) else of}
        out[name] = spec
    return out
