"""Make the starting points of fine-tuning: a linear probe, the zero-shot head and a head of zeros.

A model without a text tower has no zero-shot head.
"""

from soups import files
from soups.data import prompts
from soups.data.prepared import PreparedSet
from soups.jobs.job import log, run
from soups.models import card, checkpoints
from soups.models.pretrained import Pretrained
from soups.training.starts import saturated, starting_points


def main(job) -> None:
    train, heldout = PreparedSet(job.input.images[0]), PreparedSet(job.input.heldout[0])
    rows, pretrained = files.read_array(job.input.train), Pretrained.load(job.input.pretrained)
    templates, workers = prompts.templates(job.params.templates), job.threads - 1
    data = train, rows, heldout
    made = starting_points(pretrained, *data, templates, job.params.probe, workers)
    note = {"pretrained": files.sha256(job.input.pretrained), **card.of_job(job, pretrained)}
    for name, start in made.items():
        checkpoints.save(job.output[name], start.state, note | {"head": name})
        if start.logits is not None:
            files.write_array(job.output[f"{name}_heldout"], start.logits)
            right = start.logits.argmax(1) == heldout.labels
            log.info("%s: held-out accuracy %.4f", name, right.mean())
            if sentence := saturated(name, right.mean(), heldout.problem.examples):
                log.warning("%s", sentence)


if __name__ == "__main__":
    run(main, snakemake)
