"""The shipped ImageNet experiment, on small sets in the same layouts, with a tiny model."""

import copy
import json

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from soups.data import prompts
from soups.files import sha256
from soups.models.pretrained import Pretrained
from soups.models.tokens import WordTokenizer
from tests import layouts as trees
from tests.unit.test_overlays import merge
from tests.workflow.conftest import FEW, ROOT, Project
from tests.workflow.test_firewall import graph, leaks

IMAGENET = "experiments/imagenet.yaml"
MODEL = yaml.safe_load((ROOT / "config.yaml").read_text())["model"]["architecture"]
# CLIP's templates have up to eight words, and a class name has up to three.
MODEL["text_cfg"]["context_length"] = 14

TRAIN, VAL, SHIFT, HELD = 20, 8, 6, 2  # images of each class
CLASSES = len(trees.CLASSES)
# The labels name this image of the first class, but the file is missing.
GONE = "ILSVRC2012_val_00000007.JPEG"
BROKEN = f"{trees.wnids()[1]}/{trees.wnids()[1]}_broken.JPEG"
FLAT = {"folder": "imagenet/flat", "labels": "imagenet/LOC_val_solution.csv"}

OVERLAY = merge(
    FEW,
    {
        "name": "small",
        "data": {
            "folders": {
                "test": FLAT,
                "image_size": 32,
                "expected": {
                    "train": TRAIN * CLASSES, "test": VAL * CLASSES, "v2": SHIFT * CLASSES,
                    "r": SHIFT * 3, "sketch": SHIFT * CLASSES, "objectnet": SHIFT * 2,
                    "a": SHIFT * 2,
                },
            },
            "heldout": {"per_class": HELD},
        },
        "model": {"architecture": MODEL, "pretrained": "tiny.safetensors"},
        "probe": {"lr": 0.02, "epochs": 20, "batch_size": 32},
        "finetune": {"batch_size": 32, "warmup": 2},
        "sweep": {"random": {"n": 3, "parameters": {"lr": 0.0003, "epochs": "integer(1, 2)"}}},
        "curves": {"large_lr": 0.1},
    },
)  # fmt: skip


