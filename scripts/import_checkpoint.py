"""Import a checkpoint made elsewhere as an ingredient, and compute its held-out logits."""

from soups import files
from soups.data.images import PreparedSet
from soups.jobs import devices
from soups.jobs.job import run
from soups.models import card, checkpoints, checksums, released
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import bring_in, load_classifier
from soups.models.forward import check_size, write_heldout_logits


def main(job) -> None:
    source, pretrained, layout = job.input.checkpoint, job.input.pretrained, job.params.layout
    heldout, digest = PreparedSet(job.input.heldout[0]), files.sha256(source)
    # Files that were copied here by hand must have the same checksums as downloads.
    sums = job.config["ingredients"]["checkpoints"]["sums"]
    checksums.check(job.params.file, digest, sums, record=True)

    released.check_pretrained(pretrained, layout)
    # Only the header of the pre-trained model is read, because the file may have no weights.
    note = Checkpoint(pretrained).note
    tower = bring_in(note["architecture"], None)
    check_size(heldout.images, note.get("image_size", tower.image_size))
    shapes = tower.shapes(len(heldout.classes))
    state = released.load(source, layout, shapes, job.params.dtype)
    note = {"pretrained": released.start(source, layout, pretrained), "source": digest}
    note |= card.of_job(job, tower) | job.params.note
    checkpoints.save(job.output.weights, state, note)

    model = load_classifier(pretrained, job.output.weights).to(devices.device())
    write_heldout_logits(model, heldout, job.output.heldout)


if __name__ == "__main__":
    run(main, snakemake)
