"""Report the checks of every image set as a table, in a file and on the terminal."""

import pandas as pd

from soups import files
from soups.data import preparation
from soups.jobs.job import log, run
from soups.report import presentation


def main(job) -> None:
    reports = {path: files.read_json(path) for path in job.input}
    rows = [preparation.table_row(report) for report in reports.values()]
    table = pd.DataFrame(rows).astype({"expected": "Int64"})
    remarks = preparation.remarks(reports)
    print(presentation.text(*presentation.data(table)), *remarks, sep="\n")
    for remark in remarks:
        log.info("%s", remark)
    files.write_text(job.output[0], table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
