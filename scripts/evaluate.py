"""Logits of one model on the test set and every shift."""

from soups import devices, files
from soups.evaluate import forward
from soups.images import PreparedSet
from soups.job import log, run
from soups.metrics import correct
from soups.model import load_classifier


def main(job) -> None:
    model = load_classifier(job.input.pretrained, job.input.weights).to(devices.device())
    for source, target in zip(job.input.sets, job.output, strict=True):
        data = PreparedSet(source)
        logits = forward(model, data.images).numpy()
        files.write_array(target, logits)
        log.info("%s: accuracy %.4f", data.name, correct(logits, data.labels, data.members).mean())


if __name__ == "__main__":
    run(main, snakemake)
