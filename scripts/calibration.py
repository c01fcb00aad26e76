"""calibration.csv: ECE, likelihood and Brier score of every method, before and after scaling."""

import pandas as pd

from soups import calibration, files
from soups.job import run
from soups.metrics import restrict
from soups.outputs import Outputs
from soups.tables import DECIMALS


def main(job) -> None:
    outputs = Outputs(job)
    methods = pd.read_csv(job.input.methods)
    rows = []
    for method, kind, members in methods[["method", "kind", "members"]].itertuples(index=False):
        if kind == "oracle":
            continue  # another model on each set
        models = [members if kind == "model" else method]
        if kind == "soup":  # one, or one for each order
            models = [name for name, entry in job.params.soups.items() if entry["row"] == method]
        each = [_rows(outputs, model) for model in models]
        for data, versions in zip(outputs.sets, zip(*each, strict=True), strict=True):
            mean = pd.DataFrame(versions).mean().to_dict()
            rows.append({"method": method, "set": data.name, "n": len(data.labels)} | mean)
    table = pd.DataFrame(rows).round(DECIMALS)
    files.write_text(job.output[0], table.to_csv(index=False))


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
