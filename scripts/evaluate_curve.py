"""Evaluate the soups and ensembles of a plan on a part of every test set."""

from soups import files
from soups.data.prepared import PreparedSet
from soups.evaluation import metric
from soups.evaluation.samples import Samples, save_points, stacked, table_of
from soups.jobs.job import run
from soups.mixing.points import Points, evaluate


def main(job) -> None:
    p = job.params
    names = PreparedSet(job.input.train).classes
    classes = [names.index(name) for name in p.classes] if p.classes else None
    images = p.images or {"test": None, "shift": None}
    samples = Samples(job.input.sets, images, classes, metric.of_job(job))
    points = Points.of_job(job, samples)
    rows, outcomes = evaluate(files.read_json(job.input.plan), points, samples)
    files.write_text(job.output.table, table_of(rows, samples).to_csv(index=False))
    save_points(job.output.points, stacked(outcomes), samples.derived)


if __name__ == "__main__":
    run(main, snakemake)
