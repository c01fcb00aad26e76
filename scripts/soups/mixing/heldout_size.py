"""The plan of a curve: soups and ensembles that smaller held-out sets choose.

The models stay the same. Random parts of the held-out set take its place, so nothing is trained.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from soups.errors import UserError
from soups.mixing import ensembles, methods, recipes, select
from soups.mixing.kitchen import Kitchen
from soups.roles import BEST, ENSEMBLE, GREEDY, GREEDY_ENSEMBLE, LEARNED, UNIFORM

log = logging.getLogger("soups")


def plan(
    kitchen: Kitchen,
    per_class: Sequence[int],
    draws: int,
    seed: int,
    learned: Mapping | None = None,
) -> list[dict]:
    """Plan the choices of every random held-out set, see `mixing.plans` for the points.

    Args:
        kitchen: the models, and the whole held-out set.
        per_class: numbers of images of each class.
        draws: number of random sets of each size. A size with all images has one set.
        seed: of the random sets. A smaller set of one draw is a part of its larger ones.
        learned: options of a learned soup, or None to leave it out.

    Raises:
        UserError: if a class has fewer held-out images than a size asks for.
    """
    labels = np.asarray(kitchen.labels)
    fewest = int(np.bincount(labels)[np.unique(labels)].min())
    if max(per_class) > fewest:
        raise UserError(
            f"curves.heldout_size.per_class has {max(per_class)}, but a class has {fewest} "
            "held-out images, expected no larger number, or a larger data.heldout"
        )
    made = []
    for size in per_class:
        whole = size * len(np.unique(labels)) == len(labels)
        for draw in range(1 if whole else draws):
            rows = drawn(labels, size, seed, draw)
            for row, point in _choices(part(kitchen, rows), learned).items():
                where = {"method": row, "per_class": size, "draw": draw, "heldout": len(rows)}
                made.append({"labels": where} | point)
            log.info("%d images of each class, draw %d: planned", size, draw)
    return made


def drawn(labels: np.ndarray, per_class: int, seed: int, draw: int) -> np.ndarray:
    """Rows of a random set with the same number of images of each class, sorted."""
    rows = []
    for c in np.unique(labels):
        order = np.random.default_rng([seed, draw, int(c)]).permutation(np.flatnonzero(labels == c))
        rows.append(order[:per_class])
    return np.sort(np.concatenate(rows))


def part(kitchen: Kitchen, rows: np.ndarray) -> Kitchen:
    """The same models with some of the held-out images.

    The batch statistics of a soup are still measured on the whole held-out set, if they are.
    """
    return replace(
        kitchen,
        logits=lambda name: np.asarray(kitchen.logits(name))[rows],
        labels=np.asarray(kitchen.labels)[rows],
        inputs=kitchen.inputs[rows],
        make_model=lambda: kitchen.model,
    )


def _choices(kitchen: Kitchen, learned: Mapping | None) -> dict[str, dict]:
    names = list(kitchen.ingredients)
    made = {row: {"recipe": each} for row, each in kitchen.usual(names).items()}
    made[UNIFORM] = {"recipe": recipes.uniform(names)}
    if learned:
        made[LEARNED] = {"recipe": methods.learned(kitchen, **learned)}
    score = select.full(ensembles.scorer(kitchen.logits, kitchen.labels, metric=kitchen.metric))
    chosen, _ = select.greedy(kitchen.ranking, score, kitchen.accept)
    made[ENSEMBLE] = {"ensemble": names}
    made[GREEDY_ENSEMBLE] = {"ensemble": chosen}
    return {
        row: made[row]
        for row in (BEST, UNIFORM, GREEDY, LEARNED, ENSEMBLE, GREEDY_ENSEMBLE)
        if row in made
    }
