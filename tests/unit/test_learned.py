"""Learned soups. The gradient is compared with autograd through the explicit mixture."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from soups.mixing import learned
from soups.models import checkpoints
from soups.models.blocks import groups
from soups.models.checkpoints import Checkpoint, Held
from soups.models.stack import Stack

K = 4
ROWS = np.arange(0, 60, 2)  # of the held-out images
FIT = {"lr": 0.05, "epochs": 3, "batch_size": 15, "seed": 0}


@pytest.fixture
def model(pretrained):
    torch.manual_seed(1)
    model = pretrained.classifier(4).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


@pytest.fixture
def paths(model, tmp_path) -> list:
    generator = torch.Generator().manual_seed(0)
    paths = [tmp_path / f"m{k}.safetensors" for k in range(K)]
    for path in paths:
        state = {
            name: tensor + 0.2 * torch.randn(tensor.shape, generator=generator)
            for name, tensor in model.state_dict().items()
        }
        checkpoints.save(path, state, {"pretrained": "one"})
    return paths


@pytest.mark.parametrize("by", ["model", "block", "tensor"])
def test_the_gradient_is_that_of_autograd_through_the_mixture(model, paths, images, labels, by):
    model = model.double()
    group = groups(list(model.state_dict()), by)
    count = max(group.values()) + 1
    w = torch.randn(K, count, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    w.requires_grad_()
    log_beta = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    x = model.pixels(torch.from_numpy(images)).double()
    y = torch.from_numpy(labels)

    states = [Checkpoint(path).state() for path in paths]
    alpha = w.softmax(0)
    mixture = {
        name: sum(alpha[k, i] * states[k][name].double() for k in range(K))
        for name, i in group.items()
    }
    F.cross_entropy(log_beta.exp() * functional_call(model, mixture, (x,)), y).backward()
    expected, w.grad = w.grad, None
    expected_beta, log_beta.grad = log_beta.grad, None

    ingredients = [Checkpoint(path) for path in paths]
    alpha = w.softmax(0)
    parts = [[name for name, index in group.items() if index == i] for i in range(count)]
    with Stack(ingredients) as stack:
        for i, names in enumerate(parts):
            learned.write(model.state_dict(), stack, alpha[:, i], names)
        F.cross_entropy(log_beta.exp() * model(x), y).backward()
        parameters = dict(model.named_parameters())
        gradients = [learned.coefficient_gradient(parameters, stack, names) for names in parts]
    alpha.backward(torch.stack(gradients, dim=1))
    torch.testing.assert_close(w.grad, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(log_beta.grad, expected_beta, rtol=1e-9, atol=1e-12)
    assert expected.abs().max() > 1e-4


def fit(model, ingredients, images, labels, by="tensor", **options):
    """Learn coefficients, and return them with the inverse temperature and the trace."""
    group = groups(list(model.state_dict()), by)
    return learned.learn(
        copy.deepcopy(model),
        ingredients,
        images[ROWS],
        torch.from_numpy(labels)[ROWS],
        group,
        **FIT | options,
    )


def test_streamed_and_held_ingredients_give_the_same_bits(model, paths, images, labels):
    size = Checkpoint(paths[0]).size()
    alpha, beta, trace = fit(model, learned.within(paths, 0), images, labels)
    for budget in (size, 2.5 * size, 100 * size):
        ingredients = learned.within(paths, budget)
        assert sum(isinstance(c, Held) for c in ingredients) == min(K, budget // size)
        again = fit(model, ingredients, images, labels)
        assert torch.equal(again[0], alpha)
        assert again[1:] == (beta, trace)


def test_the_mixture_gets_its_batch_statistics_before_every_step(model, paths, images, labels):
    settled = []
    _, _, trace = fit(
        model, learned.within(paths, 0), images, labels, batch_size=len(ROWS) // 2, epochs=2,
        settle=lambda mixed: settled.append(mixed.head.weight.clone()),
    )  # fmt: skip
    assert len(settled) == 1 + 2 * len(trace)
    assert not torch.equal(settled[0], settled[1])


def test_coefficients_are_positive_and_sum_to_1_in_every_group(model, paths, images, labels):
    for by in ("model", "block", "tensor"):
        alpha, beta, trace = fit(model, learned.within(paths, 1e9), images, labels, by)
        assert alpha.shape == (K, max(groups(list(model.state_dict()), by).values()) + 1)
        torch.testing.assert_close(alpha.sum(0), torch.ones_like(alpha[0]))
        assert (alpha > 0).all()
        assert beta > 0
        assert [step["epoch"] for step in trace] == [1, 2, 3]


def test_fitting_lowers_the_loss_and_prefers_the_right_ingredient(model, paths, images, labels):
    """One ingredient made the labels, and the three others are random."""
    with torch.no_grad():
        truth = model(torch.from_numpy(images)).argmax(1).numpy()
    checkpoints.save(paths[2], model.state_dict(), {"pretrained": "one"})
    alpha, _, trace = fit(
        model, learned.within(paths, 1e9), images, truth, "model", epochs=20, batch_size=30
    )
    assert trace[-1]["loss"] < trace[0]["loss"]
    assert alpha[2, 0] == alpha.max()
    assert alpha[2, 0] > 0.4


def test_frozen_parameters_keep_equal_coefficients(model, paths, images, labels):
    model.visual.conv1.weight.requires_grad_(False)
    alpha, _, _ = fit(model, learned.within(paths, 1e9), images, labels, "tensor")
    group = groups(list(model.state_dict()), "tensor")
    torch.testing.assert_close(
        alpha[:, group["visual.conv1.weight"]], torch.full((K,), 1 / K, dtype=alpha.dtype)
    )
