"""Compute the teacher: the mean logits of the ingredients on the training images."""

import numpy as np

from soups import files
from soups.data.prepared import PreparedSet
from soups.jobs import devices
from soups.jobs.job import log, run
from soups.models import usable
from soups.models.classifier import load_classifier
from soups.models.forward import forward


def main(job) -> None:
    inputs = PreparedSet(job.input.images[0]).inputs
    rows = files.read_array(job.input.train)
    total, kept = 0, usable.by_weights({path: path for path in job.input.weights})
    for path in kept:
        model = load_classifier(job.input.pretrained, path).to(devices.device())
        total += forward(model, inputs, rows, workers=job.threads - 1).numpy()
        log.info("added the logits of %s", path)
    files.write_array(job.output[0], np.asarray(total / len(kept), np.float32))


if __name__ == "__main__":
    run(main, snakemake)
