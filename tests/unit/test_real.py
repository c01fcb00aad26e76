import json

import numpy as np
import pytest

from soups.data import real
from soups.data.imagenet import imagenet_classes
from soups.errors import UserError

CLASSES = [imagenet_classes()[i] for i in (0, 5, 900)]
IMAGES = [f"{CLASSES[0]}/ILSVRC2012_val_0000000{i}.JPEG" for i in (3, 1, 2)]


@pytest.fixture
def path(tmp_path):
    # Labels of images 1, 2 and 3. Class 7 is no training class.
    (tmp_path / "real.json").write_text(json.dumps([[900], [], [0, 5, 7]]))
    return tmp_path / "real.json"


def test_labels_follow_the_numbers_in_the_names(path):
    labels = real.read(path, IMAGES, CLASSES)
    assert labels.tolist() == [[True, True, False], [False, False, True], [False] * 3]


def test_any_label_is_right_and_images_without_labels_are_left_out(path):
    labels = real.read(path, IMAGES, CLASSES)
    logits = np.array([[0, 2, 1], [3, 0, 1], [0, 0, 1]], float)
    assert real.correct(logits, labels).tolist() == [True, False]


@pytest.mark.parametrize("name", ["val/cat.JPEG", "ILSVRC2012_val_00000004.JPEG", "0.png"])
def test_an_image_without_its_number_is_named(path, name):
    with pytest.raises(UserError, match=f"the file has labels of 3 images but none of '{name}'"):
        real.read(path, [name], CLASSES)


def test_a_file_of_another_form_is_reported(tmp_path):
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match=r"x\.json: the file is not a list of lists, expected"):
        real.read(tmp_path / "x.json", IMAGES, CLASSES)
