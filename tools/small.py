"""Run the small-data study, and gather its table and its figure.

python tools/small.py [--only SETTING ...] [--world] [--keep] [-- OPTIONS]

The settings are those of `SETTINGS`, each with three sweeps. The rules of the workflow do all the
work. A run is an experiment results/small/<setting>-<seed>, and finished runs are not repeated. The
options after -- go to snakemake. With --world the miniature answers the same question, and with
--gather nothing is run. The table and the figure go to results/recorded/small or small_world, and
hold the runs that exist. With --keep they also hold the runs that the record has, and these are
not repeated.
"""

import argparse
import itertools
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml
from record import hardware

import _library  # noqa: F401
from soups import files
from soups.errors import UserError
from soups.evaluation import gains
from soups.report import small
from soups.roles import INITIALIZATION

SEEDS = (0, 1, 2)
IMAGES, WORLD = "small", "small_world"
BASES = {
    IMAGES: ["experiments/pacs.yaml", "experiments/small.yaml"],
    WORLD: ["experiments/small_world.yaml"],
}
WEAK = "results/small/start-0/models/m00.safetensors"  # trained from scratch on a tenth
FULL = "images100"  # the setting whose held-out set is drawn again
DRAWN = {"heldout_size": {"per_class": [5, 20, 50, 100], "draws": 5, "seed": 0}}
DRAWN_WORLD = {"heldout_size": {"per_class": [5, 20, 100, 500], "draws": 5, "seed": 0}}


def images(share: float, low: float, high: float) -> dict:
    """The overlay of a setting with a share of the training images and a range of epochs."""
    parameters = {"epochs": f"uniform({low}, {high})"}
    return {"data": {"train_fraction": share}, "sweep": {"random": {"parameters": parameters}}}


def start(source: str, **more) -> dict:
    """The overlay of a setting with another start and a fifth of the training images."""
    return images(0.2, 4, 6) | {"model": {"pretrained": source}} | more


USUAL = "images20"  # the setting with the usual start and a fifth of the training images

# Every model that is trained from random weights has batch statistics of its own.
OWN_STATISTICS = {"pretrained": "random", "recalibrate_batch_norm": 500}


RANDOM = start("random") | {"model": OWN_STATISTICS, "finetune": {"batch_norm": "trained"}}

# Name of a study to its settings: axis, value on it, and what differs from the base.
SETTINGS: dict[str, dict[str, tuple[str, str, dict]]] = {
    IMAGES: {
        "images2": ("training images", "2%", images(0.02, 15, 25)),
        "images5": ("training images", "5%", images(0.05, 8, 14)),
        "images20": ("training images", "20%", images(0.2, 4, 6)),
        "images100": ("training images", "100%", images(1, 1.5, 2.5) | {"curves": DRAWN}),
        "random": ("start", "random", RANDOM),
        "tenth": ("start", "a tenth", start(WEAK)),
    },
    WORLD: {
        "images2": ("training images", "2%", images(0.02, 4, 6)),
        "images5": ("training images", "5%", images(0.05, 2, 3)),
        "images20": ("training images", "20%", images(0.2, 0.8, 1.2)),
        "images100": ("training images", "100%", images(1, 0.25, 0.45) | {"curves": DRAWN_WORLD}),
    },
}
# The run that makes `WEAK`: one model from random weights on a tenth of the training images.
TENTH = {
    "name": "small/start-0",
    "data": {"train_fraction": 0.1},
    "model": {"pretrained": "random"},
    "finetune": {"batch_norm": "trained", "start": "new"},
    "sweep": {"kind": "grid", "grid": {"lr": [0.002], "epochs": [60], "augment": [1]}},
}


@dataclass(frozen=True)
class Kept:
    """The runs of the record that count although their folders are gone.

    Attributes:
        gains: the rows of gains.csv.
        drawn: those of drawn.csv.
        hardware: the machines that made them.
    """

    gains: pd.DataFrame = field(default_factory=pd.DataFrame)
    drawn: pd.DataFrame = field(default_factory=pd.DataFrame)
    hardware: Sequence[str] = ()

    @classmethod
    def read(cls, study: str) -> "Kept":
        folder = Path(f"results/recorded/{study}")
        paths = [folder / f"{name}.csv" for name in ("gains", "drawn")]
        tables = [pd.read_csv(path) if path.is_file() else pd.DataFrame() for path in paths]
        note = folder / "record.json"
        return cls(*tables, files.read_json(note)["hardware"] if note.is_file() else ())

    def has(self, name: str, seed: int) -> bool:
        return len(self.of("gains", name, seed)) > 0

    def of(self, table: str, name: str, seed: int) -> pd.DataFrame:
        """The rows of a run in one of the tables."""
        rows = getattr(self, table)
        return rows[(rows["setting"] == name) & (rows["seed"] == seed)] if len(rows) else rows


