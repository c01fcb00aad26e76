"""The methods that make soups: functions from a kitchen to a recipe.

A method uses the held-out set alone, or no data at all. The module `experiment.registry` has a
row with the name and the default options of each. The script of the rule ``recipe`` finds the
function by that name.
"""

import logging
from collections.abc import Sequence

from soups.errors import UserError
from soups.mixing import geometry, recipes, select
from soups.mixing import learned as learned_soups
from soups.mixing.kitchen import Kitchen
from soups.models import blocks
from soups.models.checkpoints import Checkpoint
from soups.training.schedule import FEW, steps

log = logging.getLogger("soups")


def uniform(kitchen: Kitchen) -> dict:
    """The average of all ingredients (paper, Recipe 2)."""
    return recipes.uniform(kitchen.ingredients)


def greedy(kitchen: Kitchen, accept: str = select.AT_LEAST) -> dict:
    """The greedy rule, which tries ingredients by falling held-out score (paper, Recipe 1).

    Args:
        kitchen: see `Kitchen`.
        accept: see `select.greedy`.
    """
    chosen, trace = select.greedy(kitchen.ranking, kitchen.average, accept)
    return recipes.uniform(chosen, "greedy", trace=trace, **_rule(accept))


def greedy_random(kitchen: Kitchen, seed: int, order: int, accept: str = select.AT_LEAST) -> dict:
    """The greedy rule, which tries ingredients in a random order (paper, table 3)."""
    names = select.shuffled(kitchen.ingredients, seed, order)
    chosen, trace = select.greedy(names, kitchen.average, accept)
    return recipes.uniform(
        chosen, "greedy_random", trace=trace, seed=seed, order=order, **_rule(accept)
    )


def greedy_pruned(kitchen: Kitchen, accept: str = select.AT_LEAST) -> dict:
    """The greedy soup, from which ingredients are removed again where that does not hurt.

    An ingredient that changes no score is removed, whatever the rule by which it came in.
    """
    chosen, trace = select.greedy(kitchen.ranking, kitchen.average, accept)
    left, pruning = select.prune(chosen, kitchen.average)
    return recipes.uniform(left, "greedy_pruned", trace=trace, pruning=pruning, **_rule(accept))


def _rule(accept: str) -> dict:
    """The rule of a greedy soup for its recipe. Recipes by the paper's rule do not name it."""
    return {} if accept == select.AT_LEAST else {"accept": accept}


def learned(kitchen: Kitchen, groups: str, memory_gb: float, **options) -> dict:
    """Coefficients fitted by gradient steps on the held-out set (paper, section 2).

    Args:
        kitchen: see `Kitchen`.
        groups: the tensors that share a coefficient, see `blocks.groups`.
        memory_gb: GiB of memory. Ingredients that fit into it are read from disk only once.
        options: see `learned.learn`.
    """
    _, total = steps(len(kitchen.labels), options)
    if 0 < total < FEW:
        log.warning(
            "a learned soup has %d steps on %d held-out examples, and with fewer than %d it may "
            "stay near the uniform soup. Raise its epochs or lower its batch_size.",
            total, len(kitchen.labels), FEW,
        )  # fmt: skip
    paths = [kitchen.paths[name] for name in kitchen.ingredients]
    names = list(Checkpoint(paths[0]).shapes())
    group = blocks.groups(names, groups)
    ingredients = learned_soups.within(paths, memory_gb * 2**30)
    alpha, beta, trace = learned_soups.learn(
        kitchen.model,
        ingredients,
        kitchen.inputs,
        kitchen.targets,
        group,
        settle=kitchen.settle,
        **options,
    )
    if not alpha.isfinite().all():
        raise UserError(
            f"the coefficients of a learned soup became NaN with lr {options['lr']:g}, expected a "
            "smaller learning rate"
        )
    rows = zip(kitchen.ingredients, alpha.tolist(), strict=True)
    if groups == "model":
        coefficients = {name: row[0] for name, row in rows}
    else:
        coefficients = {name: {t: row[i] for t, i in group.items()} for name, row in rows}
    selection = {"groups": groups, "temperature": beta, "trace": trace} | options
    return recipes.recipe(coefficients, "learned", **selection)


def wise_ft(kitchen: Kitchen, of: Sequence[str], alphas: Sequence[float]) -> dict:
    """A soup interpolated with its start by the best of some α (WiSE-FT, Wortsman et al., 2022).

    Args:
        kitchen: see `Kitchen`.
        of: one name, see `Kitchen.recipe`.
        alphas: shares of the soup to try.
    """
    soup = kitchen.recipe(of[0])
    # Among equally good values, the nearest to the soup is chosen.
    alphas = sorted(alphas, key=lambda alpha: abs(1 - alpha))
    best, trace = _best(alphas, kitchen.score_line(soup, alphas))
    made = recipes.interpolate(soup, kitchen.start, best, "wise_ft")
    return made | {"selection": {"of": of[0], "alpha": best, "trace": trace}}


