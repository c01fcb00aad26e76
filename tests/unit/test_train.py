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

from soups import optim
from soups.augment import augment
from soups.model import Classifier
from soups.resume import Resumable
from soups.train import finetune, freeze_batch_norm, linear_probe

PLAIN = {
    "lr": 0.01, "weight_decay": 0.1, "epochs": 1.5, "batch_size": 8, "warmup": 0.2, "clip": 0.5,
    "label_smoothing": 0.1, "mixup": 0, "augment": 0, "seed": 3,
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
