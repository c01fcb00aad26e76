import copy
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from soups import optim
from soups.augment import augment
from soups.model import Classifier
from soups.resume import Resumable
from soups.train import (
    distillation_loss,
    finetune,
    freeze_batch_norm,
    linear_probe,
    weight_average,
)

PLAIN = {
    "lr": 0.01, "weight_decay": 0.1, "epochs": 1.5, "batch_size": 8, "warmup": 0.2, "clip": 0.5,
    "label_smoothing": 0.1, "mixup": 0, "augment": 0, "layer_decay": 1, "ema": 0, "swa": 0,
    "swa_lr": 0, "sam": 0, "distill": 0, "distill_temperature": 1, "seed": 3,
}  # fmt: skip
NOISY = PLAIN | {"mixup": 0.4, "augment": 1.5, "epochs": 2.5}
ROWS = np.arange(0, 60, 2)  # 30 images, 3 batches of 8
PROBE = {"lr": 0.1, "epochs": 10, "batch_size": 16, "weight_decay": 0.0, "seed": 0}


@pytest.fixture
def start(pretrained) -> Classifier:
    return pretrained.classifier(4)


@pytest.fixture
def tuned(start, images, labels, tmp_path):
    """A function that fine-tunes a copy of `start` and returns its weights."""
    runs = itertools.count()

    def weights(h: dict, state: Resumable | None = None, images=images) -> dict:
        state = state or Resumable(tmp_path / "fresh", {"run": next(runs)})
        model = finetune(copy.deepcopy(start), images, labels, ROWS, h, state)
        assert not model.training
        return {name: tensor.cpu() for name, tensor in model.state_dict().items()}

    return weights


def same(ours: dict, theirs: dict) -> bool:
    assert ours.keys() == theirs.keys()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


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


# Augmentation


def test_strength_0_is_identity_and_uses_no_chance():
    x, generator = torch.rand(4, 3, 8, 8), torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert augment(x, 0, generator) is x
    assert torch.equal(generator.get_state(), before)


def test_augmentation_treats_each_image_on_its_own():
    x = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).repeat(4, 1, 1, 1)
    out = augment(x, 1.0, torch.Generator().manual_seed(1))
    assert out.shape == x.shape
    assert all(not torch.equal(out[i], out[j]) for i in range(4) for j in range(i))
    assert torch.equal(out, augment(x, 1.0, torch.Generator().manual_seed(1)))


def test_strength_is_how_much_changes():
    generator = torch.Generator().manual_seed(0)
    x = F.interpolate(torch.rand(64, 3, 4, 4, generator=generator), size=(32, 32), mode="bilinear")
    distances = [
        (augment(x, strength, torch.Generator().manual_seed(1)) - x).abs().mean().item()
        for strength in (0.01, 0.5, 1, 2)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.1 * distances[-1]


# Fine-tuning


def by_hand(model: Classifier, images, labels, h: dict) -> dict:
    """Fine-tuning without mixup and augmentation, written out."""
    model = model.train().to(optim.device())
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": h["weight_decay"]},
        {"params": plain, "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups)
    total = round(h["epochs"] * 3)
    batches = [b for epoch in (0, 1) for b in optim.batches(30, 8, epoch, h["seed"])][:total]
    for step, batch in enumerate(batches):
        x = torch.from_numpy(images[ROWS[batch]]).to(optim.device())
        y = torch.from_numpy(labels[ROWS[batch]]).to(optim.device())
        factor = optim.warmup_cosine(step, total, int(h["warmup"] * total))
        for group in optimizer.param_groups:
            group["lr"] = h["lr"] * factor
        optimizer.zero_grad()
        F.cross_entropy(model(x), y, label_smoothing=h["label_smoothing"]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), h["clip"])
        optimizer.step()
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def test_finetuning_without_noise_is_plain_training(tuned, start, images, labels):
    expected = by_hand(copy.deepcopy(start), images, labels, PLAIN)
    for name, tensor in tuned(PLAIN).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mixup", 0.4), ("augment", 1), ("seed", 4), ("epochs", 1), ("clip", 0.01), ("lr", 0.02),
        ("weight_decay", 0), ("label_smoothing", 0), ("warmup", 0.5), ("batch_size", 15),
        ("layer_decay", 0.5), ("ema", 0.5), ("swa", 0.5), ("sam", 0.5),
    ],
)  # fmt: skip
def test_every_hyperparameter_matters(tuned, key, value):
    assert not same(tuned(PLAIN | {key: value}), tuned(PLAIN))


