"""Plan grids in the planes through the start and two fine-tuned models, one panel per plane."""

from soups import files
from soups.jobs.job import run
from soups.mixing import plans
from soups.models.checkpoints import Checkpoint


def main(job) -> None:
    p = job.params
    models = dict(zip(p.models, map(Checkpoint, job.input.weights), strict=True))
    plan = []
    for panel, names in p.panels.items():
        chosen = {name: models[name] for name in names}
        plan += plans.panel(panel, p.lr[names[1]], chosen, p.points)
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
