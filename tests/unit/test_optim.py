import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from soups.training import optim

# Schedule and batches


@given(st.integers(2, 300), st.floats(0, 0.9))
def test_schedule_rises_to_one_and_falls(total, share):
    warmup = int(share * total)
    factors = [optim.warmup_cosine(step, total, warmup) for step in range(total)]
    assert factors[warmup] == 1
    assert all(0 < factor <= 1 for factor in factors)
    assert factors[: warmup + 1] == sorted(factors[: warmup + 1])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


def test_known_schedule():
    factors = [optim.warmup_cosine(step, 6, 2) for step in range(7)]
    half = math.sqrt(0.5) / 2
    assert factors == pytest.approx([1 / 3, 2 / 3, 1, 0.5 + half, 0.5, 0.5 - half, 0], abs=1e-12)


def test_a_cooldown_goes_linearly_to_zero_and_leaves_what_is_before():
    factors = [optim.with_cooldown(0.8, step, 10, 4) for step in range(11)]
    assert factors == pytest.approx([0.8] * 7 + [0.6, 0.4, 0.2, 0])
    assert optim.with_cooldown(0.8, 9, 10, 0) == 0.8


@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 50), st.integers(0, 50))
def test_batches_are_an_epoch_in_any_order(count, size, epoch, seed):
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


def test_gains_and_biases_are_not_decayed():
    optimizer = optim.adamw(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), 0.1, 0.5)
    sizes = {g["weight_decay"]: [p.ndim for p in g["params"]] for g in optimizer.param_groups}
    assert sizes == {0.5: [2], 0.0: [1, 1, 1]}


def test_warmup_is_a_share_of_the_steps_or_their_number():
    assert optim.warmup_steps(0.1, 250) == 25
    assert optim.warmup_steps(0.999, 100) == 99
    assert optim.warmup_steps(1, 100) == 1
    assert optim.warmup_steps(500, 10_000) == optim.warmup_steps(500.0, 10_000) == 500
    assert optim.warmup_steps(500, 200) == 200  # all of a short run


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
    """A loss whose gradient is known: half the squared length of its weights."""
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    model.loss = lambda: sum((p**2).sum() for p in model.parameters()) / 2
    return model


def test_sam_looks_at_the_gradient_rho_uphill_and_comes_back(bowl):
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


def test_sam_under_a_gradient_scaler_skips_what_overflowed(bowl):
    """As fp16 would: an infinite gradient moves nothing, and the scaler leaves the step out."""
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
