import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from soups.errors import UserError
from soups.evaluation.metric import ACCURACY
from soups.jobs import compute, devices
from soups.mixing.mix import mix
from soups.mixing.mixed_model import MixedModel
from soups.mixing.recipes import uniform
from soups.mixing.select import full, greedy
from soups.mixing.trial import evaluate
from soups.models import checkpoints
from soups.models.batch_norm import kept
from soups.models.forward import forward

NAMES = [f"m{i}" for i in range(5)]
ROWS = np.arange(1, 60, 2)  # of the held-out images


@pytest.fixture
def model(pretrained):
    torch.manual_seed(1)
    model = pretrained.classifier(4).to(devices.device()).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.fixture
def paths(model, tmp_path) -> dict:
    """Files of ingredients far enough apart that their soups disagree."""
    paths = {name: tmp_path / f"{name}.safetensors" for name in NAMES}
    generator = torch.Generator().manual_seed(0)
    for path in paths.values():
        state = {
            name: tensor.cpu() + 0.3 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in model.state_dict().items()
        }
        checkpoints.save(path, state, {"pretrained": "one"})
    return paths


@pytest.fixture
def scorer(model, paths, images, labels):
    """A function: accuracy of the plain average of some ingredients."""
    mixed = MixedModel(model, paths, kept)

    def score(names) -> float:
        average = mixed.average(names)
        return evaluate(
            lambda rows: forward(average, images[ROWS], rows).numpy(), labels[ROWS], ACCURACY
        ).score

    return score


@pytest.fixture
def explicit(model, paths, images, labels):
    """A function: accuracy of a soup that is mixed as a recipe and loaded, each soup once."""
    known = {}

    def score(names) -> float:
        names = tuple(names)
        if names not in known:
            model.load_state_dict(mix(uniform(names), paths))
            guesses = forward(model, images).argmax(1).numpy()[ROWS]
            known[names] = float((guesses == labels[ROWS]).mean())
        return known[names]

    return score


def test_batches_of_any_size_give_the_same_logits(model, images):
    whole = forward(model, images, batch=len(images))
    assert whole.shape == (60, 4)
    for batch in (1, 7, 59, 1000):
        torch.testing.assert_close(forward(model, images, batch=batch), whole)


def test_rows_select_images(model, images):
    rows = np.array([2, 3, 11, 59])
    picked = forward(model.features, images, rows, batch=3)
    torch.testing.assert_close(picked, forward(model.features, images)[rows])


def test_soups_of_these_ingredients_differ(explicit):
    # Otherwise the tests below could not distinguish one soup from another.
    scores = {explicit(NAMES[:k]) for k in range(1, 6)} | {explicit([name]) for name in NAMES}
    assert len(scores) > 4


@given(st.permutations(NAMES), st.lists(st.booleans(), min_size=5, max_size=5))
def test_scores_are_those_of_cooked_recipes(scorer, explicit, order, accepted):
    soup: tuple[str, ...] = ()
    for candidate, keep in zip(order, accepted, strict=True):
        tried = (*soup, candidate)
        assert scorer(tried) == explicit(tried)
        soup = tried if keep or not soup else soup


def test_scores_do_not_depend_on_earlier_requests(scorer, explicit):
    asked = [("m0", "m1"), ("m3",), ("m0", "m1", "m2"), ("m2", "m1"), ("m2", "m1"), ("m2", "m4")]
    assert [scorer(names) for names in asked] == [explicit(names) for names in asked]


def test_greedy_finds_the_soup_it_would_find_by_cooking(scorer, explicit):
    assert greedy(NAMES, full(scorer)) == greedy(NAMES, full(explicit))


def test_ingredients_that_cannot_be_mixed_are_refused(scorer, model, paths):
    checkpoints.save(paths["m2"], model.state_dict(), {"pretrained": "another"})
    scorer(("m0", "m1"))
    with pytest.raises(UserError, match=r"m2\.safetensors: fine-tuned from pre-trained model anot"):
        scorer(("m0", "m1", "m2"))


def test_exact_logits_are_computed_in_float32_with_any_precision(model, images):
    plain = forward(model, images)
    compute.configure({"inference": "bfloat16"})
    try:
        assert torch.equal(forward(model, images, exact=True), plain)
        assert not torch.equal(forward(model, images), plain)
    finally:
        compute.configure({})
