"""Make a prepared set of one image folder: decoded, packed, or as a list of files."""

from pathlib import Path

from soups import files
from soups.data import decode, folders, preparation
from soups.data.prepared import write_set
from soups.jobs.job import log, run


def main(job) -> None:
    data, name = job.params.data, job.params.set
    report = files.read_json(job.input.report)
    found = folders.listing(data, name, report["corrupt"])
    paths, labels = preparation.own_images(data, name, found)
    images, where = preparation.image_files(data, name, paths), preparation.location(data, name)
    count = len(paths), len(found.names)
    log.info("%s: %d images of %d classes in %s", name, *count, where["folder"])

    more, pixels = {"dropped": report["positions"]}, None
    if hasattr(job.output, "ends"):
        ends = decode.pack(images, job.output.packed, data["packed_side"], job.threads)
        files.write_array(job.output.ends, ends)
        more["decode"] = where | {key: Path(job.output[key]).name for key in ("packed", "ends")}
    elif name == "train" and data["training_images"] == "folder":
        more["decode"] = where
    else:
        pixels = decode.blocks(images, job.threads)
    mapping = preparation.mapping(data, name, found)
    write_set(job.output.labels.replace(".labels", ""), pixels, labels, mapping, paths, **more)


if __name__ == "__main__":
    run(main, snakemake)
