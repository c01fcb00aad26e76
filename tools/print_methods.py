"""Print the methods table of an experiment.

python tools/print_methods.py results/miniature
python tools/print_methods.py --configfile experiments/mine.yaml
"""

import argparse
from pathlib import Path

import pandas as pd
import yaml

import _library  # noqa: F401
from soups import files
from soups.errors import UserError
from soups.jobs import left_out, runs
from soups.report import presentation
from soups.report.page import prediction
from soups.report.words import Words
from soups.roles import GREEDY

DEFAULT = Path(__file__).resolve().parents[1] / "config.yaml"


def main(folder: str) -> None:
    """Print the methods table in a results folder, with an explanation of its marks.

    Raises:
        UserError: if the folder has no such table yet.
    """
    tables = Path(folder) / "tables"
    if not (tables / "methods.csv").is_file():
        raise UserError(
            f"{tables}/methods.csv does not exist, expected the folder of an experiment whose "
            "tables are done (tools/status.py shows what is left)"
        )
    table = pd.read_csv(tables / "methods.csv")
    # Only the table of the paper's released results names the kind of its intervals.
    published = "intervals" in table
    words = words_of(folder)
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
            f"\n{words.title} {words.is_scaled} with 95% bootstrap intervals over "
            f"{words.examples}, or (sd) over orders."
        )
        print(f"{presentation.TOP} not significantly different from the column's best", end=" ")
        print("(paired tests, 0.05).")
    print(f"n = {n['heldout']} held out, {n['test']} test, {n['shifts']} over all shifts.")
    if (tables / "greedy_trace.csv").is_file():
        trace = pd.read_csv(tables / "greedy_trace.csv")
        print(evaluated(trace, int(table["n_heldout"][0]), words), end="")
    if warning := words.few(int(table["n_heldout"][0])):
        print(warning)
    if not published:
        for line in left_out.lines(folder, pd.read_csv(tables / "models.csv")["model"]):
            print(line)
    page = Path(folder) / "report.html"
    report = f"Report: {page}   " if page.is_file() else ""
    print(f"{report}Tables and figures: {folder}/tables, {folder}/figures")
    if not published:
        stale = runs.stale_soups(folder)
        beside = f" (of an earlier configuration: {', '.join(stale)})" if stale else ""
        print(f"Weights of the soups: {folder}/soups{beside}")
        if weights := greedy_weights(folder):
            print(f"Predict with the greedy soup: {prediction(weights, words)}")


def evaluated(trace: pd.DataFrame, n: int, words: Words) -> str:
    """A line on the held-out examples that greedy evaluated, or "" if it tried no average.

    Args:
        trace: `greedy_trace.csv`.
        n: number of held-out examples.
        words: for the examples of the experiment.
    """
    counts = trace.get("evaluated", pd.Series(dtype=int))
    averages, seen = int((counts > 0).sum()), int(counts.sum())
    if not averages:
        return ""
    return (
        f"Greedy tried {averages:,} averages on {seen:,} of {averages * n:,} held-out "
        f"{words.examples} ({seen / (averages * n):.0%}).\n"
    )


def plan_of(folder: str) -> dict:
    """The plan of the last run in a folder, or an empty one if there is none."""
    plan = Path(folder, runs.PLAN)
    return files.read_json(plan) if plan.is_file() else {}


def words_of(folder: str) -> Words:
    """The words for the metric and the examples of an experiment."""
    return Words.of(plan_of(folder).get("words"))


def greedy_weights(folder: str) -> str | None:
    """The file of the soup that plays the role of the greedy soup, or None if there is none."""
    row = plan_of(folder).get("roles", {}).get(GREEDY)
    weights = Path(folder, "soups", f"{row}.safetensors")
    return str(weights) if weights.is_file() else None


def folder_of(configfiles: list[str]) -> str:
    """The results folder of an experiment. The last configuration file with a name decides.

    If none of them has a name, the name is the one in the project's config.yaml.

    Raises:
        UserError: if the name has a placeholder whose value is in none of the files.
    """
    texts = [Path(path).read_text(encoding="utf-8") for path in [DEFAULT, *configfiles]]
    given = [yaml.safe_load(text) or {} for text in texts]  # A file of comments is read as None.
    name = [config["name"] for config in given if config.get("name")][-1]
    return f"results/{filled_in(name, given) if '{' in name else name}"


def filled_in(name: str, given: list[dict]) -> str:
    """A name whose placeholders have the values that the configuration files give.

    Raises:
        UserError: if a value is in none of the files.
    """
    # These imports would add 0.3 seconds to every `make`, and few names need them.
    from snakemake.utils import update_config

    from soups.experiment.settings import fill_in_name

    merged: dict = {}
    for config in given:
        update_config(merged, config)
    merged["name"] = name
    try:
        fill_in_name(merged)
    except UserError:
        raise UserError(
            f"the name {name!r} depends on options of snakemake that this tool does not know, "
            "expected the folder results/<name> in place of --configfile"
        ) from None
    return merged["name"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    chosen = parser.add_mutually_exclusive_group(required=True)
    chosen.add_argument("folder", nargs="?", help="results/<name>")
    chosen.add_argument("--configfile", nargs="+", help="configuration files of the experiment")
    arguments = parser.parse_args()
    try:
        main(arguments.folder or folder_of(arguments.configfile))
    except (UserError, OSError) as error:
        raise SystemExit(f"error: {error}") from None
