"""calibration.csv: ECE, likelihood and Brier score of every method, before and after scaling;
reliability.csv: accuracy of each bin of confidence on the test set."""

import numpy as np
import pandas as pd
from scipy.special import softmax

from soups import files
from soups.evaluation import calibration, resampling
from soups.evaluation.logits import Outputs, models_of
from soups.evaluation.metrics import restrict
from soups.evaluation.tables import DECIMALS
from soups.jobs.job import run


def main(job) -> None:
    outputs = Outputs(job)
    methods = pd.read_csv(job.input.methods)
    reference = None
    rows, bins = [], []
    for method, models in models_of(methods, job.params.soups):
        each = [_rows(outputs, model) for model in models]
        for data, versions in zip(outputs.sets, zip(*each, strict=True), strict=True):
            mean = pd.DataFrame(versions).mean().to_dict()
            rows.append({"method": method, "set": data.name, "n": len(data.labels)} | mean)
        sure = [_sure(outputs, model) for model in models]
        errors = np.mean([calibration.debiased_ece(*values) for values in sure], axis=0)
        reference = errors if reference is None else reference  # the first row: the best model
        gain = dict(zip(GAIN, resampling.interval(reference - errors, biased=True), strict=True))
        next(row for row in rows if row["method"] == method and row["set"] == "test").update(gain)
        if len(models) == 1:
            columns = zip(*calibration.reliability(*sure[0]), strict=True)
            bins += [dict(zip(BIN, (method, *values), strict=True)) for values in columns]
    table = pd.DataFrame(rows).round(DECIMALS)
    files.write_text(job.output.calibration, table.to_csv(index=False))
    files.write_text(job.output.reliability, pd.DataFrame(bins).round(DECIMALS).to_csv(index=False))


GAIN = ("ece_gain", "ece_gain_lo", "ece_gain_hi")
BIN = ("method", "confidence", "accuracy", "n")


def _sure(outputs: Outputs, model: str) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the predicted class on the test set, and whether it is right."""
    data, logits = next((d, logits) for d, logits in outputs.tests(model) if d.name == "test")
    probabilities = softmax(restrict(logits, data.members).astype(np.float64), axis=1)
    return probabilities.max(1), probabilities.argmax(1) == data.labels


def _rows(outputs: Outputs, model: str) -> list[dict]:
    """Temperature of a model, and its scores on each set before and after it."""
    divisor = calibration.temperature(outputs.heldout(model), outputs.heldout_labels)
    rows = []
    for data, logits in outputs.tests(model):
        logits = restrict(logits, data.members)
        scaled = calibration.scores(logits / divisor, data.labels)
        rows.append(
            {"temperature": divisor}
            | calibration.scores(logits, data.labels)
            | {f"{name}_scaled": value for name, value in scaled.items()}
        )
    return rows


if __name__ == "__main__":
    run(main, snakemake)
