"""The pre-trained model in the repository is the one that the rule `pretrain` makes."""

import json

import numpy as np
import pytest
import torch
import yaml

from soups.files import sha256
from soups.models.checkpoints import Checkpoint
from soups.models.forward import forward
from soups.models.pretrained import Pretrained
from soups.world.sets import draw_set, set_mapping
from tests.workflow.conftest import ROOT, TINY

CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text())
CARRIED = ROOT / CONFIG["model"]["pretrained"]
RECORD = json.loads(CARRIED.with_suffix(".json").read_text())


def test_the_file_has_the_recorded_checksum():
    assert sha256(CARRIED) == RECORD["sha256"]


def test_the_model_was_made_with_the_default_configuration():
    note = Checkpoint(CARRIED).note
    budget = {k: v for k, v in CONFIG["pretrain"].items() if k not in ("images", "caption_noise")}
    assert note["settings"] == budget == RECORD["settings"]
    assert note["architecture"] == CONFIG["model"]["architecture"]


def test_a_short_run_of_the_rule_makes_a_model_with_the_same_tensors_and_words(finished):
    short = Checkpoint(finished.results / "pretrained" / "model.safetensors")
    carried = Checkpoint(CARRIED)
    assert short.shapes() == carried.shapes()
    assert short.note["words"] == carried.note["words"]
    assert short.note["architecture"] == carried.note["architecture"]
    shortened = {key: value for key, value in TINY["pretrain"].items() if key != "images"}
    assert short.note["settings"] == carried.note["settings"] | shortened


@pytest.mark.parametrize("name", ["test", "r", "sketch"])
def test_zeroshot_accuracy_is_as_recorded(name):
    world = CONFIG["data"]["world"]
    images, labels, _ = draw_set(name, 1000, world["seed"], world["variants"])
    pretrained = Pretrained.load(CARRIED)
    classes = [title for title, _ in set_mapping(name)]
    head = pretrained.text_head(classes, CONFIG["model"]["templates"])
    features = forward(pretrained.classifier(len(classes)).eval().features, images)
    accuracy = ((features @ head.T).argmax(1) == torch.from_numpy(labels)).double().mean().item()
    # The record is on more images of the same set. The tolerance is four standard errors of 1,000.
    recorded = RECORD["zeroshot"][name]
    assert abs(accuracy - recorded) < 4 * np.sqrt(recorded * (1 - recorded) / 1000)
