"""The models of all curves, pairs and planes, worked out from the ``curves`` section.

A curve is a series of recipes that are evaluated without being written. This module only names
the models, while the workflow is parsed. The rules ``plan_…`` plan the recipes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soups.errors import UserError
from soups.experiment import variants
from soups.experiment.variants import Sweep
from soups.hyperparameters import ALL

# Curves that are evaluated on all images, because their differences are small.
ON_ALL_IMAGES = ("slices", "tasks")
# Curves with ensembles, which need the logits of their members.
HELDOUT_SIZE = "heldout_size"
WITH_ENSEMBLES = ("number_of_models", HELDOUT_SIZE)
PAIR_ALPHAS = [0, 0.5, 1]


@dataclass(frozen=True)
class Curves:
    """The models of every curve, set of pairs and plane. A curve without models is not made.

    Attributes:
        part: number of images of ``test`` and of each ``shift``, for curves on a part of them.
        base: models of the sweep itself.
        ends: end of a WiSE-FT line to the start of the line.
        soups: ends that are soups. The only other end is the best individual model.
        large: models of variants with a large learning rate.
        slices: slice to its models.
        tasks: models that are fine-tuned on different tasks.
        unseen: the task that none of these models is fine-tuned on.
        models: curve to the models in its recipes.
        pairs: name of a set of pairs to its pairs, see `variants.pairs`.
        alphas: name of a set of pairs to the points α of its lines.
        panels: panel of the landscape to its start and two models.
    """

    part: dict[str, int]
    base: list[str]
    ends: dict[str, str]
    soups: list[str]
    large: list[str]
    slices: dict[str, list[str]]
    tasks: list[str]
    unseen: str | None
    models: dict[str, list[str]]
    pairs: dict[str, list[dict]]
    alphas: dict[str, list[float]]
    panels: dict[str, list[str]]

    @property
    def with_large(self) -> list[str]:
        """Models of the sweep itself, followed by those with a large learning rate."""
        return [*self.base, *self.large]

    def images(self, curve: str) -> dict[str, int] | None:
        """Number of images per set that a curve is evaluated on, or None for all images."""
        return None if curve in ON_ALL_IMAGES else self.part

    def has_gap(self, pairs: str) -> bool:
        """Whether the loss gap of soup and ensemble is computed along the lines of these pairs."""
        return pairs == "paths"

    def members(self, curve: str) -> list[str]:
        """Members of the ensembles of a curve."""
        return self.base if curve in WITH_ENSEMBLES else []

    @property
    def tables(self) -> list[str]:
        """Names of the tables of curves and pairs that a whole run makes.

        The table of held-out sizes is a target of its own, because its soups take long.
        """
        return [name for name in (*self.models, *self.pairs) if name != HELDOUT_SIZE]

    def paired(self, pairs: str) -> list[str]:
        """Models in a set of pairs, without repetitions."""
        ends = ("model_1", "model_2")
        return list(dict.fromkeys(pair[end] for pair in self.pairs[pairs] for end in ends))

    @property
    def knows_rates(self) -> bool:
        """Whether the learning rates of all models in pairs are known."""
        rates = [
            pair[lr] for made in self.pairs.values() for pair in made for lr in ("lr_1", "lr_2")
        ]
        return None not in rates

    @property
    def in_planes(self) -> list[str]:
        """Models of all panels of the landscape, with their starts."""
        return list(dict.fromkeys(model for panel in self.panels.values() for model in panel))


def curves(
    section: Mapping,
    sweep: Sweep,
    soups: Mapping[str, dict],
    tasks: Mapping[str, Sequence[str]],
    ends: Mapping[str, str],
) -> Curves:
    """Work out the ``curves`` section.

    Args:
        section: the ``curves`` section.
        sweep: all models.
        soups: see `catalog.soups`.
        tasks: the ``tasks`` section without null entries.
        ends: see `catalog.curve_ends`.

    Raises:
        UserError: for an unknown variant or task, or if a model has seen a class of the unseen
            task.
    """
    base = list(sweep.base)
    paths = section["paths"]
    on_paths = of_variants(sweep, paths["variants"], "curves.paths")
    large = [m for m in on_paths if m not in sweep.base]
    rates = {model: variants.rate_of(sweep.rows[model]) or 0 for model in large}
    large = [m for m in sweep.rows if m in rates and rates[m] >= section["large_lr"]]
    slices = {
        name: sweep.pool(spec["variants"], spec.get("query"), f"curves.slices.{name}")
        for name, spec in section["slices"].items()
        if spec
    }
    of_tasks = _of_tasks(section["tasks"], sweep, tasks)
    made_soups = [name for name in ends if name in soups]
    models = {
        "wise_ft": [*sorted(set(ends.values())), *base, *made_soups] if ends else [],
        "number_of_models": base if section["number_of_models"] else [],
        HELDOUT_SIZE: base if section.get(HELDOUT_SIZE) else [],
        "large_lr": [*base, *large] if large else [],
        "slices": list(dict.fromkeys(model for part in slices.values() for model in part)),
        "tasks": [*sweep.started(of_tasks), *of_tasks] if of_tasks else [],
    }
    pairs = {
        # Pairs of the sweep itself, and pairs of variants that differ in one hyperparameter.
        "pairs": variants.pairs(sweep.base, sweep.origins, section["pairs"]),
        "paths": variants.pairs({m: sweep.rows[m] for m in on_paths}, sweep.origins, single=True),
    }
    steps = paths["steps"]
    return Curves(
        part=section["images"],
        base=base,
        ends=dict(ends),
        soups=made_soups,
        large=large,
        slices=slices,
        tasks=of_tasks,
        unseen=section["tasks"]["unseen"],
        models={name: names for name, names in models.items() if names},
        pairs={name: made for name, made in pairs.items() if made},
        alphas={"pairs": PAIR_ALPHAS, "paths": [i / steps for i in range(steps + 1)]},
        panels=_panels(section["landscape"]["variants"], sweep),
    )


def of_variants(sweep: Sweep, names: Sequence[str], key: str) -> list[str]:
    """Models of some variants. A variant that is switched off has no models.

    Args:
        sweep: all models.
        names: names of variants.
        key: config key of the names, for messages.

    Raises:
        UserError: for an unknown variant.
    """
    if unknown := [name for name in names if name not in sweep.variants]:
        known = ", ".join(sweep.variants)
        raise UserError(f"{key}.variants has {unknown[0]!r}, expected one of {known}")
    return [model for model, (_, variant) in sweep.origin.items() if variant in names]


def _of_tasks(section: Mapping, sweep: Sweep, tasks: Mapping[str, Sequence[str]]) -> list[str]:
    models, unseen = of_variants(sweep, section["variants"], "curves.tasks"), section["unseen"]
    if models and unseen not in tasks:
        known = ", ".join(tasks) or "the tasks, but the tasks section is empty"
        raise UserError(f"curves.tasks.unseen is {unseen!r}, expected one of {known}")
    for model in models:
        task = sweep.rows[model].get("task", ALL)
        if seen := set(tasks[unseen]).intersection(tasks.get(task, tasks[unseen])):
            raise UserError(
                f"curves.tasks.variants has the model {model} of task {task!r}, which contains the "
                f"class {sorted(seen)[0]!r} of the unseen task {unseen!r}, expected models of "
                "tasks without its classes"
            )
    return models


def _panels(names: Sequence[str], sweep: Sweep) -> dict[str, list[str]]:
    """Variant to its start and its first two models, if these differ and have a common start."""
    panels = {}
    for variant in names:
        models = of_variants(sweep, [variant], "curves.landscape")[:2]
        differ = len({str(sweep.rows[model]) for model in models}) == 2
        if differ and len({sweep.origins[model] for model in models}) == 1:
            panels[variant] = [sweep.origins[models[0]], *models]
    return panels
