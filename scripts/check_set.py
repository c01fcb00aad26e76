"""Check every image of a set before any computation: list missing and unreadable images."""

from soups import files
from soups.data import decode, duplicates, folders, preparation
from soups.jobs.job import log, run


def main(job) -> None:
    data, name = job.params.data, job.params.set
    found = folders.listing(data, name)
    images = preparation.image_files(data, name, found.paths)
    broken, hashes = decode.examine(images, job.threads)
    for _, reason in broken:
        log.info("%s", reason)
    report = preparation.report(data, name, found, broken)
    log.info("%d images of %d classes", report["images"], report["classes"])
    files.write_text(job.output.images, duplicates.listed(found, hashes))
    files.write_json(job.output.report, report)


if __name__ == "__main__":
    run(main, snakemake)
