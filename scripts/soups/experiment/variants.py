"""All models of an experiment: the rows of the sweep, their variants, and their starts.

A variant trains rows of the sweep again with some hyperparameters changed.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from soups.errors import UserError, brief
from soups.experiment.found import find
from soups.experiment.sweep import check_different, draw, ready_made
from soups.hyperparameters import START, checked, without_newer, without_unused
from soups.roles import BASE


@dataclass(frozen=True)
class Sweep:
    """All models that are fine-tuned here, or that are imported ready-made.

    Attributes:
        base: id to hyperparameters, for the sweep itself, see `sweep.draw`.
        rows: id to hyperparameters, for all models. Those of ``base`` come first, see `vary`.
        origin: id to the row of ``base`` that the model comes from, and the name of its variant.
        origins: id to the model that the fine-tuning starts from (θ₀), see `origins`.
        variants: names of all variants, with those that are switched off.
        files: id to the file or folder of a ready-made model, if ``sweep.kind`` is ``files``.
    """

    base: dict[str, dict]
    rows: dict[str, dict]
    origin: dict[str, tuple[str, str]]
    origins: dict[str, str]
    variants: list[str]
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, section: Mapping, defaults: dict, starts: list[str]) -> "Sweep":
        """Work out the models that a configuration fine-tunes.

        Args:
            section: the ``sweep`` section.
            defaults: the ``finetune`` section.
            starts: see `origins`.

        Raises:
            UserError: for an invalid sweep or variant.
        """
        base = draw(section, defaults)
        rows, origin = vary(base, section["variants"])
        check_different(base)
        rows = without_unused(rows)
        base = {name: rows[name] for name in base}
        return cls(base, rows, origin, origins(rows, starts), [BASE, *section["variants"]])

    @classmethod
    def given(
        cls, section: Mapping, starts: Sequence[str], files: str | Sequence[str] | None
    ) -> "Sweep":
        """Work out the ready-made models of a configuration.

        Args:
            section: the ``sweep`` section.
            starts: name of the start that the models were fine-tuned from, or nothing. Without it,
                each model gets a start of its own.
            files: patterns of files, see `found.find`, if ``sweep.kind`` is ``files``.

        Raises:
            UserError: for an invalid sweep, or a pattern that finds no file.
        """
        found = find(files) if section["kind"] == "files" else {}
        rows = ready_made(section, found)
        of_rows = {name: starts[0] if starts else f"an unknown start ({name})" for name in rows}
        origin = {name: (name, BASE) for name in rows}
        return cls(rows, rows, origin, of_rows, [BASE, *section["variants"]], found)

    @property
    def varies(self) -> bool:
        """Whether a column of numbers, apart from the seed, differs within the sweep itself."""
        rows = list(self.base.values())
        return any(
            len({row[name] for row in rows} - {None}) > 1
            and all(isinstance(row[name], int | float | None) for row in rows)
            for name in rows[0]
            if name != "seed"
        )

    def trained(self, model: str) -> dict:
        """The hyperparameters of a model for its training, see `hyperparameters.NEWER`."""
        return without_newer(self.rows[model])

    def pool(self, names: list[str], query: str | None, key: str) -> list[str]:
        """Models of some variants that satisfy a query, see `pool`."""
        return pool(self.rows, self.origin, names, query, key)

    def starts_of(self, models: Iterable[str]) -> dict[str, str]:
        """Model to its start (θ₀), for some models.

        Rules use this and not ``origins``, so that a change of other models does not rerun them.
        """
        return {model: self.origins[model] for model in models}

    def started(self, models: Iterable[str]) -> list[str]:
        """Names of the starts of some models."""
        return sorted(set(self.starts_of(models).values()))


def vary(rows: dict[str, dict], variants: dict) -> tuple[dict[str, dict], dict[str, tuple]]:
    """Add the variants to the rows of the sweep.

    Equal rows of one variant are trained once.

    Args:
        rows: see `sweep.draw`.
        variants: the ``sweep.variants`` section. An entry has ``set``, the hyperparameters that
            differ, and ``first``, the number of rows (by default all). An entry may be null.

    Returns:
        all rows, those of ``rows`` first; and for each id, the row it comes from and the name of
        its variant, which is ``base`` for the sweep itself.

    Raises:
        UserError: for an invalid variant, or a sweep that is distilled from itself.
    """
    for name, row in rows.items():
        if row.get("distill"):
            raise UserError(
                f"sweep: {name} has distill = {row['distill']}, expected 0 outside "
                "sweep.variants because the sweep itself is the teacher"
            )
    out, origin = dict(rows), {name: (name, BASE) for name in rows}
    for variant, spec in variants.items():
        if spec is None:
            continue
        if variant == BASE:
            raise UserError(
                f"sweep.variants has the name {BASE!r}, expected another one because the sweep "
                "itself has this name"
            )
        made: list[dict] = []
        for name in list(rows)[: spec.get("first")]:
            key = f"{name}_{variant}"
            if key in out:
                raise UserError(
                    f"sweep.variants.{variant} makes a model {key!r}, expected another name for "
                    "the variant because the sweep has a row of this name"
                )
            row = checked(key, rows[name] | spec["set"])
            if row in made:
                continue  # the rows differed only in hyperparameters that `set` replaces
            made.append(row)
            out[key], origin[key] = row, (name, variant)
    return out, origin


def origins(rows: dict[str, dict], starts: list[str]) -> dict[str, str]:
    """The model that the fine-tuning of each row starts from.

    Args:
        rows: see `vary`.
        starts: names of the starts of this experiment, without the head of zeros.

    Raises:
        UserError: if a row starts from the zero-shot head of a model without a text tower.
    """
    for name, row in rows.items():
        if row["start"] == "zeroshot" and "zeroshot" not in starts:
            raise UserError(
                f"sweep: {name} has start = 'zeroshot', expected 'probe' or 'new' because the "
                "pre-trained model has no text tower"
            )
    return {name: START[row["start"]] for name, row in rows.items()}


def pairs(
    rows: dict[str, dict], starts: dict[str, str], most: int | None = None, single: bool = False
) -> list[dict]:
    """Pairs of models that were fine-tuned from the same start.

    Args:
        rows: model id to hyperparameters.
        starts: model id to its start.
        most: largest number of pairs. If there are more, a random part is chosen, which is the
            same on every call.
        single: whether to return only pairs that differ in one hyperparameter.

    Returns:
        one entry per pair: ``model_1`` and ``model_2``; ``differ``, the hyperparameter in which
        they differ, ``several``, or ``unknown`` if no known one differs; and their learning rates
        ``lr_1`` <= ``lr_2``, or None for an unknown rate.
    """
    # A model with 0 epochs is equal to its start, so it has no direction from there.
    trained = [name for name, row in rows.items() if row.get("epochs") != 0]
    found = [
        pair for pair in itertools.combinations(trained, 2) if starts[pair[0]] == starts[pair[1]]
    ]
    if single:
        found = [pair for pair in found if len(_differing(rows, pair)) == 1]
    # A thousand models have half a million pairs, so only those that are chosen get an entry.
    if most is not None and len(found) > most:
        chosen = np.random.default_rng(0).permutation(len(found))[:most]
        found = [found[i] for i in sorted(chosen)]
    return [_entry(rows, pair) for pair in found]


def _differing(rows: dict[str, dict], pair: tuple[str, str]) -> list[str]:
    """Names of the hyperparameters in which two models differ."""
    one, two = (rows[name] for name in pair)
    return [name for name in one if one[name] != two[name]]


def _entry(rows: dict[str, dict], pair: tuple[str, str]) -> dict:
    """The entry of a pair, see `pairs`."""
    differ = _differing(rows, pair)
    differ = (differ[0] if len(differ) == 1 else "several") if differ else "unknown"
    rate = {name: rate_of(rows[name]) for name in pair}
    one, two = sorted(pair, key=lambda name: rate[name] or 0)
    lr = {"lr_1": rate[one], "lr_2": rate[two]}
    return {"model_1": one, "model_2": two, "differ": differ} | lr


def rate_of(row: Mapping) -> float | None:
    """The learning rate in a row, or None if it is unknown."""
    rate = row.get("lr")
    return rate if isinstance(rate, int | float) else None


def for_curves(curves: dict) -> set[str]:
    """Names of the variants in the ``curves`` section, without the sweep itself."""
    parts = [curves[name] for name in ("paths", "landscape", "tasks")]
    parts += [spec for spec in curves["slices"].values() if spec]
    return {name for part in parts for name in part["variants"]} - {BASE}


def pool(
    rows: dict[str, dict],
    origin: dict[str, tuple],
    variants: list[str],
    query: str | None,
    key: str,
) -> list[str]:
    """Ingredients of some variants that satisfy a query.

    Args:
        rows, origin: see `vary`.
        variants: names of variants; ``base`` is the sweep itself.
        query: a condition as in `pandas.DataFrame.query`, on hyperparameters, ``model`` (the
            ingredient's id) and ``row`` (the number of its row in the sweep, from 0); None for
            all ingredients of the variants.
        key: config key of the variants and the query, for messages.

    Raises:
        UserError: for an unknown variant, an invalid query, or a query that no ingredient
            satisfies.
    """
    known = sorted({variant for _, variant in origin.values()})
    if unknown := [name for name in variants if name not in known]:
        raise UserError(f"{key}.variants has {unknown[0]!r}, expected one of {', '.join(known)}")
    names = [name for name in rows if origin[name][1] in variants]
    if query is not None:
        names = _where(rows, origin, names, query, key)
    if not names:
        raise UserError(f"{key}.query is {query!r}, expected a condition that an ingredient meets")
    return names


def _where(rows, origin, names: list[str], query: str, key: str) -> list[str]:
    import pandas as pd  # this import takes half a second, and most configurations need no query

    order = {name: i for i, name in enumerate(n for n in rows if origin[n][1] == BASE)}
    table = pd.DataFrame(
        {"model": name, "row": order[origin[name][0]], **rows[name]} for name in names
    )
    expected = f"expected a condition on {', '.join(table)}"
    try:
        holds = table.eval(query, engine="python")
    except Exception as error:  # an invalid query raises errors of many types
        reason = brief(error)
        raise UserError(
            f"{key}.query is {query!r}, which cannot be read ({reason}), {expected}"
        ) from None
    if not pd.api.types.is_bool_dtype(getattr(holds, "dtype", object)):
        raise UserError(f"{key}.query is {query!r}, which is not true or false, {expected}")
    return table["model"][holds].tolist()
