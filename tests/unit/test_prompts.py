import pytest
from open_clip import IMAGENET_CLASSNAMES

from soups.data import layouts, prompts


def test_names_are_given_or_those_of_the_folders():
    spoken = {"n01440764": "tench"}
    assert prompts.display_names(["n01440764", "sea_lion"], spoken) == ["tench", "sea lion"]
    assert prompts.display_names(["sea_lion"], None) == ["sea lion"]


def test_imagenets_names_are_found_by_wordnet_id():
    known = layouts.imagenet_classes()
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
