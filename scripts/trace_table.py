"""Write the greedy trace of a recipe as a table."""

from soups import files
from soups.evaluation import tables
from soups.jobs.job import run


def main(job) -> None:
    trace = tables.trace_table(files.read_json(job.input[0]))
    files.write_text(job.output[0], trace.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
