"""Compute the logits of one model on the test set and on every shift."""

from soups import files
from soups.data.prepared import PreparedSet
from soups.evaluation.metrics import correct
from soups.jobs import devices, left_out
from soups.jobs.job import log, run
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.finite import missing_logits
from soups.models.forward import forward


def main(job) -> None:
    checkpoint = Checkpoint(job.input.weights)
    if checkpoint.left_out:
        log.info("%s", left_out.line(job.input.weights, checkpoint.left_out["reason"]))
        classes = checkpoint.note["number_of_classes"]
        for source, target in zip(job.input.sets, job.output, strict=True):
            files.write_array(target, missing_logits(len(PreparedSet(source).labels), classes))
        return
    model = load_classifier(job.input.pretrained, job.input.weights).to(devices.device())
    for source, target in zip(job.input.sets, job.output, strict=True):
        data = PreparedSet(source)
        logits = forward(model, data.inputs).numpy()
        files.write_array(target, logits)
        log.info("%s: accuracy %.4f", data.name, correct(logits, data.labels, data.members).mean())


if __name__ == "__main__":
    run(main, snakemake)
