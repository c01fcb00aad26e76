"""Evaluate the recipes of planes: their held-out loss and test accuracy."""

import pandas as pd

from soups import files
from soups.data.prepared import PreparedSet
from soups.jobs.job import log, run
from soups.mixing.mixed_model import MixedModel
from soups.mixing.points import Landscape


def main(job) -> None:
    heldout, test = PreparedSet(job.input.heldout[0]), PreparedSet(job.input.test[0])
    points = Landscape(MixedModel.of_job(job), heldout, test, job.params.images)
    plan = files.read_json(job.input.plan)
    table = [point["labels"] | points.of(point["recipe"]) for point in plan]
    log.info("%d points", len(table))
    # A table without rows has a column, so it can still be read.
    made = pd.DataFrame(table) if table else pd.DataFrame(columns=["panel"])
    files.write_text(job.output[0], made.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
