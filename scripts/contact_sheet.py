"""Plot one example of every class in every set."""

from soups.data.prepared import PreparedSet
from soups.jobs.job import run
from soups.report import style

ROWS = 24  # largest number of classes in the figure


def main(job) -> None:
    style.use()
    train = PreparedSet(job.input.train)
    sets = list(map(PreparedSet, job.input.sets))
    draw = train.problem.sheet
    style.save(draw(sets, train.classes[:ROWS], job.params), job.output)


if __name__ == "__main__":
    run(main, snakemake)
