"""Import a pre-trained model: of this workflow, or by a tag, an address, a file or a folder."""

from soups import files
from soups.errors import UserError
from soups.jobs.job import log, run
from soups.models.architectures import header
from soups.models.finite import check_finite
from soups.models.pretrained import Pretrained, bring_in


def main(job) -> None:
    source, architecture = job.params.source, job.params.architecture
    ours = source and source.endswith(".safetensors") and "architecture" in header(source)
    kind = job.params.get("weights", "plain")
    model = Pretrained.load(source) if ours else bring_in(architecture, source, kind)
    if source:
        check_finite(model.whole.state_dict(), source)
    if ours:
        files.copy(source, job.output[0])  # keeps the hash and the note on how it was made
    else:
        if job.params.image_size not in (None, model.image_size):
            raise UserError(
                f"data.folders.image_size is {job.params.image_size}, expected {model.image_size}, "
                f"the size of model.architecture {architecture!r} with model.pretrained {source!r}"
            )
        model.mean = job.params.pixels["mean"] or model.mean
        model.std = job.params.pixels["std"] or model.std
        log.info("the pixels have mean %s and std %s", model.mean, model.std)
        # A model for ready-made ingredients has no source. Its file has no weights.
        model.save(job.output[0], {"source": source}, weights=source is not None)
    log.info("the pre-trained model comes from %s", source)


if __name__ == "__main__":
    run(main, snakemake)