def test_the_same_seed_gives_the_same_bits(tuned):
    first = tuned(NOISY)
    torch.rand(100)  # what ran before must not matter
    assert same(tuned(NOISY), first)


def test_held_out_images_are_not_trained_on(tuned, images):
    others = images.copy()
    others[1::2] = 0
    assert same(tuned(PLAIN, images=others), tuned(PLAIN))


def test_a_short_training_set_is_one_batch(start, images, labels, tmp_path):
    h = PLAIN | {"batch_size": 500, "epochs": 0.1}
    model = finetune(
        copy.deepcopy(start), images, labels, ROWS[:5], h, Resumable(tmp_path, {"run": 0})
    )
    assert not torch.equal(model.head.bias.cpu(), start.head.bias)


# Resuming


def test_an_interrupted_finetune_ends_with_the_same_bits(tuned, killed, tmp_path):
    whole = tuned(NOISY)
    with pytest.raises(KeyboardInterrupt):
        tuned(NOISY, killed(tmp_path, NOISY))
    state = Resumable(tmp_path, NOISY)
    assert state.path.exists()
    assert same(tuned(NOISY, state), whole)


def test_a_finished_run_is_not_run_again(tuned, images, tmp_path):
    state = Resumable(tmp_path, PLAIN)
    whole = tuned(PLAIN, state)
    # With everything done, the images are not looked at.
    assert same(tuned(PLAIN, state, images=np.zeros_like(images)), whole)
    state.remove()
    assert not same(tuned(PLAIN, state, images=np.zeros_like(images)), whole)


