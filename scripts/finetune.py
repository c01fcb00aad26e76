"""Fine-tune one ingredient, and compute its held-out logits, which rules of selection need."""

from functools import partial
from pathlib import Path

from soups import files
from soups.data.prepared import PreparedSet
from soups.jobs import distributed
from soups.jobs.job import run
from soups.jobs.resume import Resumable
from soups.models import card, checkpoints, finite, forward
from soups.models.classifier import load_classifier
from soups.training.finetune import finetune_on, identity


def main(job) -> None:
    data, heldout = PreparedSet(job.input.images[0]), PreparedSet(job.input.heldout[0])
    start, p, row = job.input.initialization, job.params, job.params.hyperparameters
    paths = {"initialization": start, "train": job.input.train}
    paths |= {"teacher": job.input.teacher[0]} if job.input.teacher else {}
    inputs = {name: files.sha256(path) for name, path in paths.items()}
    whole = identity(row, inputs, job.input.images, p.classes, p.compute, p.stage)
    state = Resumable(p.state, whole, Path(job.output.weights).stem)

    model, rows = load_classifier(job.input.pretrained, start), files.read_array(job.input.train)
    teacher = files.read_array(paths["teacher"]) if "teacher" in paths else None
    note = {"pretrained": checkpoints.Checkpoint(start).note["pretrained"], "inputs": inputs}
    note |= {"hyperparameters": row, "compute": p.compute, **card.of_job(job, model)}
    with finite.leaving_out(job, note, heldout):
        finetune_on(model, data, rows, row, state, p.classes, teacher, job.threads - 1)
        if distributed.rank():  # only the first of several processes evaluates and writes
            return
        checkpoints.save(job.output.weights, model.state_dict(), note)
        forward.write_heldout_logits(model, heldout, job.output.heldout)
    state.remove()


if __name__ == "__main__":
    run(partial(distributed.spread, main), snakemake)
