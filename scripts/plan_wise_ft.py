"""The recipes of the lines from the start of fine-tuning to models and soups, and beyond."""

import numpy as np

from soups import files, recipes
from soups.catalog import BEST
from soups.job import run
from soups.select import by_score


def main(job) -> None:
    labels = np.load(job.input.labels)[files.read_array(job.input.heldout)]
    logits = dict(zip(job.params.ingredients, job.input.logits, strict=True))
    scores = {name: (np.load(path).argmax(1) == labels).mean() for name, path in logits.items()}
    best = by_score(scores)[0]
    plan = []
    for method, start in job.params.ends.items():
        # A soup lies on disk already: it stands for its ingredients.
        end = recipes.recipe({best if method == BEST else method: 1.0}, method)
        for alpha in job.params.alphas:
            recipe = recipes.interpolate(end, start, alpha, "wise_ft")
            labels = {"method": method, "start": start, "alpha": alpha}
            plan.append({"labels": labels, "recipe": recipe})
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
