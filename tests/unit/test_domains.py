"""Sets with one folder per domain, of which some train and the others are shifts."""

import re

import numpy as np
import pytest

from soups.data import checks, domains, folders, splits
from soups.errors import UserError
from soups.experiment.settings import fill_in_name

HELDOUT = {"fraction": 0.2, "per_class": None, "indices": None, "seed": 0}


@pytest.fixture
def section(write_images, tmp_path) -> dict:
    for name in ("photo", "art", "sketch"):
        write_images(tmp_path / "set" / name, {"cat": 10, "dog": 20})
    return {"root": str(tmp_path / "set"), "image_size": 8, "domains": {"train": ["photo", "art"]}}


def test_training_and_test_images_are_disjoint_and_come_from_the_training_domains(section):
    checks.check_folders(section, HELDOUT)
    settings = folders.settings_of(section)
    train, test = (folders.listing(settings, name) for name in ("train", "test"))
    assert (len(train.paths), len(test.paths)) == (48, 12)
    assert not set(train.paths) & set(test.paths)
    assert np.bincount(test.labels).tolist() == [4, 8]
    assert {path.split("/")[0] for path in train.paths + test.paths} == {"photo", "art"}
    assert folders.sources(settings)["sketch"]["folder"] == "sketch"
    assert folders.training_classes(settings) == ["cat", "dog"]


def test_the_test_images_of_a_domain_do_not_depend_on_the_other_domains(section):
    def tested(names: list[str]) -> set[str]:
        settings = folders.settings_of(section | {"domains": {"train": names}})
        paths = folders.listing(settings, "test").paths
        return {path for path in paths if path.startswith("photo/")}

    assert tested(["photo"]) == tested(["art", "photo"])
    assert len(tested(["photo"])) == 6


def test_the_state_of_a_set_changes_with_its_images_and_its_share(section, write_images, tmp_path):
    before = folders.state(folders.settings_of(section), "train")
    other = section | {"domains": section["domains"] | {"test": 0.3}}
    assert folders.state(folders.settings_of(other), "train") != before
    write_images(tmp_path / "set" / "sketch", {"bird": 1})
    assert folders.state(folders.settings_of(section), "train") == before
    write_images(tmp_path / "set" / "art", {"bird": 1})
    assert folders.state(folders.settings_of(section), "train") != before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"domains": {"train": ["foto"]}}, "has 'foto', expected folders of"),
        ({"domains": {"train": ["photo", "art", "sketch"]}}, "has all domains of"),
        ({"train": "photo"}, "train is 'photo', expected no such key beside data.folders.domains"),
        ({"domains": {"train": ["art"], "test": 0.01}}, "takes 0 of the 10 images of a class"),
        ({"shifts": {"more": {"folder": "art"}}}, "has the images of the training domain 'art'"),
    ],
)
def test_a_wrong_setting_is_one_sentence(section, change, sentence):
    with pytest.raises(UserError) as error:
        checks.check_folders(section | change, HELDOUT)
    assert sentence in str(error.value)


def test_training_domains_need_the_same_classes(section, write_images, tmp_path):
    write_images(tmp_path / "set" / "art", {"cow": 3})
    with pytest.raises(UserError, match=r"differ from those of .* by 'cow', expected the same"):
        checks.check_folders(section, HELDOUT)


def test_every_training_domain_needs_an_image_of_every_class(section, tmp_path):
    for path in (tmp_path / "set" / "art" / "dog").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"art/dog: the folder has no image, expected at least one"):
        checks.check_folders(section, HELDOUT)


def test_the_name_of_an_experiment_has_the_training_domains():
    names = set()
    for train in (["a b", "c"], ["a_b", "c"], ["a  b", "c"], ["猫"], ["犬"], ["-x"]):
        config = {"name": "pacs/{train}", "data": {"folders": {"domains": {"train": train}}}}
        fill_in_name(config)
        assert re.fullmatch(r"pacs/[A-Za-z0-9][A-Za-z0-9_-]*", config["name"])
        names.add(config["name"])
    assert len(names) == 6
    assert "pacs/a_b-c" in names
    config = {"name": "pacs/{train}", "data": {"folders": {"domains": {"train": []}}}}
    with pytest.raises(UserError, match=r"domains.train is \[\], expected a list of domains"):
        fill_in_name(config)


def test_a_section_without_domains_is_unchanged():
    section = {"root": "x", "train": "a", "test": "b", "shifts": {}}
    assert domains.expanded(section) == section


def test_a_smaller_share_of_the_training_images_is_a_part_of_a_larger_one():
    labels = np.repeat([0, 1, 2], [100, 50, 3])
    train = np.arange(0, 153, 1)
    small, large = (splits.reduced(train, labels, share, 0) for share in (0.1, 0.4))
    assert np.bincount(labels[small]).tolist() == [10, 5, 1]
    assert set(small) <= set(large) <= set(train)
    assert (splits.reduced(train, labels, 1, 0) == train).all()


def test_a_folder_without_classes_is_no_domain(tmp_path):
    (tmp_path / "photo" / "cat").mkdir(parents=True)
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "photo.txt").touch()
    assert domains.folders_of(tmp_path) == ["photo"]
