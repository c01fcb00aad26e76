"""Make a prepared set of one image folder: decoded, packed, or as a list of files."""

from pathlib import Path

from soups import files
from soups.data import decode, folders
from soups.data.images import write_set
from soups.data.prompts import display_names
from soups.jobs.job import log, run


def main(job) -> None:
    data, name = job.params.data, job.params.set
    spec, report = folders.sources(data)[name], files.read_json(job.input.report)
    found = folders.listing(data, name, report["corrupt"])
    folder, size = Path(data["root"]) / spec["folder"], data["image_size"]
    paths, labels = found.paths, found.labels
    if name == "train":
        keep, _ = folders.training_share(
            labels, data["pretrain_fraction"], data["seed"], found.names
        )
        paths, labels = [paths[i] for i in keep], labels[keep]
    images = decode.ImageFiles(folder, paths, size, spec["border"], data["upright"])
    log.info("%s: %d images of %d classes in %s", name, len(paths), len(found.names), folder)

    more, pixels = {"dropped": report["positions"]}, None
    originals = {"folder": str(folder), "size": size}
    originals |= {"border": spec["border"], "upright": data["upright"]}
    if hasattr(job.output, "ends"):
        ends = decode.pack(images, job.output.packed, data["packed_side"], job.threads)
        files.write_array(job.output.ends, ends)
        names = {key: Path(job.output[key]).name for key in ("packed", "ends")}
        more["decode"] = originals | names
    elif name == "train" and data["training_images"] == "folder":
        more["decode"] = originals
    else:
        pixels = decode.blocks(images, job.threads)
    titles = _titles(found, spec["layout"], folders.training_classes(data), data["names"])
    mapping = [(title, members) for title, (_, members) in zip(titles, found.mapping, strict=True)]
    write_set(job.output.labels.replace(".labels", ""), pixels, labels, mapping, paths, **more)


def _titles(found, layout: str, train: list[str], names) -> list[str]:
    """Return the name of each class in prompts.

    A class that is not a training class gets the name of its folder.
    """
    known = dict(zip(train, display_names(train, names), strict=True))
    if layout == "imagenet_index":
        return [known[train[members[0]]] for _, members in found.mapping]
    own = display_names(found.names, None)
    return [known.get(name, title) for name, title in zip(found.names, own, strict=True)]


if __name__ == "__main__":
    run(main, snakemake)
