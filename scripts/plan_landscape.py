"""Plan grids in the planes through the start and two fine-tuned models, one panel per plane."""

from soups import files
from soups.jobs.job import log, run
from soups.mixing import plans
from soups.models import usable
from soups.models.checkpoints import Checkpoint


def main(job) -> None:
    p = job.params
    weights = dict(zip(p.models, job.input.weights, strict=True))
    models = {name: Checkpoint(weights[name]) for name in usable.by_weights(weights)}
    plan = []
    for panel, names in p.panels.items():
        if not models.keys() >= set(names):
            log.info("the panel %s is left out, because a model of it is left out", panel)
            continue
        chosen = {name: models[name] for name in names}
        plan += plans.panel(panel, p.lr[names[1]], chosen, p.points)
    files.write_json(job.output[0], plan)


if __name__ == "__main__":
    run(main, snakemake)
