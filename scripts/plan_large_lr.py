"""Plan soups of the sweep and of more and more models with a large learning rate.

The table says which of all these models the greedy soup accepts, and how far each is from its
start.
"""

import pandas as pd

from soups import files
from soups.jobs.job import run
from soups.mixing import plans
from soups.mixing.geometry import distance
from soups.mixing.kitchen import Kitchen
from soups.models.checkpoints import Checkpoint


def main(job) -> None:
    p, kitchen = job.params, Kitchen.of_job(job)
    plan, trace = plans.large_lr(kitchen, p.entry["pool"], p.large)
    files.write_json(job.output.plan, plan)

    starts = dict(zip(p.starts, map(Checkpoint, job.input.starts), strict=True))
    rows = []
    for step in trace:
        model = step["candidate"]
        apart = distance(starts[p.origins[model]], Checkpoint(kitchen.paths[model]))
        row = {"model": model, "lr": p.lr[model], "distance": round(apart, 6)}
        rows.append(row | {"heldout": kitchen.scores[model], "accepted": step["accepted"]})
    files.write_text(job.output.table, pd.DataFrame(rows).to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
