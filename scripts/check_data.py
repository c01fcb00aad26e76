"""Report the checks of every image set as a table, in a file and on the terminal."""

import pandas as pd

from soups import files
from soups.data import duplicates, preparation
from soups.data.duplicates import Images
from soups.jobs.job import log, run
from soups.report import presentation


def main(job) -> None:
    reports = {path: files.read_json(path) for path in job.input.reports}
    names = [report["set"] for report in reports.values()]
    sets = {
        name: Images.read(path, preparation.location(job.params.data, name))
        for name, path in zip(names, job.input.images, strict=True)
    }
    twice = list(duplicates.found(sets))
    columns = ["set", "image", "of_set", "of_image", "kind"]
    files.write_text(
        job.output.duplicates, pd.DataFrame(twice, columns=columns).to_csv(index=False)
    )

    expected = job.params.data["expected"]
    rows = [preparation.table_row(report, expected) for report in reports.values()]
    table = pd.DataFrame(rows).astype({"expected": "Int64"})
    remarks = preparation.remarks(reports, expected)
    remarks += duplicates.remarks(twice, job.output.duplicates)
    print(presentation.text(*presentation.data(table)), flush=True)
    for remark in remarks:
        log.warning("%s", remark)
    files.write_text(job.output.table, table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
