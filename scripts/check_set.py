"""Check every image of a set before any computation: list missing and unreadable images."""

from pathlib import Path

from soups import files
from soups.data import decode, folders
from soups.errors import UserError
from soups.jobs.job import log, run


def main(job) -> None:
    data, name = job.params.data, job.params.set
    spec = folders.sources(data)[name]
    found = folders.listing(data, name)
    folder = Path(data["root"]) / spec["folder"]
    how = data["image_size"], spec["border"], data["upright"]
    images = decode.ImageFiles(folder, found.paths, *how)
    broken = decode.broken(images, job.threads)
    for _, reason in broken:
        log.info("%s", reason)
    if broken and data["corrupt"] == "fail":
        raise UserError(
            f"{name}: {len(broken)} of {len(found.paths)} images cannot be read, expected none, or "
            f"data.folders.corrupt: list; the first is {broken[0][1]}"
        )
    report = {
        "set": name,
        "folder": str(folder),
        "classes": len(found.names),
        "images": len(found.paths) - len(broken),
        "expected": data["expected"].get(name),
        "missing": found.missing,
        "corrupt": [found.paths[row] for row, _ in broken],
        "positions": [row for row, _ in broken],
        "reasons": [reason for _, reason in broken],
        "passed_over": found.passed_over,
    }
    folders.listing(data, name, report["corrupt"])  # raises if a class has no image left
    log.info("%d images of %d classes", report["images"], report["classes"])
    files.write_json(job.output[0], report)


if __name__ == "__main__":
    run(main, snakemake)
