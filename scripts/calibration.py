"""Write the calibration of every method before and after temperature scaling.

calibration.csv has ECE, negative log-likelihood and Brier score on each set. reliability.csv has
the accuracy of each bin of confidence on the test set.
"""

import pandas as pd

from soups import files
from soups.evaluation.calibration import tables
from soups.evaluation.logits import CachedLogits, models_of
from soups.evaluation.tables import DECIMALS
from soups.jobs.job import run


def main(job) -> None:
    methods = models_of(pd.read_csv(job.input.methods), job.params.soups)
    scores, bins = tables(CachedLogits(job), methods)
    files.write_text(job.output.calibration, scores.round(DECIMALS).to_csv(index=False))
    files.write_text(job.output.reliability, bins.round(DECIMALS).to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
