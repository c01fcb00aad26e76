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
        model = members if kind == "model" else method
        if kind == "soup":
            orders = [name for name, entry in job.params.soups.items() if entry["row"] == method]
            model = orders[0] if len(orders) == 1 else None
        if kind == "oracle" or model is None:
            continue  # another model on each set; a mean over several orders
        divisor = calibration.temperature(outputs.heldout(model), outputs.heldout_labels)
        for data, logits in outputs.tests(model):
            logits = restrict(logits, data.members)
            scaled = calibration.scores(logits / divisor, data.labels)
            rows.append(
                {"method": method, "set": data.name, "temperature": divisor, "n": len(data.labels)}
                | calibration.scores(logits, data.labels)
                | {f"{name}_scaled": value for name, value in scaled.items()}
            )
    files.write_text(job.output[0], pd.DataFrame(rows).round(DECIMALS).to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