def main(study: str, only: Sequence[str], options: Sequence[str], kept: Kept) -> None:
    """Run the settings of a study, and write its table and figure after each of them."""
    settings = SETTINGS[study]
    if unknown := [name for name in only if name not in settings]:
        raise UserError(f"--only has {unknown[0]!r}, expected one of {', '.join(settings)}")
    for name in only or settings:
        todo = [seed for seed in SEEDS if not kept.has(name, seed)]
        if todo and settings[name][2].get("model", {}).get("pretrained") == WEAK:
            run(study, "start-0", TENTH, ["models"], options)
        for seed in todo:
            first = f"results/{study}/{name}-0"
            if (
                seed and not Path(first, "settings.json").is_file()
            ):  # whose data and start it shares
                begin = [f"{first}/models/{INITIALIZATION}.safetensors"]
                run(study, f"{name}-0", overlay(study, name, 0), begin, options)
            wanted = [f"results/{study}/{name}-{seed}/tables/effects.csv"]
            if name == FULL:
                wanted.append(f"results/{study}/{name}-{seed}/tables/heldout_size.csv")
            run(study, f"{name}-{seed}", overlay(study, name, seed), wanted, options)
            gather(study, kept)
        print(gather(study, kept))


def overlay(study: str, name: str, seed: int) -> dict:
    """What a run adds to the base of its study."""
    more = {"name": f"{study}/{name}-{seed}", "shared": f"{study}/{name}-0" if seed else None}
    changed = {key: dict(value) for key, value in SETTINGS[study][name][2].items()}
    drawn = changed.pop("sweep", {}).get("random", {})
    return more | changed | {"sweep": {"random": {**drawn, "seed": seed}}}


def run(
    study: str, name: str, more: Mapping, targets: Sequence[str], options: Sequence[str]
) -> None:
    """Run one experiment up to some targets, unless they are there."""
    path = Path(f"results/{study}/{name}.yaml")
    files.write_text(path, yaml.safe_dump(dict(more), sort_keys=False))
    command = [sys.executable, "-m", "snakemake", *targets, "--quiet", "rules", *options]
    if subprocess.run([*command, "--configfile", *BASES[study], str(path)]).returncode:
        raise UserError(f"the run {study}/{name} failed, see results/{study}/{name}/logs")


def shown(study: str) -> list[tuple[str, str, str]]:
    """Axis, value and setting of every row. The usual start is a setting of another axis."""
    rows = [(axis, value, name) for name, (axis, value, _) in SETTINGS[study].items()]
    return [*rows, ("start", "ImageNet", USUAL)] if study == IMAGES else rows


def gather(study: str, kept: Kept) -> str:
    """Write the record of the runs that exist or are kept, and return its table in Markdown."""
    parts, drawn = [], []
    for name, seed in itertools.product(SETTINGS[study], SEEDS):
        folder = Path(f"results/{study}/{name}-{seed}/tables")
        where = {"setting": name, "seed": seed}
        if (folder / "methods.csv").is_file():
            parts.append(gains.gains(pd.read_csv(folder / "methods.csv")).assign(**where))
        else:
            parts.append(kept.of("gains", name, seed))
        if name == FULL and (folder / "heldout_size.csv").is_file():
            found = pd.read_csv(folder / "heldout_size.csv")
            drawn.append(gains.drawn(found).assign(**where))
        elif name == FULL:
            drawn.append(kept.of("drawn", name, seed))
    every, sizes = (pd.concat(tables) if tables else pd.DataFrame() for tables in (parts, drawn))
    target = Path(f"results/recorded/{study}")
    if every.empty:
        raise UserError(f"there is no run of {study} yet, expected a finished one in results")
    rows = [every[every["setting"] == name].assign(axis=axis, value=value)
            for axis, value, name in shown(study)]  # fmt: skip
    table = gains.summary(pd.concat(rows), sizes if len(sizes) else None)
    files.write_text(target / "gains.csv", every.to_csv(index=False))
    if len(sizes):
        files.write_text(target / "drawn.csv", sizes.to_csv(index=False))
    files.write_text(target / "summary.csv", table.to_csv(index=False))
    command = "make small" if study == IMAGES else "python tools/small.py --world"
    machines = sorted({hardware(), *kept.hardware})
    files.write_json(target / "record.json", {"command": command, "hardware": machines})
    small.figure(table).savefig(target / "small.png", dpi=200)
    return small.markdown(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=[], help="settings to run")
    parser.add_argument("--world", action="store_true", help="the miniature in place of PACS")
    parser.add_argument("--gather", action="store_true", help="run nothing")
    parser.add_argument("--keep", action="store_true", help="do not repeat runs of the record")
    parser.add_argument("options", nargs="*", help="options of snakemake, after --")
    given = parser.parse_args()
    chosen = WORLD if given.world else IMAGES
    kept = Kept.read(chosen) if given.keep else Kept()
    try:
        if given.gather:
            print(gather(chosen, kept))
        else:
            main(chosen, given.only, given.options or ["--cores", "2"], kept)
    except UserError as error:
        sys.exit(f"error: {error}")
