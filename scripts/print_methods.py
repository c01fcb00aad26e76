"""Print an experiment's methods table: python scripts/print_methods.py results/miniature"""

import sys
from pathlib import Path

import pandas as pd

from soups import present


def main(folder: str) -> None:
    table = pd.read_csv(Path(folder) / "tables" / "methods.csv")
    print(present.text(*present.methods(table)))
    n = {key: f"{table[f'n_{key}'][0]:,}" for key in ("heldout", "test", "shifts")}
    print("\nAccuracy in percent with 95% bootstrap intervals over images, or (sd) over orders;")
    print(f"{present.TOP} not significantly different from the column's best (paired tests, 0.05);")
    print(f"n = {n['heldout']} held out, {n['test']} test, {n['shifts']} over all shifts.")
    print(f"Report: {folder}/report.html   Tables and figures: {folder}/tables, {folder}/figures")


if __name__ == "__main__":
    main(*sys.argv[1:])
