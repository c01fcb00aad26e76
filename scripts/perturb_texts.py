"""Derive a shift from the test set by a named perturbation of its texts."""

import zlib

from soups import files
from soups.jobs.job import run
from soups.text import reading
from soups.text.perturbations import perturb


def main(job) -> None:
    spec = job.params.spec
    seed = zlib.crc32(job.params.set.encode()) + job.params.seed
    test = reading.read_lines(job.input.test)
    changed = perturb(test, spec["perturbation"], spec["severity"], seed)
    files.write_text(job.output.texts, reading.write_lines(changed))


if __name__ == "__main__":
    run(main, snakemake)
