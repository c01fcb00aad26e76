import copy
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from open_clip import transformer
from open_clip.modified_resnet import ModifiedResNet

from soups.errors import UserError
from soups.jobs import devices
from soups.jobs.resume import Resumable
from soups.training import optim
from soups.training.finetune import finetune
from soups.training.step import Step, distillation_loss
from tests.unit.training import NOISY, PLAIN, ROWS, apart, convolutional, distance, same


def test_sam_with_radius_0_is_a_plain_step(tuned, monkeypatch):
    # A radius of 0 switches SAM off, so the test replaces the radius after the switch.
    plain = tuned(PLAIN)
    ascended, radii = optim.ascended, []
    monkeypatch.setattr(
        optim, "ascended", lambda model, rho: radii.append(rho) or ascended(model, 0.0)
    )
    assert same(tuned(PLAIN | {"sam": 0.3}), plain)
    assert len(radii) == 4  # one for each step


def test_the_distillation_loss_of_the_teacher_itself_is_its_entropy():
    logits = torch.randn(16, 5, generator=torch.Generator().manual_seed(0))
    entropy = torch.distributions.Categorical(logits=logits).entropy().mean()
    torch.testing.assert_close(distillation_loss(logits, logits), entropy)
    softer = torch.distributions.Categorical(logits=logits / 3).entropy().mean()
    torch.testing.assert_close(distillation_loss(logits, logits, 3), 9 * softer)
    # Any other student has a larger loss, because cross-entropy is least at the target.
    other = logits + torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    assert distillation_loss(other, logits) > entropy


def test_a_distilled_model_learns_from_the_teacher_not_from_the_labels(
    start, images, labels, tmp_path
):
    teacher = 20 * np.eye(4, dtype=np.float32)[(labels[ROWS] + 1) % 4]
    row = PLAIN | {"distill": 1.0, "label_smoothing": 0, "epochs": 100, "lr": 0.02, "warmup": 0.1}
    state = Resumable(tmp_path, row)
    model = finetune(copy.deepcopy(start), images, labels, ROWS, row, state, teacher)
    with torch.no_grad():
        guesses = model(torch.from_numpy(images[ROWS]).to(devices.device())).argmax(1).cpu().numpy()
    assert (guesses == teacher.argmax(1)).mean() > 0.9


# The `compute` section


def one_step(model, x, y, soft, row=PLAIN) -> dict:
    """Weights after a step of plain gradient descent, whose change is the gradient."""
    model = copy.deepcopy(model).train()
    step = Step(model, torch.optim.SGD(model.parameters(), lr=1.0), row | {"clip": 1e9})
    loss = step(x, y, soft, len(x))
    return model.state_dict() | {"loss": loss}


@pytest.fixture
def batch(start, images, labels, teacher):
    """One batch: pixels, mixed labels, logits of a teacher."""
    y = F.one_hot(torch.from_numpy(labels[:10]), 4).float()
    y = 0.7 * y + 0.3 * y.roll(1, 0)
    return start.pixels(torch.from_numpy(images[:10])), y, torch.from_numpy(teacher[:10])


@pytest.mark.parametrize("number", [2, 3, 10, 99])
@pytest.mark.parametrize("change", [{}, {"sam": 0.05}, {"distill": 0.5, "distill_temperature": 2}])
def test_the_gradients_of_the_parts_of_a_batch_add_up(configured, start, batch, number, change):
    configured(device="cpu")
    x, y, soft = batch
    soft = soft if "distill" in change else None
    whole = one_step(start, x, y, soft, PLAIN | change)
    assert not same(whole, start.state_dict() | {"loss": whole["loss"]})
    configured(device="cpu", accumulate=number)
    assert distance(one_step(start, x, y, soft, PLAIN | change), whole) < 1e-6


def test_accumulating_gradients_trains_the_same_model(configured, tuned, start):
    configured(device="cpu")
    whole = tuned(NOISY)
    configured(device="cpu", accumulate=3)
    parts = tuned(NOISY)
    assert not same(parts, whole)
    # AdamW enlarges the rounding errors of small gradients.
    assert apart(parts, whole) < 0.01 * apart(whole, start.state_dict())


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("change", [{}, {"sam": 0.05, "ema": 0.5}])
def test_half_precision_trains_nearly_the_same_model(configured, tuned, start, precision, change):
    row = NOISY | change | {"lr": 0.001}
    full = tuned(row)
    configured(precision=precision)
    half = tuned(row)
    assert {tensor.dtype for tensor in half.values()} == {torch.float32}
    assert not same(half, full)
    assert apart(half, full) < 0.5 * apart(full, start.state_dict())


def test_only_float16_scales_the_loss(configured, start, batch):
    x, y, _ = batch
    for precision, scale in (("float32", 1), ("bfloat16", 1), ("float16", 2.0**16)):
        configured(device="cpu", precision=precision)
        model = copy.deepcopy(start).train()
        step = Step(model, torch.optim.SGD(model.parameters(), lr=0.1), PLAIN)
        assert step.scaler.get_scale() == scale
        assert 1 < step(x, y, None, len(x)).item() < 2  # log 4 before training, without the scale


def test_an_interrupted_run_in_float16_ends_with_the_same_bits(configured, tuned, killed, tmp_path):
    configured(precision="float16", accumulate=2)
    whole = tuned(NOISY)
    with pytest.raises(KeyboardInterrupt):
        tuned(NOISY, killed(tmp_path, NOISY))
    assert same(tuned(NOISY, Resumable(tmp_path, NOISY)), whole)


def test_channels_last_trains_the_same_model_in_the_usual_layout(configured, tuned):
    model = convolutional()
    configured(channels_last=False)
    usual = tuned(NOISY, model=model)
    configured(channels_last=True)
    other = tuned(NOISY, model=model)
    assert all(tensor.is_contiguous() for tensor in other.values())
    assert distance(other, usual) < 1e-3


def test_recomputed_activations_give_the_same_model(configured, tuned, start, monkeypatch):
    stored = tuned(NOISY)
    configured(checkpoint_activations=True)
    calls = []
    real = transformer.checkpoint
    monkeypatch.setattr(transformer, "checkpoint", lambda *a, **k: calls.append(1) or real(*a, **k))
    assert distance(tuned(NOISY), stored) < 1e-5
    assert calls
    assert not any(getattr(m, "grad_checkpointing", False) for m in start.modules())


def test_a_tower_without_checkpointing_is_refused(configured, tuned):
    configured(checkpoint_activations=True)
    with pytest.raises(UserError, match=r"checkpoint_activations is true.*Sequential"):
        tuned(PLAIN, model=convolutional())


def test_a_tower_that_ignores_checkpointing_is_refused():
    tower = ModifiedResNet([1, 1, 1, 1], 16, heads=2, image_size=32, width=8)
    with pytest.raises(UserError, match="ModifiedResNet"):
        devices.checkpointing(tower, True)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
def test_a_compiled_model_is_the_same_and_keeps_its_names(configured, batch):
    x, y, _ = batch
    configured(device="cpu")
    plain = one_step(convolutional(), x, y, None)
    configured(device="cpu", compile=True)
    assert distance(one_step(convolutional(), x, y, None), plain) < 1e-5


@pytest.mark.parametrize(("epochs", "warned"), [(9, True), (10, False), (0, False)])
def test_a_fine_tune_of_a_few_steps_is_warned_of(tuned, caplog, epochs, warned):
    tuned(PLAIN | {"epochs": epochs, "batch_size": 12})  # 2 steps per epoch
    assert ("steps, and fewer than 20" in caplog.text) == warned
