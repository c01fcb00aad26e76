"""Import a checkpoint made elsewhere as an ingredient, and compute its held-out logits."""

from contextlib import nullcontext

from soups.data.prepared import PreparedSet
from soups.jobs import devices
from soups.jobs.job import run
from soups.models import checkpoints, checksums
from soups.models.classifier import load_classifier
from soups.models.finite import leaving_out
from soups.models.fitting import released
from soups.models.foreign import reading
from soups.models.forward import write_heldout_logits
from soups.models.pretrained import Pretrained


def main(job) -> None:
    heldout, note = PreparedSet(job.input.heldout[0]), dict(job.params.note)
    # The other models need their start, so an unreadable one ends the run.
    with nullcontext() if job.params.start else leaving_out(job, note, heldout):
        # Files that were copied here by hand must have the same checksums as downloads.
        note["source"] = checksums.digest(reading.files_of(job.input.checkpoint))
        sums = job.config["ingredients"]["checkpoints"].get("sums")
        checksums.check(job.params.file, note["source"], sums, record=True)
        # Only the header of the pre-trained model is read, because the file may have no weights.
        model = Pretrained.described(job.input.pretrained)
        model.problem.check_inputs(heldout.inputs, model)
        state, more = released.ingredient(job, model)
        checkpoints.save(job.output.weights, state, more | note)
        classifier = load_classifier(job.input.pretrained, job.output.weights)
        write_heldout_logits(classifier.to(devices.device()), heldout, job.output.heldout)


if __name__ == "__main__":
    run(main, snakemake)
