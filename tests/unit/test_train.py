import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from soups.errors import LeftOut
from soups.jobs import devices
from soups.jobs.resume import Resumable
from soups.models.classifier import Classifier
from soups.training import optim
from soups.training.finetune import finetune, finetune_on, freeze_batch_norm, weight_average
from soups.training.probe import linear_probe
from soups.training.schedule import warmup_cosine
from tests.unit.training import NOISY, PLAIN, ROWS, convolutional, same

PROBE = {"lr": 0.1, "epochs": 10, "batch_size": 16, "weight_decay": 0.0, "seed": 0}


def by_hand(model: Classifier, images, labels, row: dict) -> dict:
    """Weights after fine-tuning without mixup and augmentation, written as a plain loop."""
    model = model.train().to(devices.device())
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": row["weight_decay"]},
        {"params": plain, "weight_decay": 0},
    ]
    optimizer = torch.optim.AdamW(groups)
    total = round(row["epochs"] * 3)
    batches = [b for epoch in (0, 1) for b in optim.batches(30, 8, epoch, row["seed"])][:total]
    for step, batch in enumerate(batches):
        x = torch.from_numpy(images[ROWS[batch]]).to(devices.device())
        y = torch.from_numpy(labels[ROWS[batch]]).to(devices.device())
        factor = warmup_cosine(step, total, int(row["warmup"] * total))
        for group in optimizer.param_groups:
            group["lr"] = row["lr"] * factor
        optimizer.zero_grad()
        F.cross_entropy(model(x), y, label_smoothing=row["label_smoothing"]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), row["clip"])
        optimizer.step()
    return {name: tensor.cpu() for name, tensor in model.state_dict().items()}


def test_finetuning_without_noise_equals_a_plain_loop(tuned, start, images, labels):
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
    torch.rand(100)  # earlier random draws must not matter
    assert same(tuned(NOISY), first)


def test_held_out_images_are_not_trained_on(tuned, images):
    others = images.copy()
    others[1::2] = 0
    assert same(tuned(PLAIN, images=others), tuned(PLAIN))


def test_a_short_training_set_is_one_batch_and_warns(start, images, labels, tmp_path, caplog):
    row = PLAIN | {"batch_size": 500, "epochs": 0.1}
    model = finetune(
        copy.deepcopy(start), images, labels, ROWS[:5], row, Resumable(tmp_path, {"run": 0})
    )
    assert not torch.equal(model.head.bias.cpu(), start.head.bias)
    sentence = "batch_size is 500, but there are 5 training images, so a batch has 5."
    assert sentence in caplog.messages


# Batch normalisation


def test_frozen_batch_norm_keeps_its_statistics_and_nothing_else(images):
    normalised = convolutional().train()
    freeze_batch_norm(normalised)
    normalised(torch.from_numpy(images))
    conv, norm = normalised.visual[:2]
    assert norm.running_mean.abs().max() == 0
    assert norm.num_batches_tracked == 0
    assert conv.training
    assert norm.weight.requires_grad


def test_finetuning_keeps_the_statistics_of_batch_norm(images, labels, tmp_path):
    normalised = convolutional()
    before = copy.deepcopy(normalised.visual[1].state_dict())
    finetune(normalised, images, labels, ROWS, PLAIN, Resumable(tmp_path, PLAIN))
    after = normalised.visual[1].cpu().state_dict()
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(after[name], before[name])
    assert not torch.equal(after["weight"], before["weight"])


def test_trained_batch_norm_measures_statistics_of_its_own(images, labels, tmp_path):
    normalised, row = convolutional(), PLAIN | {"batch_norm": "trained"}
    before = copy.deepcopy(normalised.visual[1].state_dict())
    finetune(normalised, images, labels, ROWS, row, Resumable(tmp_path, row))
    after = normalised.visual[1].cpu().state_dict()
    assert after["num_batches_tracked"] > 0
    assert not torch.equal(after["running_mean"], before["running_mean"])
    assert not normalised.training


# Linear probe


