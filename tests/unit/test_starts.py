"""The starting points of fine-tuning."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from soups.errors import UserError
from soups.models.forward import forward
from soups.training.starts import saturated, starting_points
from tests.unit.training import ROWS

PROBE = {"lr": 0.1, "epochs": 3, "batch_size": 8, "weight_decay": 0.0, "seed": 0}
CLASSES = ["cat", "dog", "photo", "a"]


@pytest.fixture
def train(images, labels):
    return SimpleNamespace(inputs=images, labels=labels, classes=CLASSES)


@pytest.fixture
def heldout(images):
    return SimpleNamespace(inputs=images[1::2])


@pytest.fixture
def made(pretrained, train, heldout):
    """The starting points of a model with a text tower."""
    return starting_points(pretrained, train, ROWS, heldout, ["a {}"], PROBE)


def test_starting_points_differ_in_their_heads_alone(made, pretrained):
    assert list(made) == ["newhead", "initialization", "zeroshot"]
    tower = {f"visual.{name}" for name in pretrained.visual.state_dict()}
    for start in made.values():
        assert start.state.keys() == tower | {"head.weight", "head.bias"}
        assert all(torch.equal(start.state[n], made["newhead"].state[n]) for n in tower)
    head = pretrained.text_head(CLASSES, ["a {}"])
    assert torch.equal(made["zeroshot"].state["head.weight"], head)
    assert not made["zeroshot"].state["head.bias"].any()
    assert not made["newhead"].state["head.weight"].any()
    assert not torch.equal(made["initialization"].state["head.weight"], head)


def test_logits_are_those_of_the_whole_classifier(made, pretrained, heldout):
    assert made["newhead"].logits is None
    for name in ("initialization", "zeroshot"):
        model = pretrained.classifier(4).eval()
        model.load_state_dict(made[name].state)
        whole = forward(model, heldout.inputs, exact=True).numpy()
        np.testing.assert_allclose(made[name].logits, whole, atol=1e-4)


def test_an_almost_perfect_start_leaves_little_to_gain():
    assert not saturated("initialization", 0.949, "images")
    assert saturated("initialization", 0.9625, "texts") == (
        "the start initialization is right on 96.2% of the held-out texts, so fine-tunes and soups "
        "can gain little."
    )


def test_a_probe_of_few_steps_warns(pretrained, train, heldout, caplog):
    few = PROBE | {"epochs": 1, "batch_size": len(ROWS)}
    starting_points(pretrained, train, ROWS, heldout, ["a {}"], few)
    assert f"the linear probe has 1 steps of {len(ROWS)} images" in caplog.text
    caplog.clear()
    many = PROBE | {"epochs": 20, "batch_size": len(ROWS)}
    starting_points(pretrained, train, ROWS, heldout, ["a {}"], many)
    assert not caplog.text


def test_a_probe_starts_from_zeros_without_a_text_tower(pretrained, train, heldout, monkeypatch):
    monkeypatch.setattr(pretrained, "text_head", lambda *_: None)
    still = PROBE | {"lr": 0.0}
    made = starting_points(pretrained, train, ROWS, heldout, ["a {}"], still)
    assert list(made) == ["newhead", "initialization"]
    assert not made["initialization"].state["head.weight"].any()


def test_starting_points_depend_on_the_training_rows_alone(made, pretrained, train, heldout):
    torch.rand(10)  # the state of the global generator does not matter
    other = np.array(train.inputs)
    other[1::2] = 0
    train.inputs = other
    again = starting_points(pretrained, train, ROWS, heldout, ["a {}"], PROBE)
    assert torch.equal(
        again["initialization"].state["head.weight"], made["initialization"].state["head.weight"]
    )


def test_images_of_another_size_are_refused(pretrained, train):
    small = SimpleNamespace(inputs=np.zeros((2, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match="images are 8 pixels wide, expected 16 for"):
        starting_points(pretrained, train, ROWS, small, ["a {}"], PROBE)


def test_weights_that_are_not_finite_are_refused_before_anything_is_trained(
    pretrained, train, heldout
):
    data = train, ROWS, heldout, ["a {}"]
    with pytest.raises(UserError, match="the head of the start 'initialization': tensor 'weight'"):
        starting_points(pretrained, *data, PROBE | {"lr": float("inf")})
    next(pretrained.visual.parameters()).data.flatten()[0] = torch.nan
    with pytest.raises(UserError, match=r"the pre-trained model: tensor 'visual\..* has values"):
        starting_points(pretrained, *data, PROBE)
