"""Plans of curves: the points of weight space that the rule ``evaluate_curve`` evaluates.

A point is a dictionary. ``labels`` are columns of the curve's table. The label ``method`` is a row
of the methods table where that row exists. A point has a ``recipe``, or the members of an
``ensemble``. A point may have ``against``, the index of the point that it is compared with.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import combinations, islice

import numpy as np

from soups.mixing import ensembles, recipes, select
from soups.mixing.geometry import Plane, angles, gram, lengths
from soups.mixing.kitchen import Kitchen
from soups.models.checkpoints import Checkpoint
from soups.roles import BEST, ENSEMBLE, GREEDY, GREEDY_ENSEMBLE, UNIFORM

log = logging.getLogger("soups")
MAX_CHOICES = 20  # of each number of tasks


def wise_ft(
    kitchen: Kitchen, ends: Mapping[str, str], soups: Sequence[str], alphas: Sequence[float]
) -> list[dict]:
    """Plan lines from the start of fine-tuning to models and soups, and beyond them.

    Args:
        kitchen: the ingredients among which the best individual model is chosen.
        ends: end of each line (a soup or `BEST`) to the start that the line comes from.
        soups: the ends that are files of weights. Such a soup is an ingredient of its line.
        alphas: shares of the end.
    """
    plan = []
    for name, start in ends.items():
        end = recipes.recipe({name: 1.0}, name) if name in soups else kitchen.recipe(name)
        for alpha in alphas:
            labels = {"method": name, "start": start, "alpha": alpha}
            recipe = recipes.interpolate(end, start, alpha, "wise_ft")
            plan.append({"labels": labels, "recipe": recipe})
    return plan


def number_of_models(kitchen: Kitchen, orders: int, seed: int) -> list[dict]:
    """Plan soups and ensembles of the first n models, for every n, in several orders.

    No average is tried twice.

    Args:
        kitchen: the models.
        orders: number of orders. The first is that of the sweep, and the others are random.
        seed: of the random orders.
    """
    labels = np.asarray(kitchen.labels)
    score = select.full(ensembles.scorer(kitchen.logits, labels, metric=kitchen.metric))
    plan = []
    for order in range(orders):
        names = list(kitchen.ingredients)
        names = select.shuffled(names, seed, order) if order else names
        soups = select.greedy_first(names, kitchen.scores, kitchen.average, kitchen.accept)
        chosen = select.greedy_first(names, kitchen.scores, score, kitchen.accept)
        for n, (soup, members) in enumerate(zip(soups, chosen, strict=True), start=1):
            best = select.by_score({name: kitchen.scores[name] for name in names[:n]})[0]
            made = {
                BEST: {"recipe": recipes.recipe({best: 1.0}, BEST)},
                UNIFORM: {"recipe": recipes.uniform(names[:n])},
                GREEDY: {"recipe": recipes.uniform(soup, "greedy")},
                ENSEMBLE: {"ensemble": names[:n]},
                GREEDY_ENSEMBLE: {"ensemble": list(members)},
            }
            for row, point in made.items():
                plan.append({"labels": {"method": row, "order": order, "n": n}} | point)
    tried = kitchen.average
    log.info(
        "%d averages were tried on %d of %d held-out examples, all together",
        tried.averages,
        tried.evaluated,
        tried.averages * len(labels),
    )
    return plan


def large_lr(
    kitchen: Kitchen, base: Sequence[str], large: Sequence[str]
) -> tuple[list[dict], list[dict]]:
    """Plan soups of the sweep and of more and more models with a large learning rate.

    Args:
        kitchen: all models.
        base: models of the sweep.
        large: models with a large learning rate, which are added one by one. Models that the
            kitchen leaves out are left out here as well.

    Returns:
        the plan, and the greedy trace over all models.
    """
    plan = []
    base, large = kitchen.present(base), kitchen.present(large)
    for count in range(len(large) + 1):
        made = kitchen.usual([*base, *large[:count]])
        for row, recipe in made.items():
            plan.append({"labels": {"method": row, "large": count}, "recipe": recipe})
    return plan, made[GREEDY]["selection"]["trace"]


def slices(kitchen: Kitchen, members: Mapping[str, Sequence[str]]) -> list[dict]:
    """Plan soups of parts of the sweep, compared with the best individual model of each part.

    Args:
        kitchen: all models.
        members: name of a part to its models. A part whose models are all left out is left out.
    """
    plan = []
    present = {name: kitchen.present(models) for name, models in members.items()}
    for name, models in present.items():
        if not models:
            log.info("all models of the slice %s are left out, and so is the slice", name)
            continue
        best = len(plan)  # The best individual model is the first point of its part.
        for row, recipe in kitchen.usual(models).items():
            labels = {"slice": name, "method": row, "models": len(models)}
            plan.append({"labels": labels, "recipe": recipe, "against": best})
    return plan


def tasks(of_model: Mapping[str, str], start: str, with_start: bool = False) -> list[dict]:
    """Plan soups of models fine-tuned on different tasks, compared with the start.

    For every number of tasks, the plan has at most `MAX_CHOICES` choices of tasks.

    Args:
        of_model: model id to its task.
        start: id of the model that all were fine-tuned from.
        with_start: whether the start is a member of every soup, as in the paper.
    """
    of_task: dict[str, list[str]] = {}
    for model, task in of_model.items():
        of_task.setdefault(task, []).append(model)
    recipe = recipes.recipe({start: 1.0}, "start")
    plan = [{"labels": {"method": "start", "tasks": 0, "of": "", "models": 0}, "recipe": recipe}]
    for count in range(1, len(of_task) + 1):
        for chosen in islice(combinations(of_task, count), MAX_CHOICES):
            models = [model for task in chosen for model in of_task[task]]
            labels = {"method": "soup", "tasks": count, "of": " ".join(chosen)}
            labels["models"] = len(models)
            members = [start, *models] if with_start else models
            recipe = recipes.uniform(members, "tasks")
            plan.append({"labels": labels, "recipe": recipe, "against": 0})
    return plan


def pairs(
    chosen: Sequence[Mapping],
    models: Mapping[str, Checkpoint],
    starts: Mapping[str, Checkpoint],
    origins: Mapping[str, str],
) -> list[dict]:
    """Measure the angle between the changes of two models, and the length of both changes.

    Args:
        chosen: pairs of models with the same start, ``model_1`` and ``model_2``.
        models: model id to checkpoint.
        starts: id of a starting point to checkpoint.
        origins: model id to the id of its start.

    Returns:
        the pairs with ``angle``, in degrees, and the lengths ``distance_1`` and ``distance_2``. The
        list has no pair with a model that is missing from ``models`` or whose change has no finite
        length. The log names these pairs.
    """
    angle, distance = {}, {}
    for start, checkpoint in starts.items():
        names = [name for name in models if origins[name] == start]
        if not names:
            continue
        products = sum(gram(checkpoint, [models[name] for name in names]).values())
        distance |= dict(zip(names, lengths(products).tolist(), strict=True))
        for name, row in zip(names, angles(products).tolist(), strict=True):
            angle |= {(name, other): value for other, value in zip(names, row, strict=True)}
    kept = []
    for pair in chosen:
        both = pair["model_1"], pair["model_2"]
        if all(math.isfinite(distance.get(name, math.nan)) for name in both):
            kept.append(pair)
        else:
            log.info("the pair %s and %s is left out, because a model of it is left out", *both)
    return [
        pair
        | {
            "angle": round(angle[pair["model_1"], pair["model_2"]], 4),
            "distance_1": round(distance[pair["model_1"]], 6),
            "distance_2": round(distance[pair["model_2"]], 6),
        }
        for pair in kept
    ]


def panel(name: str, lr: float, models: Mapping[str, Checkpoint], points: int) -> list[dict]:
    """Plan a grid in the plane through a start and two fine-tuned models, and their marks.

    Args:
        name: name of the panel.
        lr: learning rate of the two models.
        models: the start and the two fine-tuned models, by id, in this order.
        points: number of points along each axis of the grid.

    Returns:
        the points of the grid, then the start, the two models and the average of these two. The
        labels are ``panel``, ``lr``, ``kind`` and the coordinates ``x`` and ``y``. The plan is
        empty if the change of a model has no finite length.
    """
    start, *changed = models.values()
    products = sum(gram(start, changed).values())
    if not products.isfinite().all():
        log.info("the panel %s is left out, because a model of it has no finite length", name)
        return []
    plane = Plane(products)
    (x1, y1), (x2, y2) = plane.corners[1:]
    marks = dict(zip(("start", "one", "two"), plane.corners, strict=True))
    marks["average"] = ((x1 + x2) / 2, (y1 + y2) / 2)
    plan = []
    for kind, (x, y) in [*(("grid", at) for at in plane.grid(points)), *marks.items()]:
        amounts = dict(zip(models, plane.coefficients(x, y), strict=True))
        labels = {"panel": name, "lr": lr, "kind": kind, "x": round(x, 6), "y": round(y, 6)}
        plan.append({"labels": labels, "recipe": recipes.recipe(amounts, "plane")})
    return plan
