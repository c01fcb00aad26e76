"""A run on image folders: own classes, own shifts, derived shifts and a grid sweep."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.workflow.conftest import FEW

TRAIN, TEST = 60, 25
# Folder to the mean colour of its images, by which a model can tell the classes apart.
CLASSES = {"blue_sky": (40, 80, 220), "grass": (40, 180, 60), "sand": (220, 190, 120)}


def write_images(folder, colour, count, rng):
    """Write noisy images of a colour, as JPEG and PNG, in several sizes."""
    folder.mkdir(parents=True)
    for i in range(count):
        noise = rng.normal(0, 25, (30 + i % 7, 36, 3))
        pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:03d}.{'jpg' if i % 2 else 'png'}")


def dataset(root, train=TRAIN):
    """Write a training set, a test set and one shift."""
    rng = np.random.default_rng(0)
    for name, colour in CLASSES.items():
        write_images(root / "train" / name, colour, train, rng)
        write_images(root / "test" / name, colour, TEST, rng)
    write_images(root / "dusk" / "nature", (60, 110, 130), 12, rng)
    write_images(root / "dusk" / "sand", (150, 120, 70), 12, rng)


OVERLAY = FEW | {
    "name": "folders",
    "data": {
        "source": "folders",
        "folders": {
            "root": "images",
            "train": "train",
            "test": "test",
            "image_size": 32,
            "pretrain_fraction": 0.4,
            "names": {"blue_sky": "sky"},
            "shifts": {
                "dusk": {"folder": "dusk", "mapping": {"nature": ["blue_sky", "grass"]}},
                "blurred": {"corruption": "blur", "severity": 5},
            },
        },
        "heldout": {"fraction": 0.1},
    },
    "model": {"pretrained": "train"},
    "pretrain": {
        "epochs": 2,
        "horizon": 2,
        "cooldown": 0,
        "batch_size": 24,
        "augment": 0.5,
        "caption_noise": {"wrong": 0.0},
    },
    "probe": {"epochs": 2, "batch_size": 32},
    "finetune": {"batch_size": 16, "epochs": 2},
    "sweep": FEW["sweep"] | {"kind": "grid", "grid": {"lr": [0.0003, 0.001]}},
}


@pytest.mark.workflow
def test_a_run_on_own_images_ends_with_accuracies_on_all_sets(project):
    copy = project(OVERLAY)
    dataset(copy.folder / "images")
    copy.run()
    results = copy.results

    meta = json.loads((results / "prepared" / "train.json").read_text())
    assert [name for name, _ in meta["mapping"]] == ["sky", "grass", "sand"]
    captions = (results / "prepared" / "corpus.txt").read_text().split("\n")[:-1]
    assert len(captions) == round(0.4 * 3 * TRAIN)
    assert len(meta["paths"]) == 3 * TRAIN - len(captions)
    assert {caption.split()[-1] for caption in captions} == {"sky", "grass", "sand"}

    dusk = json.loads((results / "prepared" / "dusk.json").read_text())
    assert dusk["mapping"] == [["nature", [0, 1]], ["sand", [2]]]
    test = np.load(results / "prepared" / "test.npy")
    blurred = np.load(results / "prepared" / "blurred.npy")
    assert test.shape == blurred.shape == (3 * TEST, 32, 32, 3)
    assert blurred.std() < test.std()

    methods = pd.read_csv(results / "tables" / "methods.csv")
    assert {"dusk", "blurred"} <= set(methods.columns)
    models = pd.read_csv(results / "tables" / "models.csv")
    assert sorted(models["lr"].dropna()) == [0.0003, 0.001]
    # Colours are easy to learn. With mixed-up labels, accuracy would be at chance, a third.
    assert methods.set_index("method").loc["best_individual", "test"] > 0.6


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"finetune": {"lrr": 1}}, "config key finetune.lrr is unknown; did you mean lr?"),
        ({"sweep": {"kind": "gird"}}, "config key sweep.kind is 'gird', expected one of"),
        ({"data": {"source": "folders"}}, "data.source is 'folders' but data.folders is empty"),
        (
            {"model": {"pretrained": "no.safetensors"}},
            "'no.safetensors', expected an existing file",
        ),
        (
            {"curves": {"paths": {"variants": ["smal"]}}},
            "curves.paths.variants has 'smal', expected one of base, small, medium, large",
        ),
        (
            {"claims": {"weaker": "weak"}},
            "claims.weaker has 'weak' but there is no results/weak/tables",
        ),
        (
            {"finetune": {"task": "one"}},
            "has task = 'one' and start = 'probe', expected 'zeroshot'",
        ),
        (
            {"finetune": {"task": "one", "start": "zeroshot"}},
            "m00 has task = 'one', expected one of all",
        ),
        (
            {"tasks": {"x": ["axe", "car"]}, "curves": {"tasks": {"variants": ["small"]}}},
            "curves.tasks.unseen is None, expected one of x",
        ),
        (
            {
                "tasks": {"x": ["axe", "car"]},
                "curves": {"tasks": {"variants": ["small"], "unseen": "x"}},
            },
            "m00_small of task 'all', which contains the class 'axe' of the unseen task 'x'",
        ),
        (
            {"tasks": {"x": ["axe", "cra"]}},
            "tasks.x has 'cra', expected the name of a class",
        ),
    ],
)
def test_a_bad_configuration_ends_with_one_sentence_and_an_exit_code(project, change, sentence):
    copy = project({"name": "bad", "model": {"pretrained": "train"}} | change)
    done = copy.run("-n", check=False)
    assert done.returncode != 0
    assert sentence in done.stdout + done.stderr
