"""Soups of parts of the sweep, for instance of models that differ in one hyperparameter alone."""

from soups import files
from soups.jobs.job import run
from soups.mixing.kitchen import Kitchen


def main(job) -> None:
    kitchen = Kitchen.of_job(job)
    plan = []
    for name, members in job.params.slices.items():
        best = len(plan)  # the first of them
        for method, recipe in kitchen.usual(members).items():
            labels = {"slice": name, "method": method, "models": len(members)}
            plan.append({"labels": labels, "recipe": recipe, "against": best})
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
