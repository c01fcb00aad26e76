"""Hold out a share of each class of the training set, and write a manifest of it."""

import numpy as np

from soups import files
from soups.data import splits
from soups.data.prepared import PreparedSet
from soups.jobs.job import log, run
from soups.report.words import Words

FEW = 5  # training examples of a class, below which a share of them is a warning


def main(job) -> None:
    data, settings = PreparedSet(job.input[0]), job.params.heldout
    labels, dropped = data.labels, data.meta.get("dropped", [])
    examples = data.problem.examples
    train, heldout = splits.split(labels, data.classes, settings, dropped, examples)
    if share := getattr(job.params, "train_fraction", None):
        whole, train = len(train), splits.reduced(train, labels, share, settings["seed"])
        fewest = np.bincount(labels[train]).min()
        say = log.warning if fewest < FEW else log.info
        used = "data.train_fraction is %g: %d of %d training %s are used, at least %d of a class"
        say(used, share, len(train), whole, examples, fewest)
    paths = data.meta["paths"]
    manifest = splits.manifest(settings, data.classes, labels, paths, train, heldout)
    files.write_array(job.output.train, train.astype(np.int64))
    files.write_array(job.output.heldout, heldout.astype(np.int64))
    files.write_json(job.output.manifest, manifest)
    log.info("held out %d of %d training %s", len(heldout), len(labels), examples)
    if warning := Words(problem=data.problem.name).few(len(heldout)):
        log.warning("%s", warning)


if __name__ == "__main__":
    run(main, snakemake)
