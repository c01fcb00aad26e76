"""Evaluate soups and ensembles along the line between two models, pair by pair.

These are the points of the paper's figures 3 and 4. On paths of several steps, the table also has
the paper's approximation of the difference between the losses of soup and ensemble.
"""

from soups import files
from soups.data.prepared import PreparedSet
from soups.evaluation import lines, metric
from soups.evaluation.samples import Samples, save_points, stacked, table_of
from soups.jobs.job import log, run
from soups.mixing.points import Points


def main(job) -> None:
    p = job.params
    samples = Samples(job.input.sets, p.images, metric=metric.of_job(job))
    plan = files.read_json(job.input.plan)
    # Without a pair, all models may be left out, and then no model can be built.
    points = Points.of_job(job, samples) if plan else None
    heldout = PreparedSet(job.input.heldout[0]) if p.gap else None
    table, arrays = [], []
    for pair in plan:
        soups, betas = points.on_line(pair["model_1"], pair["model_2"], p.alphas, heldout)
        rows, compared = lines.compare(samples, p.alphas, soups, betas)
        table += [pair | row for row in rows]
        arrays += compared
        log.info("%s, %s: %d points", pair["model_1"], pair["model_2"], len(rows))
    files.write_text(job.output.table, table_of(table, samples).to_csv(index=False))
    save_points(job.output.points, stacked(arrays), samples.derived)


if __name__ == "__main__":
    run(main, snakemake)
