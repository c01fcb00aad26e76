"""Compute the logits of one model on the test set and on every shift."""

from soups import files
from soups.data.images import PreparedSet
from soups.evaluation.metrics import correct
from soups.jobs import devices
from soups.jobs.job import log, run
from soups.models.classifier import load_classifier
from soups.models.forward import forward


def main(job) -> None:
    model = load_classifier(job.input.pretrained, job.input.weights).to(devices.device())
    for source, target in zip(job.input.sets, job.output, strict=True):
        data = PreparedSet(source)
        logits = forward(model, data.images).numpy()
        files.write_array(target, logits)
        log.info("%s: accuracy %.4f", data.name, correct(logits, data.labels, data.members).mean())


if __name__ == "__main__":
    run(main, snakemake)
