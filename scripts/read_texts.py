"""Read a set of texts, check every line, and write the texts with their labels as JSON lines."""

from soups import files
from soups.jobs.job import log, run
from soups.text import reading


def main(job) -> None:
    origin, name = job.params.origin, job.params.set
    records, found = reading.read(origin, name)
    report = reading.report(origin, name, records, found)
    counts = ", ".join(f"{count:,} {label}" for label, count in report["classes"].items())
    log.info("%s: %d of %d texts (%s)", name, len(records), found, counts)
    files.write_text(job.output.texts, reading.write_lines(records))
    files.write_json(job.output.report, report)


if __name__ == "__main__":
    run(main, snakemake)
