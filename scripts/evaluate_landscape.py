"""Held-out loss and test accuracy of the recipes of planes, mixed one after the other."""

import pandas as pd
import torch
import torch.nn.functional as F

from soups import files
from soups.data.images import PreparedSet
from soups.data.sampling import sample
from soups.jobs import devices
from soups.jobs.job import log, run
from soups.mixing.mix import mix
from soups.models.batch_norm import settler
from soups.models.classifier import load_classifier
from soups.models.forward import forward


def main(job) -> None:
    p = job.params
    weights = dict(zip(p.models, job.input.weights, strict=True))
    model = load_classifier(job.input.pretrained, job.input.weights[0]).to(devices.device())
    heldout, test = PreparedSet(job.input.heldout[0]), PreparedSet(job.input.test[0])
    chosen, tested = (sample(len(data.labels), p.images) for data in (heldout, test))
    settle = settler(heldout.images, p.recalibrate)
    wanted = torch.from_numpy(heldout.labels[chosen])
    counts = {"n_heldout": len(chosen), "n_test": len(tested)}

    table = []
    for point in files.read_json(job.input.plan):
        model.load_state_dict(mix(point["recipe"], weights))
        settle(model)
        logits = forward(model, heldout.images, chosen, exact=True)
        right = forward(model, test.images, tested).argmax(1).numpy() == test.labels[tested]
        values = {
            "heldout_loss": F.cross_entropy(logits.double(), wanted).item(),
            "test": float(right.mean()),
        }
        values = {name: round(value, 6) for name, value in values.items()}
        table.append(point["labels"] | values | counts)
    log.info("%d points", len(table))
    files.write_text(job.output[0], pd.DataFrame(table).to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
