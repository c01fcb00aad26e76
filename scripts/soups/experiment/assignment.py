"""Which row of the methods table plays which role; see `soups.roles`."""

from collections.abc import Mapping

from soups.errors import UserError, near
from soups.experiment.registry import POOL, SECTIONS
from soups.roles import BEST, ROLES, Role

Section = Mapping[str, Mapping | None]  # row to method and options, or to null


def assign(sections: Mapping[str, Section], chosen: Mapping[str, str | None]) -> dict[str, str]:
    """Role to the row that plays it; roles that no row plays are left out.

    Several rows may have the method and options of a role. A row that is made of the whole sweep
    comes before one of a part of it, which only plays a role of its own name; then the row of the
    role's name comes first, and then the order of the configuration.

    Args:
        sections: ``soups`` and ``ensembles`` of the configuration.
        chosen: the ``roles`` section: role to row, which wins over method and options.

    Raises:
        UserError: for a role that does not exist, or a row that is not made.
    """
    known = [role.name for role in ROLES if role.section]
    for role in chosen:
        if role not in known:
            hint = near(role, known) or f", expected one of {', '.join(known)}"
            raise UserError(f"config key roles.{role} is unknown{hint}")
    rows: dict[str, str] = {}
    for role in ROLES:
        if not role.section:
            continue
        section = {name: spec for name, spec in sections[role.section].items() if spec is not None}
        if row := chosen.get(role.name):
            if row not in section:
                names = ", ".join(section) or "none, for there are none"
                raise UserError(
                    f"roles.{role.name} is {row!r}, expected a row of {role.section}: {names}"
                )
            rows[role.name] = row
            continue
        players = [name for name, spec in section.items() if _plays(role, name, spec, rows)]
        whole = [name for name in players if _is_of_the_sweep(section[name])]
        if role.name in players and (role.name in whole or not whole):
            rows[role.name] = role.name
        elif whole:
            rows[role.name] = whole[0]
    return rows


def _is_of_the_sweep(spec: Mapping) -> bool:
    """Whether a row is made of the whole sweep, and not of a part of it or of variants."""
    return all(spec.get(key, default) == default for key, default in POOL.items())


def _plays(role: Role, name: str, spec: Mapping, rows: Mapping[str, str]) -> bool:
    if role.method is None:
        return name == role.name
    if spec["method"] != role.method:
        return False
    if role.of and sources(spec) not in ([role.of], [rows.get(role.of)]):
        return False
    options = {**SECTIONS[role.section][role.method].options, **spec}
    return all(options[key] == value for key, value in role.options.items())


def sources(spec: Mapping) -> list[str]:
    """What ``of`` names."""
    of = spec.get("of") or []
    return [of] if isinstance(of, str) else list(of)


def row_of(name: str, made: Section, roles: Mapping[str, str]) -> str:
    """The row that a name in the configuration means: its own, or else that of the role.

    Args:
        name: of a row or of a role.
        made: sections in which the name may be a row.
        roles: see `assign`.
    """
    if name == BEST or made.get(name) is not None:
        return name
    return roles.get(name, name)


def with_rows(section: Section, made: Section, roles: Mapping[str, str]) -> dict:
    """A section whose ``of`` name rows, where they named roles."""
    out = {}
    for name, spec in section.items():
        if spec and "of" in spec and spec["of"] is not None:
            of = [row_of(source, made, roles) for source in sources(spec)]
            spec = {**spec, "of": of[0] if isinstance(spec["of"], str) else of}
        out[name] = spec
    return out