def test_another_recipe_starts_afresh(tuned, killed, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tuned(PLAIN | {"lr": 0.5}, killed(tmp_path, {"lr": 0.5}))
    assert same(tuned(PLAIN, Resumable(tmp_path, {"lr": 0.01})), tuned(PLAIN))


# Batch normalisation


@pytest.fixture
def normalised() -> Classifier:
    torch.manual_seed(0)
    visual = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    return Classifier(visual, 4, 8, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_frozen_batch_norm_keeps_its_statistics_and_nothing_else(normalised, images):
    normalised.train()
    freeze_batch_norm(normalised)
    normalised(torch.from_numpy(images))
    conv, norm = normalised.visual[:2]
    assert norm.running_mean.abs().max() == 0
    assert norm.num_batches_tracked == 0
    assert conv.training
    assert norm.weight.requires_grad


def test_finetuning_keeps_the_statistics_of_batch_norm(normalised, images, labels, tmp_path):
    before = copy.deepcopy(normalised.visual[1].state_dict())
    finetune(normalised, images, labels, ROWS, PLAIN, Resumable(tmp_path, PLAIN))
    after = normalised.visual[1].cpu().state_dict()
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(after[name], before[name])
    assert not torch.equal(after["weight"], before["weight"])


# Linear probe


@pytest.fixture
def features() -> tuple[torch.Tensor, torch.Tensor]:
    """90 features around 3 directions that a line can tell apart."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    noise = 0.2 * torch.randn(90, 8, generator=generator)
    return F.normalize(torch.eye(8)[labels] + noise, dim=1), labels


def test_linear_probe_separates_what_is_separable(features):
    x, y = features
    start = torch.eye(8)[[1, 2, 0]]  # a head that is always wrong
    assert ((x @ start.T).argmax(1) == y).float().mean() < 0.1
    weight, bias = linear_probe(x, y, start, PROBE)
    assert ((x @ weight.T + bias).argmax(1) == y).all()


def test_linear_probe_starts_from_the_head_it_is_given(features):
    start = torch.eye(8)[:3]
    weight, bias = linear_probe(*features, start, PROBE | {"lr": 1e-9, "epochs": 1})
    torch.testing.assert_close(weight, start, rtol=0, atol=1e-6)
    torch.testing.assert_close(bias, torch.zeros(3), rtol=0, atol=1e-6)
    assert torch.equal(start, torch.eye(8)[:3])


def test_linear_probe_gives_the_same_bits(features):
    start = torch.zeros(3, 8)
    first = linear_probe(*features, start, PROBE)
    torch.rand(100)
    for ours, theirs in zip(first, linear_probe(*features, start, PROBE), strict=True):
        assert torch.equal(ours, theirs)


# Variants of training


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


def walk(average, steps: int) -> list[dict]:
    """Weights of a random walk, all taken in by ``average``."""
    generator = torch.Generator().manual_seed(0)
    model = average.module if isinstance(average, nn.Module) else average
    model, seen = copy.deepcopy(model), []
    for _ in range(steps):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator))
        average.update_parameters(model)
        seen.append(copy.deepcopy(model.state_dict()))
    return seen


def test_ema_with_decay_0_is_the_last_weights(start):
    average = AveragedModel(start, multi_avg_fn=get_ema_multi_avg_fn(0.0))
    last = walk(average, 5)[-1]
    assert same(average.module.state_dict(), last)
    assert weight_average(start, ema=0, swa=0) is None


def test_ema_is_the_recursion(start):
    average = weight_average(start, ema=0.9, swa=0)
    seen = walk(average, 6)
    for name, tensor in average.module.state_dict().items():
        expected = seen[0][name]
        for state in seen[1:]:
            expected = 0.9 * expected + 0.1 * state[name]
        torch.testing.assert_close(tensor, expected)


def test_swa_is_the_mean_and_of_constant_weights_the_weights(start):
    average = weight_average(start, ema=0, swa=0.5)
    seen = walk(average, 6)
    for name, tensor in average.module.state_dict().items():
        torch.testing.assert_close(tensor, torch.stack([s[name] for s in seen]).mean(0))
    constant = weight_average(start, ema=0, swa=0.5)
    for _ in range(7):
        constant.update_parameters(start)
    assert same(constant.module.state_dict(), start.state_dict())


def test_swa_averages_the_last_steps_of_training(tuned):
    """Without a learning rate in the averaged steps, they are all where the average begins."""
    still = PLAIN | {"epochs": 2, "swa": 0.5, "swa_lr": 1e-12}
    moving = PLAIN | {"epochs": 2, "swa": 0.5, "swa_lr": 1.0}
    before = tuned(still)
    assert not same(before, tuned(moving))
    assert not same(before, tuned(PLAIN | {"epochs": 2}))


def test_the_smallest_share_averages_the_last_step(tuned):
    assert same(tuned(PLAIN | {"swa": 0.01}), tuned(PLAIN))


@pytest.mark.parametrize("key", ["ema", "swa"])
def test_averages_survive_a_kill(tuned, killed, tmp_path, key):
    h = PLAIN | {"epochs": 2.5, key: 0.7}
    whole = tuned(h)
    with pytest.raises(KeyboardInterrupt):
        tuned(h, killed(tmp_path, h))
    assert same(tuned(h, Resumable(tmp_path, h)), whole)


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


def test_sam_with_radius_0_is_a_plain_step(tuned, monkeypatch):
    # 0 switches SAM off; here its two passes are really made.
    plain = tuned(PLAIN)
    ascended, radii = optim.ascended, []
    monkeypatch.setattr(
        optim, "ascended", lambda model, rho: radii.append(rho) or ascended(model, 0.0)
    )
    assert same(tuned(PLAIN | {"sam": 0.3}), plain)
    assert len(radii) == 4  # one for each step


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


def test_distilling_what_is_known_already_costs_the_entropy():
    logits = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    entropy = torch.distributions.Categorical(logits=logits).entropy().mean()
    torch.testing.assert_close(distillation_loss(logits, logits), entropy)
    softer = torch.distributions.Categorical(logits=logits / 3).entropy().mean()
    torch.testing.assert_close(distillation_loss(logits, logits, 3), 9 * softer)
    # Any other student costs more: cross-entropy is least at the target.
    other = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    assert distillation_loss(other, logits) > entropy


def test_a_distilled_model_learns_from_the_teacher_not_from_the_labels(
    start, images, labels, tmp_path
):
    teacher = 20 * np.eye(4, dtype=np.float32)[(labels[ROWS] + 1) % 4]
    h = PLAIN | {"distill": 1.0, "label_smoothing": 0, "epochs": 100, "lr": 0.02, "warmup": 0.1}
    model = finetune(copy.deepcopy(start), images, labels, ROWS, h, Resumable(tmp_path, h), teacher)
    with torch.no_grad():
        guesses = model(torch.from_numpy(images[ROWS]).to(optim.device())).argmax(1).cpu().numpy()
    assert (guesses == teacher.argmax(1)).mean() > 0.9
