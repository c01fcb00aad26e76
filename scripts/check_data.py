"""What was found of every set, as a table."""

import pandas as pd

from soups import files
from soups.job import log, run

LISTED = ("missing", "corrupt", "passed_over")


def main(job) -> None:
    rows = []
    for path in job.input:
        found = files.read_json(path)
        counts = {name: len(found[name]) for name in LISTED}
        row = {name: found[name] for name in ("set", "classes", "images", "expected")}
        rows.append(row | counts | {"folder": found["folder"]})
        if found["expected"] not in (None, found["images"]):
            log.info("%s: %d images, expected %d", found["set"], found["images"], found["expected"])
    table = pd.DataFrame(rows).astype({"expected": "Int64"})
    files.write_text(job.output[0], table.to_csv(index=False))


if __name__ == "__main__":
    run(main, snakemake)
