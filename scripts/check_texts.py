"""Report every set of texts as a table, and list the texts that several sets have."""

import pandas as pd

from soups import files
from soups.jobs.job import log, run
from soups.report import presentation
from soups.text import copies, reading


def main(job) -> None:
    reports = [files.read_json(path) for path in job.input.reports]
    names = [report["set"] for report in reports]
    texts = map(reading.read_lines, job.input.texts)
    twice = list(copies.found(dict(zip(names, texts, strict=True))))
    listed = pd.DataFrame(twice, columns=copies.COLUMNS)
    files.write_text(job.output.duplicates, listed.to_csv(index=False))

    cut = [files.read_json(path)["cut"] for path in job.input.meta]
    rows = [copies.table_row(*each) for each in zip(reports, [twice] * len(cut), cut, strict=True)]
    table = pd.DataFrame(rows)
    remarks = copies.remarks(twice, rows, job.output.duplicates)
    print(presentation.text(*presentation.data(table)), flush=True)
    for remark in remarks:
        log.warning("%s", remark)
    files.write_text(job.output.table, table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
