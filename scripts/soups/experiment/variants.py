"""All models that are fine-tuned: the sweep's rows, the same rows trained in other ways, and
where each of them starts."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from soups.errors import UserError
from soups.experiment.sweep import check_different, draw
from soups.hyperparameters import START, checked
from soups.roles import BASE


@dataclass(frozen=True)
class Sweep:
    """All models that are fine-tuned, or brought in ready-made.

    Attributes:
        base: id to hyperparameters of the sweep itself, see `sweep.draw`.
        rows: the same of all models, those of ``base`` first, see `vary`.
        origin: id to the row of ``base`` it comes from and the name of its variant.
        origins: id to the model it was fine-tuned from (θ₀), see `origins`.
        variants: names of all variants, also of those that are switched off.
    """

    base: dict[str, dict]
    rows: dict[str, dict]
    origin: dict[str, tuple[str, str]]
    origins: dict[str, str]
    variants: list[str]

    @classmethod
    def of(cls, section: Mapping, defaults: dict, starts: list[str], ready_made: bool) -> "Sweep":
        """From the configuration.

        Args:
            section: ``sweep``.
            defaults: the ``finetune`` section.
            starts, ready_made: see `origins`.

        Raises:
            UserError: for a sweep that cannot be trained.
        """
        base = draw(section, defaults)
        rows, origin = vary(base, section["variants"])
        if not ready_made:
            check_different(base)
        return cls(
            base, rows, origin, origins(rows, starts, ready_made), [BASE, *section["variants"]]
        )

    def pool(self, names: list[str], query: str | None, key: str) -> list[str]:
        """Models of some variants for which a query holds, see `pool`."""
        return pool(self.rows, self.origin, names, query, key)

    def starts_of(self, models: Iterable[str]) -> dict[str, str]:
        """θ₀ of some models, by model. A rule asks for its own, so that others do not rerun it."""
        return {model: self.origins[model] for model in models}

    def started(self, models: Iterable[str]) -> list[str]:
        """The models that some models were fine-tuned from."""
        return sorted(set(self.starts_of(models).values()))


def vary(rows: dict[str, dict], variants: dict) -> tuple[dict[str, dict], dict[str, tuple]]:
    """Rows of the sweep once more, trained in another way.

    Args:
        rows: from `draw`.
        variants: the ``sweep.variants`` section: name to ``set``, the hyperparameters that
            differ, and ``first``, how many rows (all by default); null is left out. Rows that
            come out alike are trained once.

    Returns:
        all rows, those of ``rows`` first; and for each id the row it comes from and the
        variant's name, ``base`` for the sweep itself.

    Raises:
        UserError: for a variant that cannot be, or a sweep that would teach itself.
    """
    for name, row in rows.items():
        if row.get("distill"):
            raise UserError(
                f"sweep: {name} has distill = {row['distill']}, but the whole sweep is the "
                "teacher; expected distill in sweep.variants only"
            )
    out, origin = dict(rows), {name: (name, BASE) for name in rows}
    for variant, spec in variants.items():
        if spec is None:
            continue
        if variant == BASE:
            raise UserError(f"sweep.variants.{BASE}: the sweep itself is called so")
        made: list[dict] = []
        for name in list(rows)[: spec.get("first")]:
            key = f"{name}_{variant}"
            if key in out:
                raise UserError(f"sweep.variants.{variant}: {key} is there already")
            row = checked(key, rows[name] | spec["set"])
            if row in made:
                continue  # what `set` leaves alone does not differ: the same model again
            made.append(row)
            out[key], origin[key] = row, (name, variant)
    return out, origin


def origins(rows: dict[str, dict], starts: list[str], ready_made: bool) -> dict[str, str]:
    """The model that each row's fine-tuning starts from.

    Args:
        rows: from `vary`.
        starts: starting points that there are, without the head of zeros.
        ready_made: the models were fine-tuned elsewhere, from one start. Where that is not
            known, each is taken to have its own, and what asks for a common one is refused.

    Raises:
        UserError: for a start that the pre-trained model cannot give.
    """
    if ready_made:
        return {name: starts[0] if starts else f"an unknown start ({name})" for name in rows}
    for name, row in rows.items():
        if row["start"] == "zeroshot" and "zeroshot" not in starts:
            raise UserError(
                f"sweep: {name} has start = 'zeroshot', expected 'probe' or 'new': the pre-trained "
                "model has no text side to make that head of"
            )
    return {name: START[row["start"]] for name, row in rows.items()}


def pairs(
    rows: dict[str, dict], starts: dict[str, str], most: int | None = None, single: bool = False
) -> list[dict]:
    """Pairs of models that were fine-tuned from the same start.

    Args:
        rows: model id to hyperparameters.
        starts: model id to where it starts from.
        most: how many; a random part (the same one each time) where there are more.
        single: only pairs that differ in one hyperparameter.

    Returns:
        per pair ``model_1`` and ``model_2``, what they ``differ`` in (a hyperparameter, or
        ``several``), and their learning rates ``lr_1`` <= ``lr_2``.
    """
    out = []
    # What was not trained is its start, and has no direction from there.
    trained = [name for name, row in rows.items() if row.get("epochs") != 0]
    for one, two in itertools.combinations(trained, 2):
        differ = [name for name in rows[one] if rows[one][name] != rows[two][name]]
        if starts[one] != starts[two] or (single and len(differ) != 1):
            continue
        one, two = sorted((one, two), key=lambda name: rows[name]["lr"])
        differ = differ[0] if len(differ) == 1 else "several"
        lr = {"lr_1": rows[one]["lr"], "lr_2": rows[two]["lr"]}
        out.append({"model_1": one, "model_2": two, "differ": differ} | lr)
    if most is None or len(out) <= most:
        return out
    chosen = np.random.default_rng(0).permutation(len(out))[:most]
    return [out[i] for i in sorted(chosen)]


def for_curves(curves: dict) -> set[str]:
    """Names of the variants that the ``curves`` section asks for, without the sweep itself."""
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
    """Ingredients of some variants for which a query holds.

    Args:
        rows, origin: from `vary`.
        variants: names; ``base`` is the sweep itself.
        query: an condition on hyperparameters (and ``model``, ``row``: the ingredient's id
            and the number of its row, from 0), as of `pandas.DataFrame.query`.
        key: the config key it comes from, for messages.

    Raises:
        UserError: for an unknown variant, a query that cannot be read, or no ingredient.
    """
    known = sorted({variant for _, variant in origin.values()})
    if unknown := [name for name in variants if name not in known]:
        raise UserError(f"{key}.variants has {unknown[0]!r}, expected among {', '.join(known)}")
    names = [name for name in rows if origin[name][1] in variants]
    if query is not None:
        names = _where(rows, origin, names, query, key)
    if not names:
        raise UserError(f"{key}.query is {query!r}: no ingredient is so, expected at least one")
    return names


def _where(rows, origin, names: list[str], query: str, key: str) -> list[str]:
    import pandas as pd  # half a second that most runs need not spend while parsing

    order = {name: i for i, name in enumerate(n for n in rows if origin[n][1] == BASE)}
    table = pd.DataFrame(
        {"model": name, "row": order[origin[name][0]], **rows[name]} for name in names
    )
    expected = f"expected a condition on {', '.join(table)}"
    try:
        holds = table.eval(query, engine="python")
    except Exception as error:  # the query is the user's, and fails in many ways
        reason = " ".join(str(error).split())
        raise UserError(
            f"{key}.query is {query!r}, which cannot be read ({reason}); {expected}"
        ) from None
    if not pd.api.types.is_bool_dtype(getattr(holds, "dtype", object)):
        raise UserError(f"{key}.query is {query!r}, which is not true or false; {expected}")
    return table["model"][holds].tolist()
