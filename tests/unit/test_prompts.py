import numpy as np
import pytest
from open_clip import IMAGENET_CLASSNAMES

from soups.data import imagenet, prompts


def test_names_are_given_or_those_of_the_folders():
    spoken = {"n01440764": "tench"}
    assert prompts.display_names(["n01440764", "sea_lion"], spoken) == ["tench", "sea lion"]
    assert prompts.display_names(["sea_lion"], None) == ["sea lion"]


def test_imagenets_names_are_found_by_wordnet_id():
    known = imagenet.imagenet_classes()
    assert prompts.display_names(known, "imagenet") == list(IMAGENET_CLASSNAMES)
    some = ["n07753592", "n01484850", "n01860187", "n03792782"]
    names = prompts.display_names(some, "imagenet")
    assert names == ["banana", "great white shark", "black swan", "mountain bike"]


def test_folders_without_a_name_keep_their_own():
    assert prompts.display_names(["n01484850", "odd_one"], "imagenet")[1] == "odd one"


def test_clips_templates():
    made = prompts.templates("imagenet")
    assert len(set(made)) == 80
    assert all(template.count("{}") == 1 for template in made)
    assert {"a photo of a {}.", "itap of the {}.", "a {} in a video game."} <= set(made)
    assert "a bad photo of a banana." in [template.format("banana") for template in made]


@pytest.mark.parametrize("given", [["a {}"], ("a {}", "the {}")])
def test_given_templates_are_used_unchanged(given):
    assert prompts.templates(given) == list(given)


def test_captions_name_the_class_of_their_image_or_by_chance_another():
    labels, titles = np.arange(300) % 3, ["cat", "dog", "sea lion"]
    right = prompts.captions(labels, titles, ["a {}", "the {}"], wrong=0.0, seed=0)
    assert {"a cat", "the dog", "a sea lion"} <= set(right)
    assert all(caption.endswith(titles[c]) for caption, c in zip(right, labels, strict=True))
    chance = prompts.captions(labels, titles, ["a {}"], wrong=1.0, seed=0)
    hits = sum(caption == f"a {titles[c]}" for caption, c in zip(chance, labels, strict=True))
    assert 70 < hits < 130  # 1 in 3 by chance
    assert chance == prompts.captions(labels, titles, ["a {}"], wrong=1.0, seed=0)
    assert chance != prompts.captions(labels, titles, ["a {}"], wrong=1.0, seed=1)
