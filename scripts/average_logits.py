"""Average the members' logits into an ensemble's logits on the test set and every shift."""

from pathlib import Path

import numpy as np

from soups import files
from soups.jobs.job import run
from soups.mixing import ensembles


def main(job) -> None:
    made = files.read_json(job.input.members)
    paths = {(Path(path).parent.name, Path(path).name): path for path in job.input.logits}
    for target in job.output:

        def read(name: str, file: str = Path(target).name) -> np.ndarray:
            return np.load(paths[name, file])

        files.write_array(target, ensembles.combine(made["members"], read, made["average"]))


if __name__ == "__main__":
    run(main, snakemake)
