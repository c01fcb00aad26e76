"""The steps from an image folder to a prepared set."""

import json

import numpy as np
import pytest

from soups.data import decode, folders, preparation
from soups.errors import UserError
from tests import layouts as trees


@pytest.fixture
def settings(tmp_path) -> dict:
    """Settings of small versions of ImageNet and two of its shifts."""
    trees.imagenet(tmp_path, train=8, val=2)
    trees.shifts(tmp_path, 2)
    v2 = {"folder": "imagenetv2-matched-frequency-format-val", "layout": "imagenet_index"}
    given = {
        "root": str(tmp_path), "train": "imagenet/train", "test": "imagenet/val",
        "image_size": 32, "names": "imagenet", "pretrain_fraction": 0.25,
        "shifts": {"v2": v2, "r": {"folder": "imagenet-r"}}, "expected": {"r": 99},
    }  # fmt: skip
    return folders.settings_of(given)


def checked(settings: dict, name: str) -> dict:
    """The report of the check of a set."""
    found = folders.listing(settings, name)
    broken = decode.broken(preparation.image_files(settings, name, found.paths), 1)
    return preparation.report(settings, name, found, broken)


def test_images_are_read_as_the_metadata_says(settings, tmp_path):
    where = preparation.location(settings, "r")
    assert where == {
        "folder": str(tmp_path / "imagenet-r"), "size": 32, "border": 0, "upright": True,
    }  # fmt: skip
    found = folders.listing(settings, "r")
    images = preparation.image_files(settings, "r", found.paths)
    assert images.shape == (len(found.paths), 32, 32, 3)
    assert images.path(0) == tmp_path / "imagenet-r" / found.paths[0]


def test_the_training_set_lacks_the_images_of_pretraining(settings):
    found = folders.listing(settings, "train")
    paths, labels = preparation.own_images(settings, "train", found)
    assert len(paths) == len(labels) == 36  # 6 of 8 images of each of 6 classes
    _, taken = folders.training_share(found.labels, 0.25, 0, found.names)
    assert not {found.paths[i] for i in taken} & set(paths)
    assert all(found.names[c] == path.split("/")[0] for c, path in zip(labels, paths, strict=True))
    test = folders.listing(settings, "test")
    assert preparation.own_images(settings, "test", test) == (test.paths, test.labels)


@pytest.mark.parametrize("name", ["train", "v2", "r"])
def test_a_mapping_has_the_names_of_training_classes_in_prompts(settings, name):
    found = folders.listing(settings, name)
    mapping = preparation.mapping(settings, name, found)
    train = folders.listing(settings, "train")
    titles = [title for title, _ in preparation.mapping(settings, "train", train)]
    assert mapping == [(titles[members[0]], members) for _, members in found.mapping]
    assert titles[0] == "great white shark"


def test_a_class_that_is_no_training_class_has_the_name_of_its_folder(tmp_path, write_images):
    write_images(tmp_path / "train", {"cat": 1, "dog": 1})
    write_images(tmp_path / "shift", {"big_cat": 1, "dog": 1})
    shift = {"folder": "shift", "mapping": {"big_cat": ["cat"], "dog": ["dog"]}}
    given = {"root": str(tmp_path), "train": "train", "test": "train", "image_size": 8}
    settings = folders.settings_of(given | {"names": {"dog": "hound"}, "shifts": {"s": shift}})
    mapping = preparation.mapping(settings, "s", folders.listing(settings, "s"))
    assert mapping == [("big cat", [0]), ("hound", [1])]


def test_a_report_lists_broken_images_and_remarks_say_what_to_do(settings, tmp_path):
    found = folders.listing(settings, "train")
    (tmp_path / "imagenet" / "train" / found.paths[5]).write_bytes(b"no image")
    report = checked(settings, "train")
    assert json.loads(json.dumps(report)) == report
    assert (report["corrupt"], report["positions"]) == ([found.paths[5]], [5])
    assert (report["classes"], report["images"]) == (6, 47)
    row = preparation.table_row(report, {"train": 48})
    assert row["expected"] == 48
    assert (row["missing"], row["corrupt"], row["passed_over"]) == (0, 1, 0)
    reports = {"train.json": report, "r.json": checked(settings, "r")}
    assert preparation.remarks(reports, settings["expected"]) == [
        "train lacks 1 of 48 images: 1 cannot be read, and 0 are missing. train.json lists them.",
        f"r has {reports['r.json']['images']} images, expected 99.",
        "After you repair images, run the same command with --forcerun check_set.",
    ]
    with pytest.raises(UserError, match="train: 1 of 48 images cannot be read, expected none"):
        checked(settings | {"corrupt": "fail"}, "train")


def test_a_complete_set_needs_no_remark(settings):
    assert preparation.remarks({"test.json": checked(settings, "test")}, {}) == []


def test_each_set_has_the_settings_that_decide_it_alone(settings):
    for name in ("train", "test", "v2"):
        mine = folders.only(settings, name)
        assert checked(mine, name) == checked(settings, name)
        other = settings["shifts"]["r"] | {"folder": "elsewhere"}
        changed = settings | {"expected": {name: 1}, "shifts": settings["shifts"] | {"r": other}}
        assert folders.only(changed, name) == mine
    assert folders.only(settings | {"image_size": 16}, "v2") != folders.only(settings, "v2")


def test_a_class_of_broken_images_alone_is_an_error(settings, tmp_path):
    first = folders.listing(settings, "test").paths[:2]
    for path in first:
        (tmp_path / "imagenet" / "val" / path).write_bytes(b"no image")
    with pytest.raises(UserError, match="n01484850: none of its 2 images can be read"):
        checked(settings, "test")
    assert np.unique([path.split("/")[0] for path in first]).size == 1
