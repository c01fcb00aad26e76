"""A run in which a model diverges, and runs that refuse what diverged."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from soups import files
from soups.jobs import left_out
from tests.unit.test_overlays import merge
from tests.workflow.test_folders import CLASSES, OVERLAY, TEST, TRAIN, dataset, write_images
from tests.workflow.test_timm import TIMM

HARD = merge(OVERLAY, {"name": "hard", "sweep": {"grid": {"lr": [0.001, 1e30]}}})


def look_alikes(root):
    """Write a data set like `dataset`, whose classes all look the same."""
    rng, grey = np.random.default_rng(0), (120, 120, 120)
    for part, count in (("train", TRAIN), ("test", TEST)):
        for name in CLASSES:
            write_images(root / part / name, grey, count, rng)
    for name in ("nature", "sand"):
        write_images(root / "dusk" / name, grey, 12, rng)


@pytest.mark.workflow
def test_a_model_that_diverged_is_listed_and_in_no_soup(project):
    copy = project(HARD)
    # No model can tell these classes apart. If NaN counted as the first class, the model that
    # diverged would be about as good as the other one.
    look_alikes(copy.folder / "images")
    done = copy.run()
    tables = copy.results / "tables"
    models = pd.read_csv(tables / "models.csv").set_index("model")
    [bad], [good] = (models.index[models["lr"] == lr] for lr in (1e30, 0.001))
    weights = copy.results / "models" / f"{bad}.safetensors"
    line = left_out.line(bad, left_out.reason(weights))
    assert "the loss of step 2 of" in line
    assert "is not finite" in line
    assert line in done.stdout + done.stderr
    printed = [sys.executable, "tools/print_methods.py", copy.results]
    assert line in subprocess.check_output(printed, cwd=copy.folder, text=True).splitlines()

    assert models.loc[bad, ["heldout", "test", "shifts_mean"]].isna().all()
    assert models.loc[good].notna().all()
    members = pd.read_csv(tables / "methods.csv").set_index("method")["members"]
    assert set(members[["best_individual", "uniform", "greedy"]]) == {good}
    assert "second_best_individual" not in members
    for name in ("uniform", "greedy"):
        recipe = files.read_json(copy.results / "recipes" / f"{name}.json")
        assert list(recipe["coefficients"]) == [good]
    logits = np.load(copy.results / "logits" / bad / "test.npy")
    assert logits.shape[1] == len(CLASSES)
    assert np.isnan(logits).all()
    assert not list((copy.results / ".state").iterdir())
    assert copy.planned() == {}  # A model that is left out is not trained again.

    weights.unlink()
    copy.configure(merge(HARD, {"ingredients": {"strict": True}}))
    strict = copy.run(str(weights.relative_to(copy.folder)), check=False)
    assert strict.returncode != 0
    assert not weights.exists()
    assert "error: the loss of step 2 of" in strict.stdout + strict.stderr


@pytest.mark.workflow
def test_a_pretrained_model_with_a_nan_is_refused_before_anything_is_trained(project):
    copy = project(TIMM)
    dataset(copy.folder / "images")
    state = timm.create_model("test_efficientnet").state_dict()
    state["conv_stem.weight"][0, 0, 0, 0] = torch.nan
    torch.save(state, copy.folder / "weights.pth")
    done = copy.run(check=False)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "weights.pth: tensor" in said
    assert "conv_stem.weight' has values that are NaN" in said
    assert not (copy.results / "models").exists()
