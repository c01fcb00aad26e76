"""Choose the members of an ensemble on the held-out set, and write its held-out logits."""

import numpy as np

from soups import files
from soups.evaluation import metric as metrics
from soups.jobs.job import log, run
from soups.mixing import ensembles
from soups.models import usable


def main(job) -> None:
    entry = job.params.entry
    options = dict(entry["options"])
    average = options.pop("average")
    labels, metric = np.load(job.input.labels), metrics.of_job(job)
    paths = dict(zip(entry["ingredients"], job.input.logits, strict=True))

    def read(name: str) -> np.ndarray:
        return np.load(paths[name])

    soups = [files.read_json(path) for path in job.input.made]
    score = ensembles.scorer(read, labels, average, metric)
    choose = getattr(ensembles, entry["method"])
    members, trace = choose(usable.by_logits(paths), score, soups, **options)

    logits = ensembles.combine(members, read, average)
    log.info("%d members: %s", len(members), ", ".join(members))
    log.info("held-out %s %.4f", metric.name, metric.of(logits, labels))
    made = {"method": entry["method"], "average": average, "members": members}
    files.write_array(job.output.heldout, logits)
    files.write_json(job.output.members, made | {"selection": {"trace": trace} if trace else {}})


if __name__ == "__main__":
    run(main, snakemake)
