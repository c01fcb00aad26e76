"""Soups and ensembles along the line between two models, pair by pair (paper, figures 3 and 4).

On paths of several steps also the paper's approximation of the difference of their losses.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from soups import files, loss_gap, optim, recipes
from soups.calibration import temperature
from soups.checkpoints import Checkpoint
from soups.evaluate import forward
from soups.images import PreparedSet
from soups.job import log, run
from soups.mixing import mix
from soups.model import load_classifier
from soups.samples import Outputs, Samples, save_points, stacked


def main(job) -> None:
    p = job.params
    samples = Samples(job.input.sets, p.images)
    weights = dict(zip(p.models, job.input.weights, strict=True))
    logits: dict[str, dict[str, str]] = {}
    for path in map(Path, job.input.logits):
        logits.setdefault(path.parent.name, {})[path.stem] = str(path)
    model = load_classifier(job.input.pretrained, job.input.weights[0]).to(optim.device())
    data, rows = PreparedSet(job.input.images), files.read_array(job.input.heldout)
    heldout_labels = data.labels[rows]

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
                soup = samples.logits(model)
            soups.append(soup)
            # β calibrates the soup, on the held-out set.
            inner = p.gap and 0 < alpha < 1
            betas.append(
                1 / temperature(forward(model, data.images, rows).numpy(), heldout_labels)
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
                columns, images = gap(i, p.alphas, betas[i], soups, ensembles, samples)
                row, point = row | columns, point | images
            table.append(row)
            points.append(point)
        log.info("%s, %s: %d points", pair["model_1"], pair["model_2"], len(p.alphas))
    files.write_text(job.output.table, pd.DataFrame(table).to_csv(index=False))
    save_points(job.output.points, stacked(points), samples.derived)


def gap(i, alphas, beta, soups, ensembles, samples) -> tuple[dict, dict]:
    """The true and the approximate difference of losses on the test set at point i of a path.

    The second derivative is taken from the points one step before and after; from those two
    steps away as a check. At the ends there is none.

    Returns:
        columns of the table; and per image the true and the approximate difference.
    """
    labels, test = samples.labels["test"], [soup["test"] for soup in soups]
    step = alphas[1] - alphas[0]
    empty = np.full(len(labels), np.nan)

    def curvature(away: int) -> np.ndarray:
        if not away <= i < len(alphas) - away:
            return empty
        near = (loss_gap.loss(test[j], labels, beta) for j in (i - away, i, i + away))
        return loss_gap.second_difference(*near, away * step)

    here, wide = curvature(1), curvature(2)
    soup = ensemble = spread = empty
    if 0 < i < len(alphas) - 1:
        soup = loss_gap.loss(test[i], labels, beta)
        ensemble = loss_gap.loss(ensembles[i]["test"], labels, beta)
        spread = loss_gap.variance(test[i], test[-1] - test[0], beta)
    guess = loss_gap.approximation(alphas[i], here, beta, spread)
    columns = {
        "beta": beta,
        "soup_loss": soup.mean(),
        "ensemble_loss": ensemble.mean(),
        "curvature": here.mean(),
        "curvature_wide": wide.mean(),
        "variance": spread.mean(),
        "gap": (soup - ensemble).mean(),
        "gap_approximation": guess.mean(),
    }
    columns = {name: round(float(value), 6) for name, value in columns.items()}
    images = {"gap/test": soup - ensemble, "approximation/test": guess}
    return columns, {name: values.astype(np.float32) for name, values in images.items()}


if __name__ == "__main__":
    run(main, snakemake)
