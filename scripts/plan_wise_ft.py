"""The recipes of the lines from the start of fine-tuning to models and soups, and beyond."""

from soups import files
from soups.jobs.job import run
from soups.mixing import recipes
from soups.mixing.kitchen import Kitchen


def main(job) -> None:
    kitchen = Kitchen.of_job(job)
    plan = []
    for method, start in job.params.ends.items():
        # A soup lies on disk already: it stands for its ingredients.
        made = method in job.params.soups
        end = recipes.recipe({method: 1.0}, method) if made else kitchen.recipe(method)
        for alpha in job.params.alphas:
            recipe = recipes.interpolate(end, start, alpha, "wise_ft")
            labels = {"method": method, "start": start, "alpha": alpha}
            plan.append({"labels": labels, "recipe": recipe})
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