def imagenet(project, overlay):
    """Make a project with the data and the model of the experiment."""
    made = project(overlay, IMAGENET)
    root = made.folder / "data"
    trees.imagenet(root, TRAIN, VAL)
    trees.shifts(root, SHIFT)
    classes = trees.flatten(root / "imagenet" / "val", root / "imagenet" / "flat")
    trees.kaggle_labels(root / "imagenet" / "LOC_val_solution.csv", classes)
    (root / "imagenet" / "flat" / GONE).unlink()
    (root / "imagenet" / "val" / classes[GONE] / GONE).unlink()
    whole = next((root / "imagenet" / "train" / trees.wnids()[1]).iterdir()).read_bytes()
    (root / "imagenet" / "train" / BROKEN).write_bytes(whole[: len(whole) // 2])

    names = prompts.display_names(trees.wnids(), "imagenet")
    texts = [t.format(name) for t in prompts.templates("imagenet") for name in names]
    words = WordTokenizer.from_texts(texts, MODEL["text_cfg"]["context_length"]).words
    torch.manual_seed(0)
    Pretrained(MODEL, words).save(made.folder / "tiny.safetensors", {})
    return made


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A complete run of the experiment, which tests must not change."""
    folder = tmp_path_factory.mktemp("imagenet")
    made = imagenet(lambda *overlays: Project(folder / "project", *overlays), OVERLAY)
    made.run()
    return made


def read(project, name: str) -> dict:
    """The metadata of a prepared set."""
    return json.loads((project.results / "prepared" / f"{name}.json").read_text())


def test_checks_count_every_set_and_list_missing_corrupt_and_extra_files(finished):
    table = pd.read_csv(finished.results / "tables" / "data.csv", index_col="set")
    counts = {
        "train": TRAIN * CLASSES, "test": VAL * CLASSES - 1, "v2": SHIFT * CLASSES,
        "r": SHIFT * 3, "sketch": SHIFT * CLASSES, "objectnet": SHIFT * 2, "a": SHIFT * 2,
    }  # fmt: skip
    assert table["images"].to_dict() == counts
    assert table["classes"].to_dict() == {
        "train": 6, "test": 6, "v2": 6, "r": 3, "sketch": 6, "objectnet": 2, "a": 2,
    }  # fmt: skip
    assert table["expected"].to_dict() == counts | {"test": VAL * CLASSES}
    wrong = table[["missing", "corrupt", "passed_over"]]
    assert wrong.loc["train"].tolist() == [0, 1, 0]
    assert wrong.loc["test"].tolist() == [1, 0, 0]
    assert wrong.loc["objectnet"].tolist() == [0, 0, 2]
    assert not wrong.drop(["train", "test", "objectnet"]).to_numpy().any()

    checks = {
        name: json.loads((finished.results / "checks" / f"{name}.json").read_text())
        for name in counts
    }
    assert checks["train"]["corrupt"] == [BROKEN]
    assert "not a readable image" in checks["train"]["reasons"][0]
    assert checks["test"]["missing"] == [GONE]
    assert checks["objectnet"]["passed_over"] == ["air_freshener", "drinking_cup"]
    log = (finished.results / "logs" / "check_data.log").read_text()
    assert f"test has {VAL * CLASSES - 1} images, expected {VAL * CLASSES}." in log


def test_prepared_sets_have_the_classes_of_their_folders(finished):
    names = dict(zip(trees.CLASSES, prompts.display_names(trees.wnids(), "imagenet"), strict=True))
    index = {c: i for i, c in enumerate(trees.CLASSES)}
    every = [[names[c], [index[c]]] for c in trees.CLASSES]
    assert read(finished, "train")["mapping"] == read(finished, "test")["mapping"] == every
    assert read(finished, "sketch")["mapping"] == every
    numbered = [10, 100, 2, 444, 671, 954]  # in the order of their names as text
    assert read(finished, "v2")["mapping"] == [[names[c], [index[c]]] for c in numbered]
    assert read(finished, "r")["mapping"] == [[names[c], [index[c]]] for c in (2, 100, 954)]
    assert read(finished, "a")["mapping"] == [[names[c], [index[c]]] for c in (10, 671)]
    bikes = [index[c] for c in (671, 444)]
    assert read(finished, "objectnet")["mapping"] == [["banana", [index[954]]], ["bike", bikes]]
    for name in ("test", "v2", "r", "sketch", "objectnet", "a"):
        pixels = np.load(finished.results / "prepared" / f"{name}.npy")
        labels = np.load(finished.results / "prepared" / f"{name}.labels.npy")
        assert pixels.shape == (len(labels), 32, 32, 3)
        share = np.bincount(labels).tolist()
        assert share == ([VAL - 1] + [VAL] * 5 if name == "test" else [SHIFT] * len(share))


def test_training_images_are_packed_into_one_file_of_jpegs(finished):
    prepared = finished.results / "prepared"
    assert not (prepared / "train.npy").exists()
    meta = read(finished, "train")
    source = {"folder": "data/imagenet/train", "border": 0, "size": 32, "upright": False}
    assert meta["decode"] == {"packed": "train.jpegs", "ends": "train.ends.npy"} | source
    ends = np.load(prepared / "train.ends.npy")
    assert len(ends) == len(meta["paths"]) == TRAIN * CLASSES
    assert BROKEN not in meta["paths"]
    content = (prepared / "train.jpegs").read_bytes()
    source = finished.folder / "data" / "imagenet" / "train"
    assert content == b"".join((source / path).read_bytes() for path in meta["paths"])
    edges = graph(finished)
    # "train.npy" is the split. The prepared set has no file of this name, see above.
    for rule in ("initialize", "finetune"):
        inputs = {
            file.split("/")[-1] for name, files in edges.values() if name == rule for file in files
        }
        assert {"train.jpegs", "train.ends.npy", "train.npy"} <= inputs


def test_the_same_number_of_each_class_is_held_out(finished):
    labels = np.load(finished.results / "prepared" / "heldout.labels.npy")
    assert np.bincount(labels).tolist() == [HELD] * CLASSES
    train, heldout = (
        np.load(finished.results / "splits" / f"{n}.npy") for n in ("train", "heldout")
    )
    assert sorted([*train, *heldout]) == list(range(TRAIN * CLASSES))
    paths = read(finished, "train")["paths"]
    assert read(finished, "heldout")["paths"] == [paths[i] for i in heldout]


def test_no_choosing_job_depends_on_a_test_set(finished):
    edges = graph(finished)
    assert {"initialize", "finetune", "recipe", "cook"} <= {rule for rule, _ in edges.values()}
    assert leaks(edges) == []


def test_the_best_model_learns_and_every_set_is_reported(finished):
    methods = pd.read_csv(finished.results / "tables" / "methods.csv", index_col="method")
    assert {"best_individual", "uniform", "greedy", "zeroshot", "initialization"} <= set(
        methods.index
    )
    shifts = ["v2", "r", "sketch", "objectnet", "a"]
    best = methods.loc["best_individual"]
    # Colours are easy to learn. With mixed-up labels, accuracy would be at chance, at most a half.
    assert best["test"] > 0.8
    assert (best[shifts] > 0.8).all()
    assert best["shifts_mean"] == pytest.approx(best[shifts].mean())
    assert (finished.results / "report.html").stat().st_size > 10_000


@pytest.fixture(scope="module", params=["folder", "array"])
def foldered(request, tmp_path_factory):
    """A run that only prepares sets.

    Its validation set is in class folders, and its training images are not packed.
    """
    overlay = copy.deepcopy(OVERLAY)
    more = {"test": "imagenet/val", "training_images": request.param}
    overlay["data"]["folders"] |= more
    folder = tmp_path_factory.mktemp(request.param)
    made = imagenet(lambda *overlays: Project(folder / "project", *overlays), overlay)
    made.run(*(f"results/small/prepared/{name}.npy" for name in ("heldout", "test")))
    return made


def test_the_held_out_set_is_the_same_for_every_value_of_training_images(finished, foldered):
    for name in ("prepared/heldout.npy", "prepared/heldout.labels.npy", "prepared/heldout.json"):
        assert sha256(foldered.results / name) == sha256(finished.results / name)
    ours, theirs = (p.results / "splits" / "manifest.json" for p in (foldered, finished))
    assert ours.read_text() == theirs.read_text()
    assert not list((foldered.results / "prepared").glob("train.jpegs"))
    overlay = yaml.safe_load((foldered.folder / "overlay.yaml").read_text())
    decoded = overlay["data"]["folders"]["training_images"] == "array"
    assert (foldered.results / "prepared" / "train.npy").is_file() == decoded
    assert ("decode" not in read(foldered, "train")) == decoded


def test_a_flat_validation_set_has_the_same_images_as_one_in_class_folders(finished, foldered):
    for name in ("test.npy", "test.labels.npy"):
        paths = [p.results / "prepared" / name for p in (foldered, finished)]
        assert sha256(paths[0]) == sha256(paths[1])
    ours, theirs = read(foldered, "test"), read(finished, "test")
    assert [path.split("/")[-1] for path in ours["paths"]] == theirs["paths"]
    assert ours["mapping"] == theirs["mapping"]


def test_a_corrupt_image_ends_the_run_if_the_configuration_says_so(foldered):
    overlay = yaml.safe_load((foldered.folder / "overlay.yaml").read_text())
    changed = copy.deepcopy(overlay)
    changed["data"]["folders"]["corrupt"] = "fail"
    foldered.configure(changed)
    done = foldered.run("results/small/checks/train.json", check=False)
    foldered.configure(overlay)
    assert done.returncode != 0
    log = (foldered.results / "logs" / "check_set" / "train.log").read_text()
    sentence = f"train: 1 of {TRAIN * CLASSES + 1} images cannot be read, expected none, or"
    assert sentence in log
    assert "Traceback" not in log
