"""Derive a shift from the test set by a named corruption."""

import zlib

from soups.data.corruptions import corrupt
from soups.data.prepared import PreparedSet, write_set
from soups.jobs.job import run


def main(job) -> None:
    test, spec = PreparedSet(job.input.test), job.params.spec
    seed = zlib.crc32(job.params.set.encode()) + job.params.seed
    pixels = corrupt(test.inputs, spec["corruption"], spec["severity"], seed)
    origin = test.meta["mapping"], test.meta["paths"], test.name
    write_set(job.output[0], pixels, test.labels, *origin)


if __name__ == "__main__":
    run(main, snakemake)
