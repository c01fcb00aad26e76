"""Record the tables, the figures, the command and the hardware of an experiment.

python tools/record.py results/cifar10 "snakemake --configfile experiments/cifar10.yaml"

The record goes to results/recorded. Images that may not be passed on stay out of it with
`--without contact_sheet`. With `--pretrained`, the tool records the pre-trained model, its hash and
its zero-shot accuracies instead.
"""

import argparse
import json
import os
import platform
from collections.abc import Collection
from pathlib import Path

import pandas as pd
import torch

import _library  # noqa: F401
from soups import files
from soups.errors import UserError
from soups.jobs import runs
from soups.models.checkpoints import Checkpoint
from soups.report import presentation
from soups.report.words import Words
from soups.roles import ZEROSHOT

RECORDED = Path("results/recorded")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("command", help="the command that made the results")
    parser.add_argument("--name", help="the record's name, by default the experiment's")
    parser.add_argument("--figures", nargs="*", help="record only these figures (default: all)")
    parser.add_argument("--without", nargs="+", default=[], help="do not record these figures")
    parser.add_argument("--licence", help="of the images or texts")
    parser.add_argument("--pretrained", metavar="NAME", help="record the pre-trained model as NAME")
    arguments = parser.parse_args()
    if not (arguments.folder / "tables" / "methods.csv").is_file():
        parser.error(
            f"{arguments.folder} has no tables/methods.csv, expected a finished experiment"
        )
    record = {
        "command": arguments.command,
        "hardware": hardware(),
    }
    if arguments.licence:
        record["licence"] = arguments.licence
    if arguments.pretrained:
        try:
            keep_pretrained(arguments.folder, arguments.pretrained, record)
        except UserError as error:
            parser.error(str(error))
    else:
        name = arguments.name or arguments.folder.name
        there = {path.stem for path in arguments.folder.glob("figures/*.png")}
        wanted = there if arguments.figures is None else set(arguments.figures)
        if unknown := sorted((wanted | set(arguments.without)) - there):
            parser.error(f"there is no figure {unknown[0]} in {arguments.folder}/figures, "
                         f"expected one of {', '.join(sorted(there)) or 'none'}")  # fmt: skip
        keep_results(arguments.folder, name, record, wanted - set(arguments.without))


def keep_results(folder: Path, name: str, record: dict, figures: Collection[str]) -> None:
    """Copy tables and figures of an experiment to its record, in place of older ones.

    Args:
        folder: results folder of the experiment.
        name: name of the record.
        record: command, hardware, and the licence of the data if it is given.
        figures: names of the figures to copy.
    """
    target = RECORDED / name
    target.mkdir(parents=True, exist_ok=True)
    for ending in ("csv", "png", "md", "txt"):
        for stale in target.glob(f"*.{ending}"):
            stale.unlink()
    for path in folder.glob("tables/*.csv"):
        files.copy(path, target / path.name)
    if (copies := folder / "checks" / "duplicates.csv").is_file():
        files.copy(copies, target / copies.name)
    for path in folder.glob("figures/*.png"):
        if path.stem in figures:
            files.copy(path, target / path.name)
    table = pd.read_csv(folder / "tables" / "methods.csv")
    text = presentation.text(*presentation.methods(table, shifts=True))
    files.write_text(target / "methods.txt", text + "\n")
    plan = folder / runs.PLAN
    words = Words.of(files.read_json(plan).get("words") if plan.is_file() else None)
    for name, present_as in (("claims", presentation.claims), ("effects", presentation.effects)):
        path = folder / "tables" / f"{name}.csv"
        if path.is_file():  # the published results have no such tables
            parts = pd.read_csv(path)
            shown = presentation.markdown(*present_as(parts, words))
            files.write_text(target / f"{name}.md", shown)
    record["job_minutes"] = minutes(folder / "benchmarks")
    files.write_json(target / "record.json", record)


def keep_pretrained(folder: Path, name: str, record: dict) -> None:
    """Copy the pre-trained model of an experiment to the records, with its accuracies.

    Args:
        folder: results folder of the experiment.
        name: name of the recorded model.
        record: command and hardware.

    Raises:
        UserError: if the model has no zero-shot head.
    """
    table = pd.read_csv(folder / "tables" / "methods.csv").set_index("method")
    if ZEROSHOT not in table.index:
        raise UserError(
            f"{folder} has no zero-shot row, expected an experiment whose model is a CLIP"
        )
    source = folder / "pretrained" / "model.safetensors"
    target = RECORDED / "pretrained" / f"{name}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() or files.sha256(target) != files.sha256(source):
        # A new modification time would make Snakemake repeat everything that uses the model.
        files.copy(source, target)
    columns = ["heldout", "test", *presentation.shift_names(table.reset_index()), "shifts_mean"]
    record["sha256"] = files.sha256(target)
    record["settings"] = Checkpoint(target).note["settings"]
    record["zeroshot"] = json.loads(table.loc[ZEROSHOT, columns].to_json())
    record["images"] = json.loads(
        table.loc[ZEROSHOT, ["n_heldout", "n_test", "n_shifts"]].to_json()
    )
    files.write_json(target.with_suffix(".json"), record)


def minutes(folder: Path) -> dict[str, float]:
    """Total wall time of each rule's jobs in minutes, from Snakemake's benchmark files."""
    total: dict[str, float] = {}
    for path in sorted(folder.rglob("*.tsv")):
        rule = path.relative_to(folder).parts[0].removesuffix(".tsv")
        total[rule] = total.get(rule, 0.0) + pd.read_csv(path, sep="\t")["s"].sum() / 60
    return {rule: round(value, 2) for rule, value in total.items()}


def hardware() -> str:
    """One line about the processor, its cores, the memory and the GPU."""
    cpu = Path("/proc/cpuinfo")  # of Linux alone
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name or platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GiB, {gpu}"


if __name__ == "__main__":
    main()
