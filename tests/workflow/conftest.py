"""Real Snakemake runs in copies of the project in temporary folders."""

import copy
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from snakemake.utils import update_config

from soups.experiment import settings
from soups.experiment.plan import Plan
from tests.workflow import warm

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "config.yaml", "rules", "scripts", "tools", "profiles", "envs", "experiments")

# A smaller version of the default experiment. It runs every rule of the default, and pre-training.
TINY = {
    "name": "tiny",
    "data": {
        "world": {
            "train": 1500,
            "test": 600,
            "shift": 500,
            "variants": 6,
            "reference": {"images": 1000, "epochs": 1},
        }
    },
    "model": {"pretrained": "train"},
    "pretrain": {"images": 1000, "epochs": 2, "horizon": 3, "cooldown": 1},
    "probe": {"epochs": 2},
    "finetune": {"batch_size": 64},
    "sweep": {
        "random": {"n": 3, "parameters": {"epochs": "uniform(1.2, 1.6)"}},
        "variants": {
            "ema": {"first": 1, "set": {"ema": 0.9}},
            "distilled": {"first": 1, "set": {"distill": 0.5, "mixup": 0}},
            "one": {"first": 1, "set": {"task": "one", "start": "zeroshot", "mixup": 0}},
            "two": {"first": 1, "set": {"task": "two", "start": "zeroshot"}},
        },
    },
    "soups": {
        "with_ema": {"method": "uniform", "variants": ["base", "ema"]},
        "first_two": {"method": "median", "query": "row < 2"},
    },
    "tasks": {"one": ["star", "burst", "key"], "two": ["leaf", "car"], "unseen": ["axe", "bird"]},
    "curves": {
        "images": {"test": 100, "shift": 60},
        "wise_ft": {"alphas": [0, 0.5, 1]},
        "number_of_models": {"orders": 2},
        "paths": {"steps": 4},
        "landscape": {"variants": ["medium", "large"], "points": 3, "images": 20},
        "slices": {"seed": {"variants": ["medium"]}},
        "tasks": {"variants": ["one", "two"], "unseen": "unseen"},
    },
}


def plan_of(overlay: dict) -> Plan:
    """The plan of the default experiment with an overlay."""
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    update_config(config, copy.deepcopy(overlay))
    settings.validate(config, ROOT / "rules" / "schemas" / "config.schema.yaml")
    return Plan.of(config)


FIGURES = list(plan_of(TINY).figures)  # of the tiny run


# Only the uniform and the greedy soup, without the models and figures of curves.
FEW = yaml.safe_load((ROOT / "experiments" / "minimal.yaml").read_text(encoding="utf-8"))


# Two models of the tiny experiment and one shift. The pre-trained model is the one in the
# repository.
SMALL = FEW | {
    "name": "tiny",
    "data": {
        "world": {
            "train": 1500,
            "test": 200,
            "shift": 100,
            "shifts": ["v2"],
            "variants": 6,
        }
    },
    "probe": TINY["probe"],
    "finetune": TINY["finetune"],
    "sweep": FEW["sweep"] | {"random": {"n": 2, "parameters": {"epochs": "choice(1, 1)"}}},
}


LIMIT = 1800  # seconds for one run, on a machine that also does other work


class Project:
    """A copy of the project, in which `run` calls Snakemake.

    Attributes:
        cores: number of cores.
        warm: whether `run` uses interpreters that have imported large packages (`warm`).

    Args:
        folder: where the copy is made.
        overlay: configuration of the run.
        shipped: overlays in the repository that are applied before ``overlay``.
    """

    def __init__(self, folder: Path, overlay: dict, *shipped: str) -> None:
        self.folder = folder
        # If pytest runs several processes, each has one core.
        self.cores = 1 if os.environ.get("PYTEST_XDIST_WORKER") else 2
        self.warm = True
        self.configfiles = [*shipped, "overlay.yaml"]
        folder.mkdir(parents=True)
        for part in PARTS:
            source, target = ROOT / part, folder / part
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(source, target, ignore=ignored)
            else:
                shutil.copy(source, target)
        carried = Path("results", "recorded", "pretrained")
        shutil.copytree(ROOT / carried, folder / carried)
        self.configure(overlay)

    def configure(self, overlay: dict) -> None:
        (self.folder / "overlay.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False))

    @property
    def results(self) -> Path:
        name = yaml.safe_load((self.folder / "overlay.yaml").read_text())["name"]
        return self.folder / "results" / name

    def command(self, *arguments: str) -> list[str]:
        snakemake = Path(sys.executable).with_name("snakemake")
        cores = str(self.cores)
        return [str(snakemake), *arguments, "--cores", cores, "--configfile", *self.configfiles]

    def environment(self) -> dict:
        # Scripts run with the first `python` on the path.
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return os.environ | {"PATH": path}

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        command = self.command(*arguments)
        if self.warm:
            command[:1] = [warm.python(), "-m", "snakemake"]
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=LIMIT,
        )
        if check and done.returncode:
            raise AssertionError(f"snakemake {arguments} failed:\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *arguments: str, output=subprocess.DEVNULL) -> subprocess.Popen:
        """Start Snakemake in a process group of its own, so that a test can signal all its jobs."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # A test process in the background ignores SIGINT, and its children would inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )

    def planned(self, *arguments: str) -> dict[str, int]:
        """Return rule to number of jobs, from a dry run."""
        done = self.run("-n", *arguments)
        rows = re.findall(r"^(\w+) +(\d+)$", done.stdout + done.stderr, re.MULTILINE)
        return {rule: int(count) for rule, count in rows if rule != "total"}


@pytest.fixture
def project(tmp_path):
    """A function that makes a project from an overlay and any shipped overlays."""
    count = iter(range(100))
    return lambda *overlays: Project(tmp_path / f"project{next(count)}", *overlays)


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A complete run of the tiny experiment, which tests must not change."""
    project = Project(tmp_path_factory.mktemp("finished") / "project", TINY)
    project.warm = False  # every rule of the default runs in a new interpreter
    # Soups are made first, to record which sets exist before any evaluation.
    project.run("soups")
    prepared = {path.name.split(".")[0] for path in (project.results / "prepared").iterdir()}
    (project.folder / "prepared-for-soups.txt").write_text("\n".join(sorted(prepared)))
    project.run()
    project.warm = True
    return project
