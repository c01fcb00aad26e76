"""Soups and ensembles of the first n models, for every n, in several orders.

The first order is that of the sweep, the others are random. No average is scored twice.
"""

import numpy as np

from soups import files
from soups.jobs.job import log, run
from soups.mixing import ensembles, recipes, select
from soups.mixing.kitchen import Kitchen
from soups.roles import BEST


def main(job) -> None:
    kitchen, orders = Kitchen.of_job(job), job.params.orders
    calls = []

    def counted(members: tuple[str, ...]) -> float:
        calls.append(members)
        return kitchen.average(members)

    score = ensembles.scorer(kitchen.logits, np.asarray(kitchen.labels))
    plan = []
    for order in range(orders["orders"]):
        names = list(kitchen.ingredients)
        names = select.shuffled(names, orders["seed"], order) if order else names
        soups = select.greedy_first(names, kitchen.scores, counted)
        chosen = select.greedy_first(names, kitchen.scores, score)
        for n, (soup, members) in enumerate(zip(soups, chosen, strict=True), start=1):
            best = select.by_score({name: kitchen.scores[name] for name in names[:n]})[0]
            made = {
                BEST: {"recipe": recipes.recipe({best: 1.0}, BEST)},
                "uniform": {"recipe": recipes.uniform(names[:n])},
                "greedy": {"recipe": recipes.uniform(soup, "greedy")},
                "ensemble": {"ensemble": names[:n]},
                "greedy_ensemble": {"ensemble": list(members)},
            }
            for method, point in made.items():
                labels = {"method": method, "order": order, "n": n}
                plan.append({"labels": labels} | point)
    log.info("%d averages asked for, %d scored", len(calls), len(set(map(frozenset, calls))))
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
