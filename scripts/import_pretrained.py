"""Bring in a ready-made pre-trained model: one this workflow wrote, a tag, or a file of weights."""

from soups import files
from soups.errors import UserError
from soups.jobs.job import log, run
from soups.models.architectures import header
from soups.models.classifier import Pretrained, bring_in


def main(job) -> None:
    source, architecture = job.params.source, job.params.architecture
    if source and source.endswith(".safetensors") and "architecture" in header(source):
        Pretrained.load(source)  # that it fits its architecture
        # Byte for byte, so that its hash and the note on how it was made stay.
        files.copy(source, job.output[0])
    else:
        model = bring_in(architecture, source)
        size = job.params.image_size
        if size not in (None, model.image_size):
            raise UserError(
                f"data.folders.image_size is {size}, expected {model.image_size}, that of "
                f"model.architecture {architecture!r} with model.pretrained {source!r}"
            )
        model.mean = job.params.pixels["mean"] or model.mean
        model.std = job.params.pixels["std"] or model.std
        log.info("pixels have mean %s and deviation %s", model.mean, model.std)
        # Ready-made ingredients need no more of it than the architecture.
        model.save(job.output[0], {"source": source}, weights=source is not None)
    log.info("pre-trained model from %s", source)


if __name__ == "__main__":
    run(main, snakemake)
