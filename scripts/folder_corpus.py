"""Caption the share of the training folder that is set aside for pre-training."""

from pathlib import Path

import numpy as np

from soups import files
from soups.data import decode, folders, prompts
from soups.jobs.job import log, run


def main(job) -> None:
    data = job.params.data
    found = folders.listing(data, "train", files.read_json(job.input.report)["corrupt"])
    names, paths, labels = found.names, found.paths, found.labels
    seed = data["seed"]
    _, rows = folders.training_share(labels, data["pretrain_fraction"], seed, names)
    log.info("pre-training takes %d of %d training images", len(rows), len(paths))

    rng = np.random.default_rng(seed)
    titles = prompts.display_names(names, data["names"])
    templates = prompts.templates(job.params.templates)
    captions = []
    for row in rows:
        wrong = rng.random() < job.params.wrong
        title = titles[rng.integers(len(titles)) if wrong else labels[row]]
        captions.append(templates[rng.integers(len(templates))].format(title))
    spec = data["train"]
    folder, chosen = Path(data["root"]) / spec["folder"], [paths[i] for i in rows]
    images = decode.ImageFiles(folder, chosen, data["image_size"], spec["border"], data["upright"])
    files.write_text(job.output.captions, "\n".join(captions) + "\n")
    files.write_blocks(job.output.images, decode.blocks(images, job.threads), len(rows))


if __name__ == "__main__":
    run(main, snakemake)
