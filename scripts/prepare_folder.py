"""Decode one image folder into a prepared set."""

from pathlib import Path

from soups import folders
from soups.images import write_set
from soups.job import log, run


def main(job) -> None:
    data, spec, name = job.params.data, job.params.spec, job.params.set
    root = Path(data["root"])
    train = folders.classes(root / data["train"])
    folder = root / spec["folder"]
    here = folders.classes(folder)
    mapping = folders.shift_mapping(train, here, spec.get("mapping"), name)
    paths, labels = folders.listing(folder, here)
    if name == "train":
        keep, _ = folders.training_share(
            labels, data.get("pretrain_fraction", 0), data.get("seed", 0), here
        )
        paths, labels = [paths[i] for i in keep], labels[keep]
    log.info("%s: %d images of %d classes in %s", name, len(paths), len(here), folder)
    pixels = folders.prepare(folder, paths, data["image_size"])
    titles = folders.display_names(here, data.get("names"))
    mapping = [(title, members) for title, (_, members) in zip(titles, mapping, strict=True)]
    write_set(job.output[0], pixels, labels, mapping, paths)


if __name__ == "__main__":
    run(main, snakemake)
