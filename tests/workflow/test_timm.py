"""A run with a classifier from timm, which has no text tower but has batch statistics."""

import pandas as pd
import pytest
import timm
import torch

from soups.models.checkpoints import Checkpoint
from tests.unit.test_overlays import merge
from tests.workflow.conftest import FEW
from tests.workflow.test_folders import OVERLAY, dataset
from tests.workflow.using import check_use

TIMM = merge(
    merge(OVERLAY, FEW),
    {
        "name": "timm",
        "data": {"folders": {"image_size": 160, "pretrain_fraction": 0}},
        "model": {
            "architecture": "timm/test_efficientnet",
            "pretrained": "weights.pth",
            "recalibrate_batch_norm": 12,
        },
        "probe": {"lr": 0.01, "epochs": 20},
        "finetune": {"batch_size": 32, "epochs": 1, "crop": 0.7, "flip": 0.5, "rand_augment_ops": 1,
                     "rand_augment_magnitude": 5},
        "sweep": {"grid": {"lr": [0.0003, 0.001]}},
    },
)  # fmt: skip


@pytest.mark.workflow
def test_a_run_with_a_timm_classifier_ends_with_soups_of_new_batch_statistics(project):
    copy = project(TIMM)
    dataset(copy.folder / "images")
    torch.manual_seed(0)
    torch.save(timm.create_model("test_efficientnet").state_dict(), copy.folder / "weights.pth")
    copy.run()
    methods = pd.read_csv(copy.results / "tables" / "methods.csv").set_index("method")
    assert "zeroshot" not in methods.index
    assert "initialization" in methods.index
    assert methods.loc["best_individual", "test"] > 0.6  # Chance is a third.
    states = {
        name: Checkpoint(copy.results / f"{name}.safetensors").state()
        for name in ("models/initialization", "soups/uniform", "soups/greedy")
    }
    start, soup = states["models/initialization"], states["soups/uniform"]
    key = next(name for name in soup if name.endswith("running_mean"))
    # Every ingredient has the statistics of the start, so those of the soup were measured.
    assert not torch.equal(soup[key], start[key])
    check_use(copy, "greedy", "images/test")


def test_a_zeroshot_start_without_a_text_tower_ends_with_one_sentence(project):
    copy = project(merge(TIMM, {"finetune": {"start": "zeroshot"}}))
    dataset(copy.folder / "images")
    (copy.folder / "weights.pth").touch()
    done = copy.run("-n", check=False)
    assert done.returncode != 0
    assert "has start = 'zeroshot', expected 'probe' or 'new' because the pre-trained" in (
        done.stdout + done.stderr
    )
