"""Write the held-out images as a separate set, so that model selection reads no other images."""

import numpy as np

from soups import files
from soups.data import decode
from soups.data.images import PreparedSet, identity, write_set
from soups.jobs.job import run


def main(job) -> None:
    train, rows = PreparedSet(job.input.train[0]), files.read_array(job.input.heldout)
    paths = train.meta["paths"]
    write_set(
        job.output[0],
        decode.blocks(train.originals, job.threads, rows),
        np.asarray(train.labels[rows]),
        identity(train.classes),
        [paths[i] for i in rows] if paths else None,
    )


if __name__ == "__main__":
    run(main, snakemake)
