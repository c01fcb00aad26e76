"""Evaluate the recipes of planes: their held-out loss and test score."""

import pandas as pd

from soups import files
from soups.data.prepared import PreparedSet
from soups.evaluation import metric
from soups.jobs.job import log, run
from soups.mixing.mixed_model import MixedModel
from soups.mixing.points import Landscape


def main(job) -> None:
    heldout, test = PreparedSet(job.input.heldout[0]), PreparedSet(job.input.test[0])
    mixed, images = MixedModel.of_job(job), job.params.images
    points = Landscape(mixed, heldout, test, images, metric.of_job(job))
    plan = files.read_json(job.input.plan)
    table = [point["labels"] | points.of(point["recipe"]) for point in plan]
    log.info("%d points", len(table))
    # A table without rows has a column, so it can still be read.
    made = pd.DataFrame(table) if table else pd.DataFrame(columns=["panel"])
    files.write_text(job.output[0], made.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
