"""Soups of parts of the sweep, for instance of models that differ in one hyperparameter alone."""

from soups import files, recipes, select
from soups.catalog import BEST
from soups.job import run
from soups.kitchen import Kitchen


def main(job) -> None:
    kitchen = Kitchen.of_job(job)
    plan = []
    for name, members in job.params.slices.items():
        order = select.by_score({member: kitchen.scores[member] for member in members})
        chosen, trace = select.greedy(order, kitchen.average)
        best = len(plan)  # the first of the three
        for method, recipe in (
            (BEST, recipes.recipe({order[0]: 1.0}, BEST)),
            ("uniform", recipes.uniform(members)),
            ("greedy", recipes.uniform(chosen, "greedy", trace=trace)),
        ):
            labels = {"slice": name, "method": method, "models": len(members)}
            plan.append({"labels": labels, "recipe": recipe, "against": best})
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
