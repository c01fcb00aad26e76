"""Print the methods table of an experiment.

python tools/print_methods.py results/miniature
python tools/print_methods.py --configfile experiments/mine.yaml
"""

import argparse
from pathlib import Path

import pandas as pd
import yaml

import _library  # noqa: F401
from soups.jobs import left_out, runs
from soups.report import presentation
from soups.report.page import few_images

DEFAULT = Path(__file__).resolve().parents[1] / "config.yaml"


def main(folder: str) -> None:
    """Print the methods table in a results folder, with an explanation of its marks."""
    tables = Path(folder) / "tables"
    table = pd.read_csv(tables / "methods.csv")
    # Only the table of the paper's released results names the kind of its intervals.
    published = "intervals" in table
    print(presentation.text(*presentation.methods(table, digits=2 if published else 1)))
    n = {key: f"{table[f'n_{key}'][0]:,}" for key in ("heldout", "test", "shifts")}
    if published:
        print()
        print(presentation.text(*presentation.differences(pd.read_csv(tables / "differences.csv"))))
        print(
            "\nAccuracy in percent, differences in points, with 95% binomial intervals over images."
        )
        print(f"{presentation.TOP} not distinguished from the column's best", end=" ")
        print("by an unpaired 95% interval.")
    else:
        print(
            "\nAccuracy in percent with 95% bootstrap intervals over images, or (sd) over orders."
        )
        print(f"{presentation.TOP} not significantly different from the column's best", end=" ")
        print("(paired tests, 0.05).")
    print(f"n = {n['heldout']} held out, {n['test']} test, {n['shifts']} over all shifts.")
    if warning := few_images(int(table["n_heldout"][0])):
        print(warning)
    if not published:
        for line in left_out.lines(folder, pd.read_csv(tables / "models.csv")["model"]):
            print(line)
    report = "" if published else f"Report: {folder}/report.html   "
    print(f"{report}Tables and figures: {folder}/tables, {folder}/figures")
    if not published:
        stale = runs.stale_soups(folder)
        beside = f" (of an earlier configuration: {', '.join(stale)})" if stale else ""
        print(f"Weights of the soups: {folder}/soups{beside}")


def folder_of(configfiles: list[str]) -> str:
    """The results folder of an experiment. The last configuration file with a name decides.

    If none of them has a name, the name is the one in the project's config.yaml.
    """
    for path in [*reversed(configfiles), DEFAULT]:
        config = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        if config and config.get("name"):  # A file of comments alone is read as None.
            return f"results/{config['name']}"
    raise ValueError(f"{DEFAULT} has no name, expected the name of the experiment")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("folder", nargs="?", help="results/<name>")
    chosen.add_argument("--configfile", nargs="+", help="configuration files of the experiment")
    arguments = parser.parse_args()
    main(arguments.folder or folder_of(arguments.configfile))
