"""New experiments from files of models and folders of images."""

import re
import subprocess
import sys
from argparse import Namespace

import pytest
import timm
import torch
import yaml

from soups.errors import UserError
from soups.experiment import found
from soups.setup import experiment, images, models
from tests.checkpoints import fine_tuned, save_as_timm

OPTIONS = Namespace(
    checkpoints=["runs/*/model_best.pth.tar"], images="data", out="mine.yaml", architecture=None,
    weights=None, start=None, classes=None, train=None, heldout=None, test=None, image_size=None,
    force=False,
)  # fmt: skip


def options(**changes) -> Namespace:
    return Namespace(**{**vars(OPTIONS), **changes})


@pytest.fixture
def folder(tmp_path, monkeypatch, write_images):
    """The current folder, with two runs of timm and a data set."""
    monkeypatch.chdir(tmp_path)
    for part in ("train", "val", "test"):
        write_images(tmp_path / "data" / part, {"cat": 5, "dog": 5, "owl": 5})
    for i, state in enumerate(fine_tuned("test_vit", 1)):
        save_as_timm(tmp_path / f"runs/lr{i}/model_best.pth.tar", "test_vit", state)
    return tmp_path


def written(root, **changes) -> tuple[dict, list[str]]:
    lines: list[str] = []
    out = experiment.write(options(**changes), root, lines.append)
    return yaml.safe_load(out.read_text(encoding="utf-8")), lines


def test_an_overlay_for_checkpoints_says_what_was_found(folder, root):
    overlay, lines = written(root)
    assert overlay["model"] == {"architecture": "timm/test_vit", "weights": "plain"}
    assert overlay["ingredients"]["checkpoints"] == {"files": "runs/*/model_best.pth.tar"}
    assert overlay["data"]["folders"]["train"] == "val"
    assert overlay["data"]["folders"]["image_size"] == 160
    assert overlay["data"]["heldout"] == {"fraction": 1}
    assert lines[1].split() == [
        "lr0", "timm/test_vit", "3", "float32", "plain", "state_dict", "A",
        "runs/lr0/model_best.pth.tar",
    ]  # fmt: skip
    text = "\n".join(lines)
    assert "The held-out set has only 15 images: accuracies on it go in steps of 6.7 points" in text
    assert "so this run leaves out the soups greedy_wise_ft, model_stock" in text
    with pytest.raises(UserError, match=r"mine\.yaml exists, expected another --out, or --force"):
        written(root)


def test_a_start_and_class_names_are_taken(folder, root):
    (folder / "names.txt").write_text("cat\ndog\nowl\n")
    overlay, lines = written(root, start="runs/lr0/model_best.pth.tar", classes="names.txt")
    given = overlay["ingredients"]["checkpoints"]
    assert given["initialization"] == "runs/lr0/model_best.pth.tar"
    assert given["classes"] == "names.txt"
    assert not any("model_stock" in line for line in lines)


