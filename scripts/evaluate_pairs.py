"""Soups and ensembles along the line between two models, pair by pair (paper, figures 3 and 4).

On paths of several steps also the paper's approximation of the difference of their losses.
"""

import numpy as np
import pandas as pd

from soups import files
from soups.data.images import PreparedSet
from soups.evaluation import loss_gap
from soups.evaluation.calibration import temperature
from soups.evaluation.samples import Outputs, Samples, by_model, save_points, stacked
from soups.jobs import devices
from soups.jobs.job import log, run
from soups.mixing import recipes
from soups.mixing.mix import mix
from soups.models.batch_norm import settler
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.forward import forward


def main(job) -> None:
    p = job.params
    samples = Samples(job.input.sets, p.images)
    weights = dict(zip(p.models, job.input.weights, strict=True))
    logits = by_model(job.input.logits)
    model = load_classifier(job.input.pretrained, job.input.weights[0]).to(devices.device())
    heldout = PreparedSet(job.input.heldout[0])
    settle = settler(heldout.images, p.recalibrate)

    known: dict[str, Outputs] = {}

    def outputs(name: str) -> Outputs:
        if name in logits:
            return samples.cached(logits[name])
        if name not in known:
            model.load_state_dict(Checkpoint(weights[name]).state())
            known[name] = samples.logits(model)
        return known[name]

    table, points = [], []
    for pair in files.read_json(job.input.plan):
        ends = [outputs(pair[end]) for end in ("model_1", "model_2")]
        soups, betas = [], []
        for alpha in p.alphas:
            soup = ends[int(alpha)]
            if 0 < alpha < 1:
                amounts = {pair["model_1"]: 1 - alpha, pair["model_2"]: alpha}
                model.load_state_dict(mix(recipes.recipe(amounts, "pair"), weights))
                settle(model)
                soup = samples.logits(model)
            soups.append(soup)
            # β calibrates the soup, on the held-out set.
            inner = p.gap and 0 < alpha < 1
            betas.append(
                1 / temperature(forward(model, heldout.images, exact=True).numpy(), heldout.labels)
                if inner
                else np.nan
            )
        ensembles = [
            {n: (1 - alpha) * ends[0][n] + alpha * ends[1][n] for n in samples.names}
            for alpha in p.alphas
        ]
        for i, alpha in enumerate(p.alphas):
            ours, theirs = samples.right(soups[i]), samples.right(ensembles[i])
            row = pair | {"alpha": alpha} | samples.row(ours)
            row |= {f"ensemble_{name}": value for name, value in samples.row(theirs).items()
                    if not name.startswith("n_")}  # fmt: skip
            point = {f"soup/{name}": hits for name, hits in ours.items()}
            point |= {f"ensemble/{name}": hits for name, hits in theirs.items()}
            if p.gap:
                path, both = [soup["test"] for soup in soups], ensembles[i]["test"]
                labels = samples.labels["test"]
                true, guess, columns = loss_gap.at(i, p.alphas, path, both, labels, betas[i])
                row |= columns
                point |= {"gap/test": true, "approximation/test": guess}
            table.append(row)
            points.append(point)
        log.info("%s, %s: %d points", pair["model_1"], pair["model_2"], len(p.alphas))
    files.write_text(job.output.table, pd.DataFrame(table).to_csv(index=False))
    save_points(job.output.points, stacked(points), samples.derived)


if __name__ == "__main__":
    run(main, snakemake)
