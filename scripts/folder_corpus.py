"""Captioned images for pre-training, from the share of the training folder set aside for it."""

from pathlib import Path

import numpy as np

from soups import files, folders
from soups.job import log, run


def main(job) -> None:
    data = job.params.data
    folder = Path(data["root"]) / data["train"]
    names = folders.classes(folder)
    paths, labels = folders.listing(folder, names)
    seed = data.get("seed", 0)
    _, rows = folders.training_share(labels, data["pretrain_fraction"], seed, names)
    log.info("%d of %d training images go to pre-training", len(rows), len(paths))

    rng = np.random.default_rng(seed)
    titles, templates = folders.display_names(names, data.get("names")), job.params.templates
    captions = []
    for row in rows:
        wrong = rng.random() < job.params.wrong
        title = titles[rng.integers(len(titles)) if wrong else labels[row]]
        captions.append(templates[rng.integers(len(templates))].format(title))
    pixels = folders.prepare(folder, [paths[i] for i in rows], data["image_size"])
    files.write_text(job.output.captions, "\n".join(captions) + "\n")
    files.write_array(job.output.images, pixels)


if __name__ == "__main__":
    run(main, snakemake)
