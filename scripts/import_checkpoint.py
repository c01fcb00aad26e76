"""Import a checkpoint made elsewhere as an ingredient, and compute its held-out logits."""

from soups import files
from soups.data.images import PreparedSet
from soups.errors import UserError
from soups.jobs import devices, events
from soups.jobs.job import log, run
from soups.models import checkpoints, download, released
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import bring_in, load_classifier
from soups.models.forward import forward


def main(job) -> None:
    source, pretrained = job.input.checkpoint, job.input.pretrained
    layout, heldout = job.params.layout, PreparedSet(job.input.heldout[0])
    digest = files.sha256(source)
    # Files that were copied here by hand must have the same checksums as downloads.
    sums = job.config["ingredients"]["checkpoints"]["sums"]
    download.check(job.params.file, digest, sums, record=True)

    released.check_pretrained(pretrained, layout)
    # Only the header of the pre-trained model is read, because the file may have no weights.
    note = Checkpoint(pretrained).note
    tower = bring_in(note["architecture"], None)
    size = note.get("image_size", tower.image_size)
    if heldout.images.shape[1] != size:
        raise UserError(
            f"the prepared images are {heldout.images.shape[1]} pixels wide, expected {size} for "
            f"model.architecture, so set data.folders.image_size to {size}"
        )
    template = tower.classifier(len(heldout.classes)).state_dict()
    shapes = {name: tuple(tensor.shape) for name, tensor in template.items()}
    state = released.load(source, layout, shapes, job.params.dtype)
    note = {"pretrained": released.start(source, layout, pretrained), "source": digest}
    checkpoints.save(job.output.weights, state, note | job.params.note)

    model = load_classifier(pretrained, job.output.weights).to(devices.device())
    logits = forward(model, heldout.images, exact=True).numpy()
    files.write_array(job.output.heldout, logits)
    accuracy = float((logits.argmax(1) == heldout.labels).mean())
    log.info("held-out accuracy %.4f", accuracy)
    events.emit("done", heldout_accuracy=accuracy)


if __name__ == "__main__":
    run(main, snakemake)
