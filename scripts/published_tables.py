"""Write the paper's released results as the tables of a run."""

from soups import files
from soups.claims import published, released_tables
from soups.jobs.job import log, run


def main(job) -> None:
    released = published.load(job.input[0])
    for name, path in job.output.items():
        table = getattr(released_tables, name)(released)
        files.write_text(path, table.to_csv(index=False))
        log.info("%s: %d rows", name, len(table))


if __name__ == "__main__":
    run(main, snakemake)
