"""Run the small-data study, and gather its table and its figure.

python tools/small.py [--only SETTING ...] [--world] [--keep] [-- OPTIONS]

The settings are those of `SETTINGS`, each with three sweeps. The rules of the workflow do all the
work. A run is an experiment results/small/<setting>-<seed>, and finished runs are not repeated. The
options after -- go to snakemake. With --world the miniature answers the same question, and with
--gather nothing is run. The table and the figure go to results/recorded/small or small_world, and
hold the runs that exist. Runs that the record has with the same settings stay in it until they are
made again, and with --keep they are not made again.
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

RECORDED = Path("results/recorded")
NOTE = "record.json"
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
    """What the record has. It counts where a run has no folder.

    Attributes:
        gains: the rows of gains.csv.
        drawn: those of drawn.csv.
        notes: name of a run to what record.json says about it.
    """

    gains: pd.DataFrame = field(default_factory=pd.DataFrame)
    drawn: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: dict[str, dict] = field(default_factory=dict)

    @classmethod
    def read(cls, study: str) -> "Kept":
        """The recorded runs with the settings of today."""
        folder = RECORDED / study
        if not (folder / NOTE).is_file():
            return cls()
        notes = {
            f"{name}-{seed}": note
            for name, seed in every(study)
            if (note := files.read_json(folder / NOTE)["runs"].get(f"{name}-{seed}"))
            and note["settings"] == settings_of(study, name, seed)
        }
        paths = [folder / f"{table}.csv" for table in ("gains", "drawn")]
        tables = [pd.read_csv(path) if path.is_file() else pd.DataFrame() for path in paths]
        return cls(*tables, notes)

    def of(self, table: str, name: str, seed: int) -> pd.DataFrame:
        """The rows of a run in one of the tables."""
        rows = getattr(self, table)
        if f"{name}-{seed}" not in self.notes or rows.empty:
            return pd.DataFrame()
        return rows[(rows["setting"] == name) & (rows["seed"] == seed)]


def main(study: str, only: Sequence[str], options: Sequence[str], keep: bool = False) -> None:
    """Run the settings of a study, and write its table and figure after each run.

    Args:
        study: one of `SETTINGS`.
        only: its settings to run, by default all.
        options: further options of snakemake.
        keep: whether runs that the record has are not repeated.

    Raises:
        UserError: for an unknown setting, and if a run fails.
    """
    settings = SETTINGS[study]
    if unknown := [name for name in only if name not in settings]:
        raise UserError(f"--only has {unknown[0]!r}, expected one of {', '.join(settings)}")
    kept = Kept.read(study)
    for name, seed in every(study):
        if name not in (only or settings) or (keep and f"{name}-{seed}" in kept.notes):
            continue
        start_of = settings[name][2].get("model", {}).get("pretrained")
        if start_of == WEAK and not Path(WEAK).is_file():
            run(study, "start-0", TENTH, ["models"], options)
        first = Path(f"results/{study}/{name}-0")
        if seed and not (first / "settings.json").is_file():
            # The data and the start of the first run, which the others share.
            begin = [str(first / "models" / f"{INITIALIZATION}.safetensors")]
            run(study, first.name, overlay(study, name, 0), begin, options)
        run(
            study, f"{name}-{seed}", overlay(study, name, seed), targets(study, name, seed), options
        )
        print(gather(study, kept))


def every(study: str) -> list[tuple[str, int]]:
    """Setting and seed of all runs of a study, in order."""
    return list(itertools.product(SETTINGS[study], SEEDS))


def targets(study: str, name: str, seed: int) -> list[str]:
    """The files that a run is made for."""
    tables = ["effects", "heldout_size"] if name == FULL else ["effects"]
    return [f"results/{study}/{name}-{seed}/tables/{table}.csv" for table in tables]


def settings_of(study: str, name: str, seed: int) -> str:
    """A hash of all settings of a run. Comments do not count."""
    paths = [Path("config.yaml"), *map(Path, BASES[study])]
    read = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
    read.append(overlay(study, name, seed) | {"shared": None})
    return files.fingerprint([*read, TENTH if name == "tenth" else None])


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
    """Write the record of the runs that are finished or kept, and return its table in Markdown."""
    parts, drawn, notes = [], [], {}
    for name, seed in every(study):
        folder = Path(f"results/{study}/{name}-{seed}/tables")
        where = {"setting": name, "seed": seed}
        if all(Path(path).is_file() for path in targets(study, name, seed)):
            parts.append(gains.gains(pd.read_csv(folder / "methods.csv")).assign(**where))
            if name == FULL:
                found = pd.read_csv(folder / "heldout_size.csv")
                drawn.append(gains.drawn(found).assign(**where))
            note = {"settings": settings_of(study, name, seed), "hardware": hardware()}
        else:
            parts.append(kept.of("gains", name, seed))
            drawn.append(kept.of("drawn", name, seed))
            note = kept.notes.get(f"{name}-{seed}")
        if note:
            notes[f"{name}-{seed}"] = note
    whole, sizes = (pd.concat(tables) if tables else pd.DataFrame() for tables in (parts, drawn))
    target = RECORDED / study
    if whole.empty:
        raise UserError(f"there is no run of {study} yet, expected a finished one in results")
    rows = [whole[whole["setting"] == name].assign(axis=axis, value=value)
            for axis, value, name in shown(study)]  # fmt: skip
    table = gains.summary(pd.concat(rows), sizes if len(sizes) else None)
    files.write_text(target / "gains.csv", whole.to_csv(index=False))
    if len(sizes):
        files.write_text(target / "drawn.csv", sizes.to_csv(index=False))
    files.write_text(target / "summary.csv", table.to_csv(index=False))
    command = "make small" if study == IMAGES else "python tools/small.py --world"
    files.write_json(target / NOTE, {"command": command, "runs": notes})
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
    try:
        if given.gather:
            print(gather(chosen, Kept.read(chosen)))
        else:
            main(chosen, given.only, given.options or ["--cores", "2"], given.keep)
    except UserError as error:
        sys.exit(f"error: {error}")
