"""The commands on all pages run, and so do the recipes of extending.md."""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import save_file

from tests import layouts as trees
from tests.checkpoints import fine_tuned, save_as_timm
from tests.unit.test_docs import PAGES
from tests.workflow import warm
from tests.workflow.conftest import ROOT, SMALL
from tests.workflow.test_folders import dataset

# These commands cannot run in a test. They need a container, a network, hours of CPU time, or a
# finished run (test_folders.py and test_timm.py predict with a soup).
ELSEWHERE = ("apptainer", "python tools/fetch_cifar10.py", "python tools/fetch_minilm.py",
             "python tools/fetch_lite0.py", "python tools/predict.py",
             "python tools/record.py")  # fmt: skip
# These take hours, and can list what they would run.
LONG = ("snakemake", "python tools/replicate.py", "python tools/small.py")
LIMIT = 900  # seconds for one command. Without a limit, a new long command would take all of CI.


def commands(page: Path) -> list[str]:
    """The commands in a page's blocks of shell code, without comments."""
    found = []
    for language, block in re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", page.read_text("utf-8")):
        if language in ("console", "sh"):
            lines = block.replace("\\\n", " ").splitlines()
            if language == "console":
                lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
            found += [shlex.join(words) for x in lines if (words := shlex.split(x, comments=True))]
    return found


def dry(command: str) -> str:
    """Return a command that takes long as a dry run, and any other command unchanged."""
    if command.startswith(LONG):
        return f"{command} --dry-run" if "--rulegraph" not in command else command
    return command.replace("make", "make -n", 1) if command.startswith("make") else command


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy of the project with small data for every experiment that a page runs."""
    from tests.workflow.conftest import Project

    made = Project(tmp_path_factory.mktemp("docs") / "project", {"name": "docs"})
    for name in ("Makefile", "README.md"):
        shutil.copy(ROOT / name, made.folder / name)
    data = made.folder / "data"
    trees.imagenet(data, 30, 1)
    trees.shifts(data, 1)
    np.save(data / "imagenet_98_idxs.npy", np.zeros(30 * len(trees.CLASSES)))
    dataset(data / "images", train=110)
    shutil.copytree(data / "images", data / "clothing")
    dataset(data / "cifar10", train=540)  # its experiment holds 500 images of each class out
    for domain in ("art_painting", "cartoon", "photo", "sketch"):
        shutil.copytree(data / "images" / "train", data / "pacs" / domain)
    # Fine-tuned models as a user has them, with images that they were not trained on.
    shutil.copytree(data / "images", data / "mine")
    shutil.copytree(data / "mine" / "test", data / "mine" / "val")
    for i, state in enumerate(fine_tuned("test_vit", 2)):
        path = made.folder / "runs" / f"lr{i}" / "model_best.pth.tar"
        save_as_timm(path, "test_vit", state)
    pairs = "index\tsentence1\tsentence2\tlabel\n" + "".join(
        f"{i}\ta text {i}\tanother text\t{('entailment', 'not_entailment')[i % 2]}\n"
        for i in range(60)
    )
    (data / "glue" / "RTE").mkdir(parents=True)
    for name in ("train.tsv", "dev.tsv"):
        (data / "glue" / "RTE" / name).write_text(pairs, encoding="utf-8")
    weights = made.folder / "models" / "lite0" / "tf_efficientnet_lite0.safetensors"
    weights.parent.mkdir(parents=True)
    save_file({"a tensor": torch.zeros(1)}, weights)  # a dry run reads no more than its header
    # `make -n` runs the lines that call make again, and those need Snakemake's folder.
    (made.folder / ".snakemake").mkdir(exist_ok=True)
    # A page shares the data of experiments that a reader has run before.
    for name in ("pacs", "clothing"):
        made.configfiles = [f"experiments/{name}.yaml"]
        made.run("splits")
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_runs(project, page):
    environment = project.environment()
    environment["PATH"] = f"{Path(warm.python()).parent}{os.pathsep}{environment['PATH']}"
    activate = project.folder / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True, exist_ok=True)
    activate.touch()
    for name in ("own", "mine"):  # two pages write each
        (project.folder / "experiments" / f"{name}.yaml").unlink(missing_ok=True)
    for command in commands(page):
        if command.startswith(ELSEWHERE):
            continue
        done = subprocess.run(
            ["timeout", "--kill-after=30", str(LIMIT), "bash", "-c", dry(command)],
            cwd=project.folder, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        limit = f" (not finished in {LIMIT} s)" if done.returncode == 124 else ""
        said = f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
        assert done.returncode == 0, f"{command}{limit}\n{said}"


def test_commands_are_found_on_the_pages():
    """Without any command, the test above would pass."""
    every = [command for page in PAGES for command in commands(page)]
    assert {"make", "make test"} <= set(every)
    assert sum(command.startswith("snakemake") for command in every) >= 10


RECIPES = re.split(r"(?m)^## ", (ROOT / "docs" / "extending.md").read_text(encoding="utf-8"))[1:]


def blocks(title: str) -> list[tuple[str, str]]:
    """Language and text of the code blocks below a heading of extending.md."""
    section = next(text for text in RECIPES if text.startswith(title))
    return re.findall(r"(?ms)^```(\w+)\n(.*?)^```$", section)


def insert(path: Path, before: str, text: str) -> None:
    """Insert text into a file, above the first line that begins with ``before``."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    at = next(i for i, line in enumerate(lines) if line.startswith(before))
    path.write_text("".join([*lines[:at], text, *lines[at:]]), encoding="utf-8")