@pytest.fixture
def features() -> tuple[torch.Tensor, torch.Tensor]:
    """90 features around 3 directions that a linear head can separate."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(90) % 3
    noise = 0.2 * torch.randn(90, 8, generator=generator)
    return F.normalize(torch.eye(8)[labels] + noise, dim=1), labels


def test_linear_probe_separates_separable_features(features):
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


# Averages of weights


def walk(average, steps: int) -> list[dict]:
    """Weights of a random walk, after each step of which ``average`` is updated."""
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


def test_swa_is_the_mean_of_the_weights_and_keeps_constant_weights(start):
    average = weight_average(start, ema=0, swa=0.5)
    seen = walk(average, 6)
    for name, tensor in average.module.state_dict().items():
        torch.testing.assert_close(tensor, torch.stack([s[name] for s in seen]).mean(0))
    constant = weight_average(start, ema=0, swa=0.5)
    for _ in range(7):
        constant.update_parameters(start)
    assert same(constant.module.state_dict(), start.state_dict())


def test_swa_averages_the_last_steps_of_training(tuned):
    """With a learning rate near 0 in the averaged steps, the average is where they begin."""
    still = PLAIN | {"epochs": 2, "swa": 0.5, "swa_lr": 1e-12}
    moving = PLAIN | {"epochs": 2, "swa": 0.5, "swa_lr": 1.0}
    before = tuned(still)
    assert not same(before, tuned(moving))
    assert not same(before, tuned(PLAIN | {"epochs": 2}))


def test_the_smallest_share_averages_the_last_step(tuned):
    assert same(tuned(PLAIN | {"swa": 0.01}), tuned(PLAIN))


@pytest.mark.parametrize("more", [{}, {"ema": 0.9}, {"swa": 0.5}])
def test_no_epochs_leave_the_start_as_it_is(tuned, start, more):
    before = {name: value.clone() for name, value in start.state_dict().items()}
    assert same(tuned(PLAIN | {"epochs": 0} | more), before)


# Tasks


@pytest.fixture
def data(images, labels):
    return SimpleNamespace(inputs=images, labels=labels, classes=["cat", "dog", "cow", "axe"])


def test_a_fine_tune_without_a_task_has_all_classes(tuned, start, data, teacher, tmp_path):
    row = PLAIN | {"distill": 0.5}
    state = Resumable(tmp_path / "task", {})
    model = finetune_on(copy.deepcopy(start), data, ROWS, row, state, None, teacher)
    assert same(dict(model.state_dict()), tuned(row, teacher=teacher))


def test_a_task_trains_the_tower_on_its_own_images_alone(start, data, tmp_path):
    def weights(name: str) -> dict:
        state = Resumable(tmp_path / name, {})
        model = copy.deepcopy(start)
        torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(0))
        finetune_on(model, data, ROWS, PLAIN, state, ["cow", "dog"])
        return dict(model.state_dict())

    first = weights("one")
    head = torch.randn(4, start.head.in_features, generator=torch.Generator().manual_seed(0))
    assert torch.equal(first["head.weight"], head)  # frozen, and whole again afterwards
    assert any(not torch.equal(first[n], t) for n, t in start.state_dict().items() if "visual" in n)
    data.inputs = np.array(data.inputs)
    data.inputs[(data.labels == 0) | (data.labels == 3)] = 0
    assert same(first, weights("two"))


@pytest.mark.parametrize("average", [{}, {"ema": 0.5}, {"swa": 0.5}])
def test_a_fine_tune_that_diverges_stops_and_keeps_no_diverged_state(tuned, tmp_path, average):
    state = Resumable(tmp_path / "state", {"run": "diverges"})
    row = PLAIN | {"lr": 1e30, "epochs": 20} | average
    with pytest.raises(LeftOut, match=r"the loss of step \d of 60 is nan and tensor '.*' is not"):
        tuned(row, state)
    # The first epoch has three steps. The loss is checked before the state is saved.
    assert not state.path.exists()


def test_weights_that_diverge_with_the_last_step_are_found(tuned):
    with pytest.raises(LeftOut, match="is not finite after all 1 steps"):
        tuned(PLAIN | {"lr": float("inf"), "epochs": 0.1, "warmup": 0})