def test_own_images_without_checkpoints(folder, root):
    overlay, lines = written(root, checkpoints=None)
    assert "ingredients" not in overlay
    assert overlay["data"]["folders"]["train"] == "train"
    assert overlay["data"]["folders"]["test"] == "test"
    assert 0 < overlay["data"]["heldout"]["fraction"] < 1
    assert "The folder data/val is not used." in lines


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"images": "none"}, "--images is 'none', expected an existing folder"),
        ({"heldout": "none"}, "--heldout is 'none', expected a folder in data"),
        ({"start": "none.pt"}, "--start is 'none.pt', expected an existing file"),
        ({"test": "val"}, "--test is 'val', expected another folder than that of 'val'"),
        ({"checkpoints": ["none/*"]}, "has 'none/*', which finds no file of weights"),
        ({"architecture": "timm/test_convnext"},
         "--architecture is 'timm/test_convnext', but the tensors of runs/lr0/model_best.pth.tar "
         "are not its own, expected timm/test_vit"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_an_error(folder, root, changes, sentence):
    with pytest.raises(UserError, match=re.escape(sentence)):
        written(root, **changes)
    assert not (folder / "mine.yaml").exists()


def test_what_cannot_be_decided_is_asked_for(folder, root):
    (folder / "data" / "val").rename(folder / "data" / "other")
    with pytest.raises(
        UserError, match=r"expected --heldout with a folder in it .*--heldout train"
    ):
        written(root)
    assert written(root, heldout="other")[0]["data"]["folders"]["train"] == "other"
    (folder / "data" / "test").rename(folder / "data" / "more")
    with pytest.raises(UserError, match="has no folder test, testing or eval, expected --test"):
        written(root, heldout="other", force=True)
    state = fine_tuned("test_vit", 0)[0]
    save_as_timm(folder / "runs/lr2/model_best.pth.tar", "test_vit", state, state)
    with pytest.raises(UserError, match=r"lr2/model_best.pth.tar has plain and averaged weights"):
        written(root, heldout="other", test="more", force=True)
    overlay, _ = written(root, heldout="other", test="more", weights="plain", force=True)
    assert overlay["model"]["weights"] == "plain"


def test_several_fitting_architectures_are_named(folder):
    torch.save(timm.create_model("resnet18", num_classes=3).state_dict(), folder / "plain.pt")
    seen = models.look(found.find("plain.pt"))
    with pytest.raises(UserError, match="with one of timm/resnet18, timm/resnetblur18"):
        models.architecture(seen, None)
    assert models.architecture(seen, "torchvision/resnet18") == "torchvision/resnet18"


def test_another_number_of_classes_is_refused(folder, root, write_images):
    write_images(folder / "data" / "val", {"wolf": 5})
    with pytest.raises(UserError, match="for 3 classes, but data/val has 4 class folders"):
        written(root)


def test_a_head_with_more_classes_needs_their_names(folder, root):
    for part in ("train", "val", "test"):
        (folder / "data" / part / "owl").rename(folder / f"{part}_owl")
    with pytest.raises(
        UserError, match=r"has 2 class folders, expected .* or --classes with their"
    ):
        written(root)
    (folder / "names.txt").write_text("cat\ndog\nowl\n")
    assert written(root, classes="names.txt")[0]["ingredients"]["checkpoints"]["classes"]


def test_models_of_another_start_are_another_group(folder):
    for i, state in enumerate(fine_tuned("test_vit", 1, seed=7)):
        save_as_timm(folder / f"runs/other{i}/model_best.pth.tar", "test_vit", state)
    (folder / "runs/broken").mkdir()
    (folder / "runs/broken/model_best.pth.tar").write_bytes(b"no weights")
    seen = models.look(found.find("runs/*/model_best.pth.tar"))
    assert models.related(seen) == {
        "broken": "?", "lr0": "A", "lr1": "A", "other0": "B", "other1": "B",
    }  # fmt: skip
    assert models.table(seen)[0][1] == "cannot be read"


def test_models_of_hugging_face_are_seen_by_their_config(folder):
    hub = folder / "hf" / "one"
    hub.mkdir(parents=True)
    torch.save(fine_tuned("test_vit", 0)[0], hub / "pytorch_model.bin")
    (hub / "config.json").write_text('{"architecture": "test_vit", "num_classes": 3}')
    assert models.architecture(models.look(found.find("hf/*")), None) == "timm/test_vit"
    (hub / "config.json").write_text('{"model_type": "vit", "id2label": {"0": "a", "1": "b"}}')
    seen = models.look(found.find("hf/*"))
    assert models.architecture(seen, None) == "transformers/hf/one"
    assert seen[0].names == ["a", "b"]


def test_the_share_of_held_out_images_gives_every_class_one(folder, write_images):
    write_images(folder / "small" / "train", {"a": 4, "b": 40})
    write_images(folder / "small" / "test", {"a": 1, "b": 1})
    data = images.look("small", {}, ready_made=False)
    assert data.fraction * 4 >= 0.8
    assert (data.train, data.test, data.unused) == ("train", "test", None)


def test_the_tool_ends_with_a_sentence(folder, root):
    tool = [sys.executable, str(root / "tools" / "new_experiment.py"), "--images", "none"]
    done = subprocess.run(tool, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("error: --images is 'none', expected an existing folder")
