"""Soups of the sweep and, one after the other, of models with a large learning rate as well.

Also which of all these the greedy soup takes, and how far each lies from its start.
"""

import pandas as pd

from soups import files
from soups.jobs.job import run
from soups.mixing.geometry import gram, lengths
from soups.mixing.kitchen import Kitchen
from soups.models.checkpoints import Checkpoint


def main(job) -> None:
    p, kitchen = job.params, Kitchen.of_job(job)
    base, large = p.entry["pool"], p.large
    plan = []
    for count in range(len(large) + 1):
        names = [*base, *large[:count]]
        made = kitchen.usual(names)
        for method, recipe in made.items():
            plan.append({"labels": {"method": method, "large": count}, "recipe": recipe})
    files.write_json(job.output.plan, plan)

    starts = dict(zip(p.starts, map(Checkpoint, job.input.starts), strict=True))
    distance = {
        name: lengths(sum(gram(starts[p.origins[name]], [Checkpoint(path)]).values())).item()
        for name, path in zip(p.entry["ingredients"], job.input.weights, strict=True)
    }
    rows = [
        {
            "model": step["candidate"],
            "lr": p.lr[step["candidate"]],
            "distance": round(distance[step["candidate"]], 6),
            "heldout": kitchen.scores[step["candidate"]],
            "accepted": step["accepted"],
        }
        for step in made["greedy"]["selection"]["trace"]  # of all of them
    ]
    files.write_text(job.output.table, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
