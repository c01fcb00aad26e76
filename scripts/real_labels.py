"""Compute the test accuracy of every method with ReaL's labels, from cached logits.

ReaL defines an accuracy, so other metrics do not apply here.
"""

import numpy as np
import pandas as pd

from soups import files
from soups.data import real
from soups.evaluation.logits import CachedLogits, models_of
from soups.evaluation.metrics import bootstrap_mean
from soups.evaluation.tables import DECIMALS
from soups.jobs.job import run


def main(job) -> None:
    outputs = CachedLogits(job)
    test = next(data for data in outputs.sets if data.name == "test")
    labels = real.read(job.input.real[0], test.meta["paths"], job.params.classes)
    rows = []
    for method, models in models_of(pd.read_csv(job.input.methods), job.params.soups):
        logits = [next(found for d, found in outputs.tests(m) if d is test) for m in models]
        right = np.mean([real.correct(each, labels) for each in logits], axis=0)
        values = dict(
            zip(("real", "lo", "hi"), (right.mean(), *bootstrap_mean([right])), strict=True)
        )
        rows.append({"method": method} | values | {"n": len(right)})
    table = pd.DataFrame(rows).round(DECIMALS)
    files.write_text(job.output[0], table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
