"""The runs of the small-data study, and what its record already has of them."""

import copy
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
from _snakemake import counted

import _library  # noqa: F401
from soups import files
from soups.outcomes import IMAGES_AXIS
from soups.roles import BEST, GREEDY, LEARNED, RECALIBRATED, UNIFORM

RECORDED = Path("results/recorded")
NOTE = "record.json"
SEEDS = (0, 1, 2)
IMAGES, WORLD = "small", "small_world"
BASES = {
    IMAGES: ["experiments/pacs.yaml", "experiments/small.yaml"],
    WORLD: ["experiments/small_world.yaml"],
}
START = "start-{seed}"  # the run that makes the weak start of a sweep
WEAK = f"results/small/{START}/models/m00.safetensors"
FULL = "images100"  # the setting whose held-out set is drawn again
DRAWN = {"heldout_size": {"per_class": [5, 20, 50, 100], "draws": 5}}
DRAWN_WORLD = {"heldout_size": {"per_class": [5, 20, 100, 500], "draws": 5}}


def images(share: float, low: float, high: float) -> dict:
    """The overlay of a setting with a share of the training images and a range of epochs."""
    parameters = {"epochs": f"uniform({low}, {high})"}
    return {"data": {"train_fraction": share}, "sweep": {"random": {"parameters": parameters}}}


USUAL = "images20"  # the setting with the usual start and a fifth of the training images

# Models that are trained from random weights have batch statistics of their own, and those of soups
# are measured again. They need more epochs.
RANDOM = images(0.2, 12, 18) | {
    "model": {"pretrained": "random", "recalibrate_batch_norm": 500},
    "finetune": {"batch_norm": "trained"},
    "soups": {
        "only": [UNIFORM, GREEDY, LEARNED, RECALIBRATED],
        RECALIBRATED: {"method": "best_of", "of": [BEST]},
    },
}

# A fifth of the usual learning rates, and three times the epochs.
SLOW = images(0.2, 12, 18)
SLOW["sweep"]["random"]["parameters"]["lr"] = "log_uniform(0.00002, 0.0002)"

# Name of a study to its settings: axis, value on it, and what differs from the base.
SETTINGS: dict[str, dict[str, tuple[str, str, dict]]] = {
    IMAGES: {
        "images2": (IMAGES_AXIS, "2%", images(0.02, 15, 25)),
        "images5": (IMAGES_AXIS, "5%", images(0.05, 8, 14)),
        "images20": (IMAGES_AXIS, "20%", images(0.2, 4, 6)),
        "images100": (IMAGES_AXIS, "100%", images(1, 1.5, 2.5) | {"curves": DRAWN}),
        "random": ("start", "random", RANDOM),
        "tenth": ("start", "a tenth", images(0.2, 4, 6) | {"model": {"pretrained": WEAK}}),
        "slow": ("learning rates", "a fifth, 3× epochs", SLOW),
    },
    WORLD: {
        "images2": (IMAGES_AXIS, "2%", images(0.02, 4, 6)),
        "images5": (IMAGES_AXIS, "5%", images(0.05, 2, 3)),
        "images20": (IMAGES_AXIS, "20%", images(0.2, 0.8, 1.2)),
        "images100": (IMAGES_AXIS, "100%", images(1, 0.25, 0.45) | {"curves": DRAWN_WORLD}),
    },
}

# What the run of a weak start adds: a model from random weights on a tenth of the images.
TENTH = {
    "data": {"train_fraction": 0.1},
    "model": {"pretrained": "random"},
    "finetune": {"batch_norm": "trained", "start": "new"},
    "sweep": {"random": {"n": 1, "parameters": {
        "lr": 0.002, "epochs": 60, "augment": 1,
        "weight_decay": None, "label_smoothing": None, "mixup": None,
    }}},
}  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A sweep of one setting of a study.

    Attributes:
        study: one of `SETTINGS`.
        setting: its name.
        seed: of the sweep.
    """

    study: str
    setting: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.setting}-{self.seed}"

    @property
    def folder(self) -> Path:
        return Path("results", self.study, self.name)

    @property
    def targets(self) -> list[str]:
        """The files that the run is made for. The first run of a setting checks the images too."""
        tables = ["effects"]
        tables += ["heldout_size"] if self.setting == FULL else []
        tables += ["data"] if self.seed == SEEDS[0] and self.study == IMAGES else []
        return [str(self.folder / "tables" / f"{table}.csv") for table in tables]

    @property
    def note(self) -> Path:
        """The file that says with which settings and on which hardware the run was made."""
        return self.folder.with_suffix(".json")

    @property
    def done(self) -> bool:
        """Whether the run was made with the settings of today."""
        if not self.note.is_file() or not all(Path(path).is_file() for path in self.targets):
            return False
        return files.read_json(self.note)["settings"] == self.settings

    @property
    def weak(self) -> dict | None:
        """What the run adds that makes its start, or None if it starts from given weights."""
        if SETTINGS[self.study][self.setting][2].get("model", {}).get("pretrained") != WEAK:
            return None
        return self._own(f"{self.study}/{START}", TENTH)

    @property
    def overlay(self) -> dict:
        """What the run adds to the base of its study."""
        own = self._own(f"{self.study}/{self.name}", SETTINGS[self.study][self.setting][2])
        if self.setting == FULL:
            own["curves"]["heldout_size"]["seed"] = self.seed
        return own

    def _own(self, name: str, changes: dict) -> dict:
        """Changes with a name and the run's seed, which draws the images and the sweep."""
        own = {"name": name.format(seed=self.seed)} | copy.deepcopy(changes)
        own["data"]["heldout"] = {"seed": self.seed}
        own["sweep"]["random"]["seed"] = self.seed
        if start := own.get("model", {}).get("pretrained"):
            own["model"]["pretrained"] = start.format(seed=self.seed)
        return own

    @property
    def settings(self) -> str:
        """A hash of all settings that decide the results of the run."""
        read = counted([Path("config.yaml"), *map(Path, BASES[self.study])])
        return files.fingerprint([*read, self.overlay, self.weak])


def runs(study: str) -> list[Run]:
    """All runs of a study, in order."""
    return [Run(study, setting, seed) for setting in SETTINGS[study] for seed in SEEDS]


@dataclass(frozen=True)
class Kept:
    """What the record has. It counts where a run has no folder.

    Attributes:
        gains: the rows of gains.csv.
        drawn: those of drawn.csv.
        notes: name of a run to what record.json says about it.
        others: names of recorded runs with other settings, which a new record leaves out.
    """

    gains: pd.DataFrame = field(default_factory=pd.DataFrame)
    drawn: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: dict[str, dict] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    @classmethod
    def read(cls, study: str) -> "Kept":
        """The recorded runs with the settings of today."""
        folder = RECORDED / study
        if not (folder / NOTE).is_file():
            return cls()
        noted = files.read_json(folder / NOTE)["runs"]
        here = [run for run in runs(study) if run.name in noted]
        same = [run.name for run in here if noted[run.name]["settings"] == run.settings]
        paths = [folder / f"{table}.csv" for table in ("gains", "drawn")]
        tables = [pd.read_csv(path) if path.is_file() else pd.DataFrame() for path in paths]
        others = tuple(name for name in noted if name not in same)
        return cls(*tables, {name: noted[name] for name in same}, others)

    def of(self, table: str, run: Run) -> pd.DataFrame:
        """The rows of a run in one of the tables."""
        rows = getattr(self, table)
        if run.name not in self.notes or rows.empty:
            return pd.DataFrame()
        return rows[(rows["setting"] == run.setting) & (rows["seed"] == run.seed)]