# A new problem is a package, which needs more than a recipe.
@pytest.mark.parametrize("recipe", RECIPES[:-1], ids=lambda recipe: recipe.splitlines()[0])
def test_a_recipe_takes_at_most_15_lines_of_text_and_code(recipe):
    _, *lines = recipe.splitlines()
    assert "```" in recipe
    assert sum(bool(line.strip()) and not line.startswith("```") for line in lines) <= 15


def test_recipes_are_found():
    titles = ["A method", "An ensemble", "A figure", "A hyperparameter", "A dataset layout",
              "A problem"]  # fmt: skip
    assert [recipe.splitlines()[0] for recipe in RECIPES] == titles


def test_a_method_an_ensemble_and_a_figure_can_be_added_as_the_page_says(tmp_path_factory):
    """The test adds all three to a copy of the project, and runs it."""
    from tests.workflow.conftest import Project

    overlay = SMALL | {"name": "extended"}
    (_, function), (_, row), (_, soup) = blocks("A method")
    new = yaml.safe_load(soup)["soups"]
    overlay["soups"] = new | {"only": [*SMALL["soups"]["only"], *new]}
    (_, choice), (_, choice_row) = blocks("An ensemble")
    name = re.search(r"def (\w+)", choice)[1]
    overlay["ensembles"] = {name: {"method": name}, "only": [name]}
    (_, drawing), (_, figure_row) = blocks("A figure")
    copy = Project(tmp_path_factory.mktemp("extended") / "project", overlay)
    library = copy.folder / "scripts" / "soups"

    insert(library / "mixing" / "methods.py", "def _best(", function + "\n\n")
    registry = library / "experiment" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    text = text.replace("]\n_ENSEMBLES = [\n", f"{row}]\n_ENSEMBLES = [\n{choice_row}", 1)
    registry.write_text(text, encoding="utf-8")
    insert(library / "mixing" / "ensembles.py", "def combine(", choice + "\n\n")
    with (library / "report" / "figures" / "methods.py").open("a", encoding="utf-8") as file:
        file.write("\n\n" + drawing)
    rows = library / "experiment" / "figures.py"
    text = rows.read_text(encoding="utf-8")
    rows.write_text(text.replace("FIGURES = [\n", f"FIGURES = [\n{figure_row}", 1), "utf-8")

    copy.run()
    methods = pd.read_csv(copy.results / "tables" / "methods.csv")
    soup_name = next(iter(new))
    assert {soup_name, name} <= set(methods["method"])
    drawn = re.search(r"def (\w+)", drawing)[1]
    assert (copy.results / "figures" / f"{drawn}.png").is_file()
    assert f'id="{drawn}"' in (copy.results / "report.html").read_text(encoding="utf-8")
    # The configuration is checked against the options in the registry.
    done = copy.run("-n", "--config", f"soups={{{soup_name}: {{n: x}}}}", check=False)
    assert done.returncode == 1
    assert f"soups.{soup_name}.n is 'x', expected integer" in done.stdout + done.stderr
