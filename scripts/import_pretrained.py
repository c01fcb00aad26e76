"""Bring in a ready-made pre-trained model: a file this workflow wrote, or an open_clip tag."""

from soups import files
from soups.job import log, run
from soups.model import Pretrained


def main(job) -> None:
    source, architecture = job.params.source, job.params.architecture
    if source.endswith(".safetensors"):
        Pretrained.load(source)  # that it fits its architecture
        # Byte for byte, so that its hash and the note on how it was made stay.
        files.copy(source, job.output[0])
    else:
        model = Pretrained(architecture, words=None, tag=source)
        model.save(job.output[0], {"source": source})
    log.info("pre-trained model from %s", source)


if __name__ == "__main__":
    run(main, snakemake)
