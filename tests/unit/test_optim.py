import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from soups.training import optim

# Batches


@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 50), st.integers(0, 50))
def test_an_epoch_takes_every_sample_at_most_once(count, size, epoch, seed):
    size = min(size, count)
    batches = list(optim.batches(count, size, epoch, seed))
    assert len(batches) == count // size
    for batch in batches:
        assert len(batch) == size
        assert len(set(batch)) == size
    seen = np.concatenate(batches)
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(range(count))


def test_batches_are_a_function_of_seed_and_epoch():
    first, again, epoch, seed = (
        np.concatenate(list(optim.batches(20, 4, *key))).tolist()
        for key in [(0, 0), (0, 0), (1, 0), (0, 1)]
    )
    assert first == again
    assert first != epoch
    assert first != seed
    assert epoch != seed


# The optimizer


def test_gains_and_biases_are_not_decayed():
    optimizer = optim.adamw(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), 0.1, 0.5)
    sizes = {g["weight_decay"]: [p.ndim for p in g["params"]] for g in optimizer.param_groups}
    assert sizes == {0.5: [2], 0.0: [1, 1, 1]}


def test_all_parameters_are_decayed_on_request_with_the_same_steps():
    """The reference decays gains and biases too."""
    torch.manual_seed(0)
    ours, theirs = (nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizers = (
        optim.adamw(ours, 0.1, 0.5, decayed="all"),
        torch.optim.AdamW(theirs.parameters(), lr=0.1, weight_decay=0.5),
    )
    assert [group["weight_decay"] for group in optimizers[0].param_groups] == [0.5]
    for model, optimizer in zip((ours, theirs), optimizers, strict=True):
        model(torch.ones(4, 2)).square().sum().backward()
        optimizer.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_layer_decay_scales_the_learning_rate(start):
    optimizer = optim.adamw(start, 0.1, 0.5, layer_decay=0.5)
    optim.set_lr(optimizer, 0.8)
    rate = {
        id(parameter): group["lr"]
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    rates = {name: rate[id(parameter)] for name, parameter in start.named_parameters()}
    assert rates["head.weight"] == rates["head.bias"] == 0.8
    assert rates["visual.transformer.resblocks.0.attn.in_proj_weight"] == 0.4
    assert rates["visual.conv1.weight"] == 0.2
    assert len(rate) == len(list(start.parameters()))


# Sharpness-aware minimisation


@pytest.fixture
def bowl() -> nn.Module:
    """A model whose loss has a known gradient: half the squared length of its weights."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    model.loss = lambda: sum((p**2).sum() for p in model.parameters()) / 2
    return model


def test_sam_computes_the_gradient_a_distance_rho_uphill_and_restores_the_weights(bowl):
    before = [p.detach().clone() for p in bowl.parameters()]
    bowl.loss().backward()
    length = torch.cat([p.grad.flatten() for p in bowl.parameters()]).norm()
    with optim.ascended(bowl, 0.5):
        moved = torch.cat(
            [(p - b).flatten() for p, b in zip(bowl.parameters(), before, strict=True)]
        )
        assert moved.norm().item() == pytest.approx(0.5, rel=1e-5)
        bowl.zero_grad()
        bowl.loss().backward()
    for parameter, value in zip(bowl.parameters(), before, strict=True):
        assert torch.equal(parameter, value)  # to the bit
        torch.testing.assert_close(parameter.grad, value * (1 + 0.5 / length))


def test_sam_does_not_depend_on_a_loss_scale(bowl):
    moves = []
    for scale in (1.0, 2.0**14):
        bowl.zero_grad()
        (scale * bowl.loss()).backward()
        with optim.ascended(bowl, 0.1):
            moves.append(bowl.weight.detach().clone())
    torch.testing.assert_close(*moves)


def test_sam_and_the_gradient_scaler_skip_a_step_whose_gradient_overflowed(bowl):
    """In float16, an infinite gradient does not move the weights and the scaler skips the step."""
    before = bowl.weight.detach().clone()
    optimizer = torch.optim.SGD(bowl.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for overflow in (True, False):
        optimizer.zero_grad()
        scaler.scale(bowl.loss() * (float("inf") if overflow else 1)).backward()
        with optim.ascended(bowl, 0.1):
            if overflow:
                assert torch.equal(bowl.weight, before)
            optimizer.zero_grad()
            scaler.scale(bowl.loss() * (float("inf") if overflow else 1)).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(bowl.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(bowl.weight, before) == overflow
    assert torch.isfinite(bowl.weight).all()
