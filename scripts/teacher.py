"""The sweep's ensemble as a teacher: its mean logits on the images the ingredients trained on."""

import numpy as np

from soups import devices, files
from soups.evaluate import forward
from soups.images import PreparedSet
from soups.job import log, run
from soups.model import load_classifier


def main(job) -> None:
    images = PreparedSet(job.input.images[0]).images
    rows = files.read_array(job.input.train)
    total = 0
    for path in job.input.weights:
        model = load_classifier(job.input.pretrained, path).to(devices.device())
        total += forward(model, images, rows, workers=job.threads - 1).numpy()
        log.info("%s", path)
    files.write_array(job.output[0], np.asarray(total / len(job.input.weights), np.float32))


if __name__ == "__main__":
    run(main, snakemake)
