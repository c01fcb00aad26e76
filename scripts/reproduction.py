"""Compare the accuracies of this run with the published ones of the same models."""

import pandas as pd

from soups import files
from soups.claims import published
from soups.claims.reproduction import compare
from soups.errors import UserError
from soups.jobs.job import log, run
from soups.roles import Roles


def main(job) -> None:
    ours = [pd.read_csv(job.input[name]) for name in ("models", "methods")]
    theirs = published.load(job.input.published[0])
    table = compare(*ours, theirs, Roles.given(job.params.roles))
    if table.empty:
        raise UserError(
            f"published is {job.input.published[0]!r}, which has none of this sweep's models, "
            "expected models of the same names"
        )
    for measure, part in table.groupby("measure", sort=False):
        largest = 100 * part["difference"].abs().max()
        log.info("%s: at most %.2f points of difference, %d models", measure, largest, len(part))
    files.write_text(job.output[0], table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
