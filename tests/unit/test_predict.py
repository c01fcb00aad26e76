"""Predictions for images of any place, from a soup's file alone."""

import csv
import shutil
import subprocess
import sys

import numpy as np
import predict as tool
import pytest
import torch
from PIL import Image

from soups.errors import UserError
from soups.images.given import GivenImages, images_of
from soups.models import card as cards
from soups.models import checkpoints
from soups.models.classifier import load_classifier
from soups.models.forward import forward
from soups.usage import predict
from tests.unit.cooked import NAMES, cooked


@pytest.fixture
def soup(pretrained, tmp_path):
    return cooked(tmp_path / "results", pretrained)


@pytest.fixture
def folder(tmp_path, images):
    """A folder with images at several depths, and with files that are none."""
    paths = ["b.png", "a/1.png", "a/deep/down/2.PNG", "z/3.bmp"]
    for path, pixels in zip(paths, images, strict=False):
        (tmp_path / "images" / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / path)
    (tmp_path / "images" / "notes.txt").write_text("no image")
    (tmp_path / "images" / ".hidden.png").write_text("no image")
    return tmp_path / "images"


@pytest.fixture
def run(configured):
    """A function that calls the tool with one thread on the CPU."""
    return lambda *given: tool.main(
        tool.parsed([*map(str, given), "--threads", "1", "--device", "cpu"])
    )


def read(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_folders_files_and_lists_are_taken_in_order(folder, tmp_path):
    inside = [f"{folder}/{name}" for name in ("a/1.png", "a/deep/down/2.PNG", "b.png", "z/3.bmp")]
    assert images_of([folder]) == inside
    (tmp_path / "list.txt").write_text(f"{folder}/b.png\n\nnone.png\n")
    given = images_of([folder / "b.png", folder / "a"], tmp_path / "list.txt")
    assert given == [inside[2], *inside[:2], f"{folder}/b.png", "none.png"]


def test_a_place_without_images_is_named(folder, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"empty: the folder has no image, expected files"):
        images_of([tmp_path / "empty"])
    with pytest.raises(UserError, match=r"none\.png: no such file, expected an image or a folder"):
        images_of([tmp_path / "none.png"])
    with pytest.raises(UserError, match="there is no image"):
        images_of([])
    with pytest.raises(UserError, match=r"none\.txt: no such file, expected a list"):
        images_of([], tmp_path / "none.txt")


def test_logits_equal_those_of_the_workflow(soup, tmp_path, images):
    paths = [str(tmp_path / f"{i}.png") for i in range(len(images))]
    for path, pixels in zip(paths, images, strict=True):
        Image.fromarray(pixels).save(path)
    model = load_classifier(soup)
    given = GivenImages(cards.read(soup), paths)
    found = [row for rows in given.logits(model, 2) for row in rows]
    assert np.array_equal(np.stack([values for values, _ in found]), forward(model, images).numpy())


def test_the_tool_writes_a_row_for_every_image(run, soup, folder, tmp_path, capsys):
    (folder / "a" / "broken.jpg").write_text("no image")
    out = tmp_path / "predictions.csv"
    run(soup, folder, "--out", out, "--top", "9")
    told = capsys.readouterr()
    assert "5 images, 1 of them unreadable" in told.out
    assert f"left out: {folder}/a/broken.jpg: not a readable image" in told.err
    table = read(out)
    assert [row["error"] != "" for row in table] == [False, True, False, False, False]
    assert "not a readable image" in table[1]["error"]
    assert table[1]["class"] == ""
    model = load_classifier(soup)
    pixels = np.array(Image.open(folder / "b.png"))[None]
    shares = model(torch.from_numpy(pixels)).softmax(1)[0]
    best = shares.argsort(descending=True)
    row = table[3]
    assert [row[f"class{end}"] for end in ("", "_2", "_3", "_4")] == [NAMES[i] for i in best]
    assert float(row["probability"]) == pytest.approx(shares[best[0]].item(), rel=1e-5)
    total = sum(float(row[f"probability{end}"]) for end in ("", "_2", "_3", "_4"))
    assert total == pytest.approx(1, abs=1e-5)


def test_class_folders_are_told_if_they_have_other_names():
    card = {"classes": ["tabby cat", "dog"], "folders": ["n01", "n02"]}
    logits = [(np.float32([0, 1]), ""), (None, "x.png: broken")]
    first, second = predict.rows([{"file": "a.png"}, {"file": "x.png"}], logits, card, 1)
    assert (first["class"], first["folder"]) == ("dog", "n02")
    assert second == {"file": "x.png", "error": "x.png: broken"}
    assert predict.columns(["file"], card, 1) == ["file", "class", "folder", "probability", "error"]


def test_nothing_is_written_if_no_image_can_be_read(run, soup, tmp_path):
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(UserError, match="none of the 1 images can be read"):
        run(soup, tmp_path / "bad.png", "--out", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "old"


def test_a_file_without_a_card_is_refused_in_a_sentence(root, soup, folder, tmp_path):
    old = tmp_path / "old.safetensors"
    checkpoint = checkpoints.Checkpoint(soup)
    note = {key: value for key, value in checkpoint.note.items() if key != "model"}
    checkpoints.save(old, checkpoint.state(), note)
    command = [sys.executable, str(root / "tools" / "predict.py"), str(old), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {old} has no description of its model in its header")
    assert not (tmp_path / "predictions.csv").exists()


def test_a_soup_predicts_from_another_folder(run, soup, folder, tmp_path):
    shutil.copy(soup, tmp_path / "copy.safetensors")
    shutil.rmtree(tmp_path / "results")
    run(tmp_path / "copy.safetensors", folder, "--out", tmp_path / "out.csv")
    assert len(read(tmp_path / "out.csv")) == 4


def test_a_list_of_windows_is_read_and_another_encoding_is_refused(folder, tmp_path):
    image = next(path for path in sorted(folder.rglob("*.png")))
    listed = tmp_path / "list.txt"
    listed.write_text(f"{image}\n", encoding="utf-8-sig")
    assert images_of([], listed) == [str(image)]
    listed.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"list\.txt is not text in UTF-8"):
        images_of([], listed)
