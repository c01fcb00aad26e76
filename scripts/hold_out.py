"""Write the held-out examples as a separate set, so that model selection reads no others."""

import numpy as np

from soups import files
from soups.data.prepared import PreparedSet, identity, write_set
from soups.jobs.job import run


def main(job) -> None:
    train, rows = PreparedSet(job.input.train[0]), files.read_array(job.input.heldout)
    paths, problem = train.meta["paths"], train.problem
    write_set(
        job.output[0],
        problem.copied(train, rows, job.threads),
        np.asarray(train.labels[rows]),
        identity(train.classes),
        [paths[i] for i in rows] if paths else None,
        **problem.described(train),
    )


if __name__ == "__main__":
    run(main, snakemake)
