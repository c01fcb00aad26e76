"""Soups and ensembles of the first n models, for every n; no average is scored twice."""

import numpy as np

from soups import ensembles, files, recipes, select
from soups.catalog import BEST
from soups.job import log, run
from soups.kitchen import Kitchen


def main(job) -> None:
    kitchen = Kitchen.of_job(job)
    names, calls = kitchen.ingredients, []

    def counted(members: tuple[str, ...]) -> float:
        calls.append(members)
        return kitchen.average(members)

    soups = list(select.greedy_first(names, kitchen.scores, counted))
    log.info("%d averages asked for, %d scored", len(calls), len(set(map(frozenset, calls))))
    score = ensembles.scorer(kitchen.logits, np.asarray(kitchen.labels))
    chosen = list(select.greedy_first(names, kitchen.scores, score))

    plan = []
    for n, (soup, members) in enumerate(zip(soups, chosen, strict=True), start=1):
        best = select.by_score({name: kitchen.scores[name] for name in names[:n]})[0]
        for method, recipe in (
            (BEST, recipes.recipe({best: 1.0}, BEST)),
            ("uniform", recipes.uniform(names[:n])),
            ("greedy", recipes.uniform(soup, "greedy")),
        ):
            plan.append({"labels": {"method": method, "n": n}, "recipe": recipe})
        for method, several in (("ensemble", names[:n]), ("greedy_ensemble", members)):
            plan.append({"labels": {"method": method, "n": n}, "ensemble": list(several)})
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
