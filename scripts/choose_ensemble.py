"""Choose the members of an ensemble on the held-out set, and write its held-out logits."""

import numpy as np

from soups import files
from soups.jobs.job import log, run
from soups.mixing import ensembles
from soups.models import usable


def main(job) -> None:
    entry = job.params.entry
    options = dict(entry["options"])
    average = options.pop("average")
    labels = np.load(job.input.labels)
    paths = dict(zip(entry["ingredients"], job.input.logits, strict=True))

    def read(name: str) -> np.ndarray:
        return np.load(paths[name])

    soups = [files.read_json(path) for path in job.input.made]
    score = ensembles.scorer(read, labels, average)
    choose = getattr(ensembles, entry["method"])
    members, trace = choose(usable.by_logits(paths), score, soups, **options)

    logits = ensembles.combine(members, read, average)
    log.info("%d members: %s", len(members), ", ".join(members))
    log.info("held-out accuracy %.4f", (logits.argmax(1) == labels).mean())
    made = {"method": entry["method"], "average": average, "members": members}
    files.write_array(job.output.heldout, logits)
    files.write_json(job.output.members, made | {"selection": {"trace": trace} if trace else {}})


if __name__ == "__main__":
    run(main, snakemake)
