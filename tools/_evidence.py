"""The runs of the evidence, from experiments/evidence/plan.yaml and the overlays beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from _snakemake import CLI, counted

import _library  # noqa: F401
from soups import files
from soups.errors import UserError
from soups.roles import INITIALIZATION

OVERLAYS = Path("experiments/evidence")
DONE = "evidence.json"  # in the folder of a finished run: its fingerprint, minutes and machine


@dataclass(frozen=True)
class Run:
    """One experiment of the evidence.

    Attributes:
        design, seed: of the run.
        files: its overlays, in order.
        config: its further settings.
        minutes: expected time on two cores.
        options: further options of snakemake.
        number: of the run within its design, from 0.
        becomes: name of a file in its folder for its first model as a pre-trained model.
        further: whether it only takes place if the other runs leave a claim inconclusive.
        maker: the run that makes its pre-trained model, if one does.
    """

    design: str
    seed: int
    files: tuple[Path, ...]
    config: dict
    minutes: float
    options: tuple[str, ...] = ()
    number: int = 0
    becomes: str | None = None
    further: bool = False
    maker: "Run | None" = None

    @property
    def name(self) -> str:
        return f"{self.design}-{self.seed}"

    @property
    def folder(self) -> Path:
        return Path("results", self.config["name"])

    @property
    def effects(self) -> Path:
        return self.folder / "tables" / "effects.csv"

    @property
    def model(self) -> Path | None:
        """The file that the run makes as a pre-trained model for others."""
        return self.folder / self.becomes if self.becomes else None

    @property
    def settings(self) -> str:
        """A hash of all settings that decide the results of the run, also of those of its start."""
        read = counted([Path("config.yaml"), *self.files])
        start = self.maker.settings if self.maker else None
        return files.fingerprint({"files": read, "config": self.config, "start": start})

    @property
    def fingerprint(self) -> str:
        """A hash of the settings, and of the file that another run made as the start."""
        made = files.sha256(self.maker.model) if self.maker and self.maker.done else None
        return files.fingerprint({"settings": self.settings, "start": made})

    @property
    def done(self) -> bool:
        mark = self.folder / DONE
        wanted = [mark, self.effects, *([self.model] if self.model else [])]
        if not all(path.is_file() for path in wanted):
            return False
        return files.read_json(mark)["fingerprint"] == self.fingerprint

    def command(self, target: Path) -> list[str]:
        """The snakemake command that makes a file of the run."""
        config = [f"{key}={json.dumps(value)}" for key, value in self.config.items()]
        names = [str(path) for path in self.files]
        options = ["--quiet", "rules", "--configfile", *names, "--config", *config, *self.options]
        return [*CLI, str(target), *options]

    @property
    def begin(self) -> list[str]:
        """The command that makes the data and the start, which other runs may share."""
        return self.command(self.folder / "models" / f"{INITIALIZATION}.safetensors")


def runs(
    designs: Mapping[str, Mapping], name: str, more: Sequence[Path] = (), home: Path = OVERLAYS
) -> list[Run]:
    """All runs in order.

    Args:
        designs: the content of plan.yaml.
        name: folder of results/ for the runs.
        more: overlays that go on top of those of every design.
        home: folder of the overlays of designs.
    """
    made = []
    for design, spec in designs.items():
        overlays = (*(home / f"{file}.yaml" for file in spec["files"]), *more)
        extra = spec.get("config", {})
        options = tuple(spec.get("options", []))
        for number, seed in enumerate([*spec["seeds"], *spec.get("more", [])]):
            own, shared = f"{name}/{design}-{seed}", f"{name}/{spec['shared']}"
            config = {"name": own} | ({"shared": shared} if shared != own else {})
            given = {**extra.get("all", {}), **extra.get(seed, {})}
            text = json.dumps(given).replace("{folder}", f"results/{name}")
            config |= json.loads(text)
            config["sweep"] = {"random": {"seed": seed}, **config.get("sweep", {})}
            minutes = spec["minutes"]
            further = number >= len(spec["seeds"])
            start = config.get("model", {}).get("pretrained")
            maker = next((run for run in made if run.model and str(run.model) == start), None)
            made.append(
                Run(design, seed, overlays, config, minutes, options, number, spec.get("becomes"),
                    further, maker)
            )  # fmt: skip
    return made


def chosen(designs: Mapping[str, Mapping], only: Sequence[str]) -> dict[str, Mapping]:
    """The designs that a run asks for, or all.

    Raises:
        UserError: for an unknown design.
    """
    for name in only:
        if name not in designs:
            known = ", ".join(designs)
            raise UserError(f"--only has {name!r}, expected one of {known}")
    return {name: spec for name, spec in designs.items() if not only or name in only}


def left(made: float, expected: float, todo: float) -> float:
    """Seconds that remain.

    Args:
        made: seconds that the runs of this call took.
        expected: minutes that plan.yaml expects for these runs.
        todo: minutes that it expects for the others.
    """
    speed = made / (60 * expected) if expected else 1.0
    return 60 * todo * speed
