"""Fine-tune one ingredient, and compute its held-out logits, which rules of selection need."""

from functools import partial
from pathlib import Path

import numpy as np

from soups import files
from soups.data.images import PreparedSet
from soups.jobs import distributed, events
from soups.jobs.job import log, run
from soups.jobs.resume import Resumable
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.forward import forward
from soups.training.finetune import finetune


def main(job) -> None:
    data, heldout = PreparedSet(job.input.images[0]), PreparedSet(job.input.heldout[0])
    rows, hyperparameters = files.read_array(job.input.train), job.params.hyperparameters
    inputs = {name: files.sha256(job.input[name]) for name in ("initialization", "train")}
    teacher = files.read_array(job.input.teacher[0]) if job.input.teacher else None
    inputs |= {"teacher": files.sha256(job.input.teacher[0])} if job.input.teacher else {}
    choices = {"classes": job.params.classes, "compute": job.params.compute}
    # The images are too large to hash, so their stamps identify them.
    made = [files.stamp(path) for path in job.input.images]
    identity = hyperparameters | inputs | choices
    identity |= {"images": made, "stage": job.params.stage}
    state = Resumable(job.params.state, identity, Path(job.output.weights).stem)

    workers = job.threads - 1
    model = load_classifier(job.input.pretrained, job.input.initialization)
    if job.params.classes:
        classes = [data.classes.index(name) for name in job.params.classes]
        position = np.full(len(data.classes), -1)
        position[classes] = np.arange(len(classes))
        labels = position[data.labels]
        own = rows[labels[rows] >= 0]
        with model.only(classes):
            finetune(model, data.images, labels, own, hyperparameters, state, workers=workers)
    else:
        finetune(model, data.images, data.labels, rows, hyperparameters, state, teacher, workers)
    if distributed.rank():  # only the first of several processes evaluates and writes
        return

    logits = forward(model, heldout.images, exact=True).numpy()
    note = {"pretrained": Checkpoint(job.input.initialization).note["pretrained"]}
    note |= {"hyperparameters": hyperparameters, "compute": job.params.compute, "inputs": inputs}
    files.write_array(job.output.heldout, logits)
    checkpoints.save(job.output.weights, model.state_dict(), note)
    state.remove()
    accuracy = float((logits.argmax(1) == heldout.labels).mean())
    log.info("held-out accuracy %.4f", accuracy)
    events.emit("done", heldout_accuracy=accuracy)


if __name__ == "__main__":
    run(partial(distributed.spread, main), snakemake)
