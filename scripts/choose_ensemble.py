"""Choose an ensemble's members on the held-out set, and write its held-out logits."""

import numpy as np

from soups import files
from soups.jobs.job import log, run
from soups.mixing import ensembles, recipes
from soups.mixing.select import by_score, greedy


def main(job) -> None:
    entry, average = job.params.entry, job.params.entry["options"]["average"]
    labels = np.load(job.input.labels)
    paths = dict(zip(entry["ingredients"], job.input.logits, strict=True))

    def read(name: str) -> np.ndarray:
        return np.load(paths[name])

    members, trace = entry["ingredients"], None
    if entry["method"] == "members":
        soups = [files.read_json(path) for path in job.input.made]
        members = [name for soup in soups for name in recipes.members(soup)]
        members = list(dict.fromkeys(members))
    elif entry["method"] == "greedy":
        score = ensembles.scorer(read, labels, average)
        members, trace = greedy(by_score({name: score((name,)) for name in members}), score)

    logits = ensembles.combine(members, read, average)
    log.info("%d members: %s", len(members), ", ".join(members))
    log.info("held-out accuracy %.4f", (logits.argmax(1) == labels).mean())
    made = {"method": entry["method"], "average": average, "members": members}
    files.write_array(job.output.heldout, logits)
    files.write_json(job.output.members, made | {"selection": {"trace": trace} if trace else {}})


if __name__ == "__main__":
    run(main, snakemake)
