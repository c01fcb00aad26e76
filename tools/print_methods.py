"""Print an experiment's methods table: python tools/print_methods.py results/miniature"""

import sys
from pathlib import Path

import pandas as pd

import _library  # noqa: F401
from soups.report import presentation


def main(folder: str) -> None:
    tables = Path(folder) / "tables"
    table = pd.read_csv(tables / "methods.csv")
    # The paper's released results say how their intervals were made; a run's are bootstrapped.
    published = "intervals" in table
    print(presentation.text(*presentation.methods(table, digits=2 if published else 1)))
    n = {key: f"{table[f'n_{key}'][0]:,}" for key in ("heldout", "test", "shifts")}
    if published:
        print()
        print(presentation.text(*presentation.differences(pd.read_csv(tables / "differences.csv"))))
        print(
            "\nAccuracy in percent, differences in points, with 95% binomial intervals over images;"
        )
        print(f"{presentation.TOP} not told from the column's best by an unpaired 95% interval;")
    else:
        print(
            "\nAccuracy in percent with 95% bootstrap intervals over images, or (sd) over orders;"
        )
        print(f"{presentation.TOP} not significantly different from the column's best", end=" ")
        print("(paired tests, 0.05);")
    print(f"n = {n['heldout']} held out, {n['test']} test, {n['shifts']} over all shifts.")
    report = "" if published else f"Report: {folder}/report.html   "
    print(f"{report}Tables and figures: {folder}/tables, {folder}/figures")


if __name__ == "__main__":
    main(*sys.argv[1:])