def best_of(kitchen: Kitchen, of: Sequence[str]) -> dict:
    """The soup with the best held-out score among several, or the first of equally good ones.

    Args:
        kitchen: see `Kitchen`.
        of: names, see `Kitchen.recipe`.
    """
    scores = [kitchen.score(kitchen.recipe(name)) for name in of]
    best, trace = _best(of, [select.Tried(score) for score in scores])
    return kitchen.recipe(best) | {"method": "best_of", "selection": {"of": best, "trace": trace}}


def model_stock(kitchen: Kitchen) -> dict:
    """Model Stock (Jang et al., 2024): interpolates each tensor between the start and the average.

    The share of the average is t = k cos θ / (1 + (k − 1) cos θ), where θ is the angle between
    the changes of two ingredients. Here cos θ is the mean over all pairs, or 0 if that is
    negative.
    """
    names, k = kitchen.ingredients, len(kitchen.ingredients)
    start = Checkpoint(kitchen.paths[kitchen.start])
    share = dict.fromkeys(start.shapes(), 1.0)
    if k > 1:
        for tensor, products in geometry.gram(start, kitchen.checkpoints()).items():
            cosine = max(0.0, geometry.mean_cosine(products))
            share[tensor] = k * cosine / (1 + (k - 1) * cosine)
    average = {tensor: t / k for tensor, t in share.items()}
    rest = {tensor: 1 - t for tensor, t in share.items()}
    coefficients = dict.fromkeys(names, average) | {kitchen.start: rest}
    return recipes.recipe(coefficients, "model_stock")


def task_arithmetic(kitchen: Kitchen, scales: Sequence[float]) -> dict:
    """The start plus a multiple of the mean change (Ilharco et al., 2023, whose λ is scale / k).

    Args:
        kitchen: see `Kitchen`.
        scales: multiples to try on the held-out set.
    """
    average = recipes.uniform(kitchen.ingredients)
    scales = sorted(scales, key=lambda scale: abs(1 - scale))
    best, trace = _best(scales, kitchen.score_line(average, scales))
    made = recipes.interpolate(average, kitchen.start, best, "task_arithmetic")
    return made | {"selection": {"scale": best, "trace": trace}}


def ties(kitchen: Kitchen, density: float, scales: Sequence[float]) -> dict:
    """TIES-Merging (Yadav et al., 2023) with the λ that is best on the held-out set.

    Args:
        kitchen: see `Kitchen`.
        density: share of the parameters whose changes are kept, see `merge.threshold`.
        scales: values of λ to try.
    """

    def at(scale: float) -> dict:
        merge = {"rule": "ties", "density": density, "scale": scale}
        return recipes.recipe(dict.fromkeys(kitchen.ingredients, 1.0), "ties", merge)

    scales = sorted(scales, key=lambda scale: abs(1 - scale))
    best, trace = _best(scales, kitchen.score_line(at(1.0), scales))
    return at(best) | {"selection": {"density": density, "scale": best, "trace": trace}}


def median(kitchen: Kitchen) -> dict:
    """The median of each parameter, see `merge.median`."""
    return recipes.recipe(dict.fromkeys(kitchen.ingredients, 1.0), "median", {"rule": "median"})


def trimmed_mean(kitchen: Kitchen, trim: float) -> dict:
    """The mean of each parameter without its extremes, see `merge.trimmed_mean`.

    Args:
        kitchen: see `Kitchen`.
        trim: share of the ingredients to leave out at either end. Their number is rounded down.
    """
    merge = {"rule": "trimmed_mean", "trim": int(trim * len(kitchen.ingredients))}
    return recipes.recipe(dict.fromkeys(kitchen.ingredients, 1.0), "trimmed_mean", merge)


def _best(candidates: Sequence, tried: Sequence[select.Tried]) -> tuple:
    """The candidate with the highest score, or the first of equal ones, and a trace of all trials.

    Raises:
        UserError: if all scores are NaN.
    """
    trace = [{"candidate": c} | t.step("heldout") for c, t in zip(candidates, tried, strict=True)]
    scored = [step for step in trace if step["heldout"] is not None]
    if not scored:
        raise UserError(
            f"none of the {len(trace)} soups has finite held-out logits, expected at least one"
        )
    return max(scored, key=lambda step: step["heldout"])["candidate"], trace
