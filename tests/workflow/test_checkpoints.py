"""From a folder of fine-tuned models and a folder of images to a report, as a new user does it.

The run has the overlay that the tool writes, and experiments/minimal.yaml, which saves time.
"""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from soups.models.checkpoints import Checkpoint
from tests.checkpoints import fine_tuned, save_as_timm
from tests.workflow.conftest import Project
from tests.workflow.test_folders import CLASSES, write_images

MODELS = ["lr1", "lr2", "lr3", "lr10"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Project:
    """A project in which the tool has written an overlay, and a run with it."""
    folder = tmp_path_factory.mktemp("run") / "project"
    project = Project(folder, {"name": "mine"}, "experiments/minimal.yaml")
    rng = np.random.default_rng(0)
    for part, count in (("train", 4), ("val", 12), ("test", 12)):
        for name, colour in CLASSES.items():
            write_images(project.folder / "data" / "mine" / part / name, colour, count, rng)
    states = fine_tuned("test_vit", 4)[1:]
    for name, state in zip(MODELS, states, strict=True):
        save_as_timm(project.folder / f"runs/{name}/model_best.pth.tar", "test_vit", state)
    subprocess.run(
        [
            sys.executable, "tools/new_experiment.py", "--checkpoints",
            "runs/*/model_best.pth.tar", "--images", "data/mine", "--out", "overlay.yaml",
            "--force",
        ],
        cwd=project.folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    # The overlay has the name of its file.
    assert project.results.name == "overlay"
    done = project.run()
    (project.folder / "output.txt").write_text(done.stdout + done.stderr)
    return project


@pytest.mark.workflow
def test_the_overlay_of_the_tool_runs_to_a_report(made):
    results = made.results
    assert (results / "report.html").stat().st_size > 10_000
    models = pd.read_csv(results / "tables" / "models.csv")
    assert models["model"].tolist() == MODELS
    assert list(models.columns[:3]) == ["model", "variant", "heldout"]  # nothing is invented
    methods = pd.read_csv(results / "tables" / "methods.csv").set_index("method")
    assert methods.loc["uniform", "members"].split() == MODELS
    assert methods["n_heldout"].iloc[0] == 36
    assert {"best_individual", "uniform", "greedy"} <= set(methods.index)


@pytest.mark.workflow
def test_the_run_says_what_is_left_out_and_which_file_is_which_model(made):
    said = (made.folder / "output.txt").read_text()
    assert "The figure sweep is left out, because the hyperparameters that" in said
    plan = json.loads((made.results / "plan.json").read_text())
    assert plan["files"]["lr10"] == "runs/lr10/model_best.pth.tar"


@pytest.mark.workflow
def test_the_whole_default_is_planned_without_a_start(made):
    made.configfiles.remove("experiments/minimal.yaml")
    try:
        planned = made.planned()
    finally:
        made.configfiles.insert(0, "experiments/minimal.yaml")
    # Seven soups need no start, one of which has three orders.
    assert planned["cook"] > 2
    assert planned["evaluate_curve"] == 1
    assert "evaluate_pairs" not in planned


@pytest.mark.workflow
def test_the_run_is_finished_and_a_new_model_leaves_the_others(made):
    assert made.planned() == {}
    state = fine_tuned("test_vit", 5)[5]
    path = made.folder / "runs/lr11/model_best.pth.tar"
    save_as_timm(path, "test_vit", state)
    try:
        assert made.planned()["import_checkpoint"] == 1
    finally:
        path.unlink()


@pytest.mark.workflow
def test_the_header_of_a_soup_has_its_classes_and_its_size(made):
    card = Checkpoint(made.results / "soups" / "uniform.safetensors").note["model"]
    assert card["classes"] == [name.replace("_", " ") for name in CLASSES]
    assert (card["architecture"], card["image_size"]) == ("timm/test_vit", 160)
