"""Import a pre-trained model.

The source is a file that this workflow wrote, a tag of open_clip or timm, or a file of weights.
"""

from soups import files
from soups.errors import UserError
from soups.jobs.job import log, run
from soups.models.architectures import header
from soups.models.classifier import Pretrained, bring_in


def main(job) -> None:
    source, architecture = job.params.source, job.params.architecture
    if source and source.endswith(".safetensors") and "architecture" in header(source):
        Pretrained.load(source)  # checks that the weights fit the architecture
        # A copy keeps the hash and the note on how the model was made.
        files.copy(source, job.output[0])
    else:
        model = bring_in(architecture, source)
        size = job.params.image_size
        if size not in (None, model.image_size):
            raise UserError(
                f"data.folders.image_size is {size}, expected {model.image_size}, the size of "
                f"model.architecture {architecture!r} with model.pretrained {source!r}"
            )
        model.mean = job.params.pixels["mean"] or model.mean
        model.std = job.params.pixels["std"] or model.std
        log.info("the pixels have mean %s and std %s", model.mean, model.std)
        # Ready-made ingredients need the architecture alone, so a model without a source has no
        # weights in the file.
        model.save(job.output[0], {"source": source}, weights=source is not None)
    log.info("the pre-trained model comes from %s", source)


if __name__ == "__main__":
    run(main, snakemake)
