"""Caption the share of the training folder that is set aside for pre-training."""

from soups import files
from soups.data import decode, folders, preparation, prompts
from soups.jobs.job import log, run


def main(job) -> None:
    data = job.params.data
    found = folders.listing(data, "train", files.read_json(job.input.report)["corrupt"])
    share, seed = data["pretrain_fraction"], data["seed"]
    _, rows = folders.training_share(found.labels, share, seed, found.names)
    log.info("pre-training takes %d of %d training images", len(rows), len(found.paths))

    titles = prompts.display_names(found.names, data["names"])
    templates = prompts.templates(job.params.templates)
    labels = found.labels[rows]
    captions = prompts.captions(labels, titles, templates, job.params.wrong, seed)
    images = preparation.image_files(data, "train", [found.paths[i] for i in rows])
    files.write_text(job.output.captions, "\n".join(captions) + "\n")
    files.write_blocks(job.output.images, decode.blocks(images, job.threads), len(rows))


if __name__ == "__main__":
    run(main, snakemake)
