"""Draw the captioned images for the pre-training of the miniature's CLIP."""

from soups import files
from soups.jobs.job import run
from soups.world.sets import CaptionNoise, caption_set, draw_set


def main(job) -> None:
    world = job.params.world
    pixels, labels, styles = draw_set("corpus", job.params.number, world["seed"], world["variants"])
    captions = caption_set(labels, styles, world["seed"], CaptionNoise(**job.params.noise))
    files.write_text(job.output.captions, "\n".join(captions) + "\n")
    files.write_array(job.output.images, pixels)


if __name__ == "__main__":
    run(main, snakemake)
