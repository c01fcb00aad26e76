"""Report the checks of every image set as a table, in a file and on the terminal."""

import pandas as pd

from soups import files
from soups.jobs.job import log, run
from soups.report import presentation

LISTED = ("missing", "corrupt", "passed_over")


def main(job) -> None:
    rows, remarks = [], []
    for path in job.input:
        found = files.read_json(path)
        counts = {name: len(found[name]) for name in LISTED}
        row = {name: found[name] for name in ("set", "classes", "images", "expected")}
        rows.append(row | counts | {"folder": found["folder"]})
        if found["expected"] not in (None, found["images"]):
            remarks.append(
                f"{found['set']} has {found['images']:,} images, expected {found['expected']:,}."
            )
        if found["corrupt"] or found["missing"]:
            missing, corrupt = len(found["missing"]), len(found["corrupt"])
            remarks.append(
                f"{found['set']} has {corrupt} images that cannot be read and {missing} missing "
                f"images, which {path} lists."
            )
    if any(row["corrupt"] for row in rows):
        remarks.append("After you repair images, run the same command with --forcerun check_set.")
    table = pd.DataFrame(rows).astype({"expected": "Int64"})
    print(presentation.text(*presentation.data(table)), *remarks, sep="\n")
    for remark in remarks:
        log.info("%s", remark)
    files.write_text(job.output[0], table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
