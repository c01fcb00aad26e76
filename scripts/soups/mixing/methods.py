"""Every way to make a soup: functions from a kitchen to a recipe.

Each chooses by the held-out set alone, or not at all. `catalog.SOUP_METHODS` has their
options' defaults.
"""

from collections.abc import Callable, Sequence

from soups.mixing import geometry, learned, recipes, select
from soups.mixing.kitchen import Kitchen
from soups.models import blocks
from soups.models.checkpoints import Checkpoint


def uniform(kitchen: Kitchen) -> dict:
    """The average of all ingredients (paper, Recipe 2)."""
    return recipes.uniform(kitchen.ingredients)


def greedy(kitchen: Kitchen) -> dict:
    """Ingredients by falling held-out accuracy, each kept if it does not hurt (paper, Recipe 1)."""
    chosen, trace = select.greedy(kitchen.ranking, kitchen.average)
    return recipes.uniform(chosen, "greedy", trace=trace)


def greedy_random(kitchen: Kitchen, seed: int, order: int) -> dict:
    """The greedy rule, ingredients in a random order (paper, table 3)."""
    names = select.shuffled(kitchen.ingredients, seed, order)
    chosen, trace = select.greedy(names, kitchen.average)
    return recipes.uniform(chosen, "greedy_random", trace=trace, seed=seed, order=order)


def greedy_pruned(kitchen: Kitchen) -> dict:
    """The greedy soup, from which ingredients go again where that does not hurt."""
    chosen, trace = select.greedy(kitchen.ranking, kitchen.average)
    left, pruning = select.prune(chosen, kitchen.average)
    return recipes.uniform(left, "greedy_pruned", trace=trace, pruning=pruning)


def learned_soup(kitchen: Kitchen, groups: str, memory_gb: float, **options) -> dict:
    """Coefficients by gradient steps on the held-out set (paper, section 2): `learned.learn`."""
    paths = [kitchen.paths[name] for name in kitchen.ingredients]
    names = list(Checkpoint(paths[0]).shapes())
    group = blocks.groups(names, groups)
    ingredients = learned.within(paths, memory_gb * 2**30)
    alpha, beta, trace = learned.learn(
        kitchen.model,
        ingredients,
        kitchen.images,
        kitchen.targets,
        group,
        **options,
    )
    rows = zip(kitchen.ingredients, alpha.tolist(), strict=True)
    if groups == "model":
        coefficients = {name: row[0] for name, row in rows}
    else:
        coefficients = {name: {t: row[i] for t, i in group.items()} for name, row in rows}
    selection = {"groups": groups, "temperature": beta, "trace": trace} | options
    return recipes.recipe(coefficients, "learned", **selection)


def wise_ft(kitchen: Kitchen, of: Sequence[str], alphas: Sequence[float]) -> dict:
    """A soup interpolated with its start, the best of some α (WiSE-FT, Wortsman et al., 2022)."""
    soup = kitchen.recipe(of[0])
    # Of equally good ones the nearest to the soup.
    alphas = sorted(alphas, key=lambda alpha: abs(1 - alpha))
    best, trace = _best(alphas, kitchen.score_line(soup, alphas))
    made = recipes.interpolate(soup, kitchen.start, best, "wise_ft")
    return made | {"selection": {"of": of[0], "alpha": best, "trace": trace}}


def best_of(kitchen: Kitchen, of: Sequence[str]) -> dict:
    """Of several soups the one with the best held-out accuracy; the first of equal ones."""
    best, trace = _best(of, [kitchen.score(kitchen.recipe(name)) for name in of])
    return kitchen.recipe(best) | {"method": "best_of", "selection": {"of": best, "trace": trace}}


def model_stock(kitchen: Kitchen) -> dict:
    """Model Stock (Jang et al., 2024): per tensor, from the start towards the average.

    With θ the angle between two ingredients' changes, the share of the average is
    t = k cos θ / (1 + (k − 1) cos θ). Here cos θ is the mean over all pairs, at least 0.
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
    """Start plus a multiple of the mean change (Ilharco et al., 2023; its λ is scale / k)."""
    average = recipes.uniform(kitchen.ingredients)
    scales = sorted(scales, key=lambda scale: abs(1 - scale))
    best, trace = _best(scales, kitchen.score_line(average, scales))
    made = recipes.interpolate(average, kitchen.start, best, "task_arithmetic")
    return made | {"selection": {"scale": best, "trace": trace}}


def ties(kitchen: Kitchen, density: float, scales: Sequence[float]) -> dict:
    """TIES-Merging (Yadav et al., 2023), its λ chosen on the held-out set; see `merging.ties`."""

    def at(scale: float) -> dict:
        merge = {"rule": "ties", "density": density, "scale": scale}
        return recipes.recipe(dict.fromkeys(kitchen.ingredients, 1.0), "ties", merge)

    scales = sorted(scales, key=lambda scale: abs(1 - scale))
    best, trace = _best(scales, kitchen.score_line(at(1.0), scales))
    return at(best) | {"selection": {"density": density, "scale": best, "trace": trace}}


def median(kitchen: Kitchen) -> dict:
    """The median of each parameter, see `merging.median`."""
    return recipes.recipe(dict.fromkeys(kitchen.ingredients, 1.0), "median", {"rule": "median"})


def trimmed_mean(kitchen: Kitchen, trim: float) -> dict:
    """The mean of each parameter without its extremes, see `merging.trimmed_mean`.

    Args:
        trim: share of the ingredients left out at either end, rounded down to whole ones.
    """
    merge = {"rule": "trimmed_mean", "trim": int(trim * len(kitchen.ingredients))}
    return recipes.recipe(dict.fromkeys(kitchen.ingredients, 1.0), "trimmed_mean", merge)


def _best(candidates: Sequence, scores: Sequence[float]) -> tuple:
    """The candidate with the highest score, the first of equal ones, and all scores."""
    trace = [{"candidate": c, "heldout": s} for c, s in zip(candidates, scores, strict=True)]
    return max(trace, key=lambda step: step["heldout"])["candidate"], trace


METHODS: dict[str, Callable] = {
    "uniform": uniform,
    "greedy": greedy,
    "greedy_random": greedy_random,
    "greedy_pruned": greedy_pruned,
    "learned": learned_soup,
    "wise_ft": wise_ft,
    "best_of": best_of,
    "model_stock": model_stock,
    "task_arithmetic": task_arithmetic,
    "ties": ties,
    "median": median,
    "trimmed_mean": trimmed_mean,
}
