"""Write pairs of models with the angle between their changes and the lengths of both changes."""

from soups import files
from soups.jobs.job import run
from soups.mixing import plans
from soups.models import usable
from soups.models.checkpoints import Checkpoint


def main(job) -> None:
    p = job.params
    weights = dict(zip(p.models, job.input.weights, strict=True))
    models = {name: Checkpoint(weights[name]) for name in usable.by_weights(weights, some=False)}
    starts = dict(zip(p.starts, map(Checkpoint, job.input.starts), strict=True))
    files.write_json(job.output[0], plans.pairs(p.pairs, models, starts, p.origins))


if __name__ == "__main__":
    run(main, snakemake)
