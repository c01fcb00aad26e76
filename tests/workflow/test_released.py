"""The shipped experiment on released checkpoints, with random ones from a local server.

The checkpoints are ViT-B/32 of the real size and layout, for a few classes.
"""

import csv
import functools
import http.server
import threading

import numpy as np
import pandas as pd
import pytest
import torch

from soups.claims import published
from soups.data.layouts import class_folders
from soups.models.checkpoints import Checkpoint
from soups.models.pretrained import Pretrained
from tests import layouts as trees
from tests.unit.test_overlays import merge
from tests.unit.test_released import as_released, shapes_of, text_side
from tests.workflow.conftest import FEW, ROOT, Project
from tests.workflow.test_firewall import graph, leaks

EXPERIMENTS = ("experiments/imagenet.yaml", "experiments/released.yaml")
MODELS = ("model_0", "model_1", "model_2")
TRAIN, VAL, SHIFT = 5, 2, 1  # images of each class


class Server(http.server.SimpleHTTPRequestHandler):
    """A server of the files in a folder, which lists the requested paths."""

    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server of three similar checkpoints: its address, and the list of requested paths."""
    folder = tmp_path_factory.mktemp("released")
    shapes = shapes_of(Pretrained("ViT-B-32-quickgelu", None).classifier(len(trees.CLASSES)))
    state = as_released(shapes)
    for i, name in enumerate(MODELS):
        generator = torch.Generator().manual_seed(i)
        near = {
            key: (value + 0.01 * i * value.std() * torch.randn(value.shape, generator=generator))
            if value.numel() > 1 else value
            for key, value in state.items()
        }  # fmt: skip
        # The released checkpoints are float16, as CLIP's weights are on a GPU.
        torch.save({k: v.half() for k, v in (near | text_side()).items()}, folder / f"{name}.pt")
    asked: list[str] = []
    handler = type("Handler", (Server,), {"asked": asked})
    httpd = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    )
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", asked
    httpd.shutdown()


@pytest.fixture(scope="module")
def finished(server, tmp_path_factory):
    """A complete run of the experiment, which tests must not change."""
    overlay = merge(
        FEW,
        {
            "name": "few",
            "data": {"folders": {"expected": {"train": TRAIN * len(trees.CLASSES)}}},
            "sweep": {"table": "few.csv"},
            "ingredients": {"checkpoints": {"url": server[0]}},
            "soups": {"learned": {"method": "learned", "epochs": 1, "memory_gb": 0}},
            "ensembles": {"only": ["ensemble"]},
        },
    )
    folder = tmp_path_factory.mktemp("run") / "project"
    made = Project(folder, overlay, *EXPERIMENTS)
    trees.imagenet(folder / "data", TRAIN, VAL)
    trees.shifts(folder / "data", SHIFT)
    with open(folder / "experiments" / "published" / "sweep.csv") as lines:
        (folder / "few.csv").write_text("".join(list(lines)[: 1 + len(MODELS)]))
    # The marks hold out the first image of each class, in the order of the training folder.
    marks = np.tile([1] + [0] * (TRAIN - 1), len(trees.CLASSES))
    np.save(folder / "data" / "imagenet_98_idxs.npy", marks)
    made.run()
    return made


def test_checkpoints_are_downloaded_once_and_their_checksums_recorded(finished, server):
    folder = finished.folder / "data" / "released"
    sums = {line.split()[1] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    assert {name.lstrip("*") for name in sums} == {f"{name}.pt" for name in MODELS}
    assert sorted(server[1]) == [f"/{name}.pt" for name in MODELS]
    assert finished.planned() == {}


def test_ingredients_have_the_tensors_of_the_checkpoints(finished):
    for name in MODELS:
        theirs = torch.load(finished.folder / "data" / "released" / f"{name}.pt")
        ours = Checkpoint(finished.results / "models" / f"{name}.safetensors").state()
        assert all(value.dtype == torch.float32 for value in ours.values())
        assert torch.equal(ours["head.weight"], theirs["classification_head.weight"].float())
        assert torch.equal(ours["visual.proj"], theirs["model.visual.proj"].float())
        assert len(ours) == len(theirs) - len(text_side())
    start, first = (
        Checkpoint(finished.results / "models" / f"{name}.safetensors").state()
        for name in ("initialization", "model_0")
    )
    assert all(torch.equal(start[key], value) for key, value in first.items())


def test_the_marked_images_are_held_out(finished):
    heldout = np.load(finished.results / "splits" / "heldout.npy")
    assert heldout.tolist() == list(range(0, TRAIN * len(trees.CLASSES), TRAIN))
    classes = class_folders(finished.folder / "data" / "imagenet" / "train")
    assert np.load(finished.results / "prepared" / "heldout.labels.npy").tolist() == list(
        range(len(classes))
    )


def test_no_choosing_job_depends_on_a_test_set(finished):
    edges = graph(finished)
    rules = {rule for rule, _ in edges.values()}
    assert "finetune" not in rules
    assert {"recipe", "cook"} <= rules
    assert leaks(edges) == []


def test_accuracies_of_the_run_are_compared_with_the_published_ones(finished):
    table = pd.read_csv(finished.results / "tables" / "reproduction.csv")
    assert set(table["model"]) == {*MODELS, "uniform", "greedy", "ensemble"}
    theirs = published.load(ROOT / "experiments" / "published" / "clip-vitb32-72.csv")
    row = table[(table["model"] == "model_1") & (table["measure"] == "test")].squeeze()
    assert row["published"] == pytest.approx(theirs.loc["model_1", "ImageNet"])
    models = pd.read_csv(finished.results / "tables" / "models.csv", index_col="model")
    assert row["ours"] == pytest.approx(models.loc["model_1", "test"])
    assert row["difference"] == pytest.approx(row["ours"] - row["published"], abs=2e-6)
    assert (finished.results / "figures" / "reproduction.png").stat().st_size > 10_000
    with open(finished.folder / "few.csv") as lines:
        assert [row["model"] for row in csv.DictReader(lines)] == list(MODELS)
