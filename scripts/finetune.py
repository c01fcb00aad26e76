"""Fine-tune one ingredient; its held-out logits come along, so no selection needs another job."""

import numpy as np

from soups import checkpoints, files
from soups.checkpoints import Checkpoint
from soups.evaluate import forward
from soups.images import PreparedSet
from soups.job import log, run
from soups.model import load_classifier
from soups.resume import Resumable
from soups.train import finetune


def main(job) -> None:
    data, h = PreparedSet(job.input.images), job.params.hyperparameters
    rows = files.read_array(job.input.train)
    heldout = files.read_array(job.input.heldout)
    inputs = {name: files.sha256(job.input[name]) for name in ("initialization", "train")}
    teacher = files.read_array(job.input.teacher[0]) if job.input.teacher else None
    inputs |= {"teacher": files.sha256(job.input.teacher[0])} if job.input.teacher else {}
    state = Resumable(
        job.params.state, h | inputs | {"stage": job.params.stage, "classes": job.params.classes}
    )

    model = load_classifier(job.input.pretrained, job.input.initialization)
    if job.params.classes:
        classes = [data.classes.index(name) for name in job.params.classes]
        position = np.full(len(data.classes), -1)
        position[classes] = np.arange(len(classes))
        labels = position[data.labels]
        with model.only(classes):
            finetune(model, data.images, labels, rows[labels[rows] >= 0], h, state)
    else:
        finetune(model, data.images, data.labels, rows, h, state, teacher)

    logits = forward(model, data.images, heldout).numpy()
    note = {"pretrained": Checkpoint(job.input.initialization).note["pretrained"]}
    note |= {"hyperparameters": h, "inputs": inputs}
    files.write_array(job.output.heldout, logits)
    checkpoints.save(job.output.weights, model.state_dict(), note)
    state.remove()
    log.info("held-out accuracy %.4f", (logits.argmax(1) == data.labels[heldout]).mean())


if __name__ == "__main__":
    run(main, snakemake)
