import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from soups.errors import UserError
from soups.jobs import compute, devices
from soups.models.forward import HELD, forward
from soups.training import optim

HERE = "mps" if torch.mps.is_available() else "cpu"  # CUDA is hidden from these tests


def test_auto_takes_the_best_device(configured):
    assert devices.device().type == HERE
    configured(device="cpu")
    assert devices.device() == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_missing_gpu_is_named_in_the_error(configured, name):
    configured(device=name)
    with pytest.raises(UserError, match=f"compute.device is '{name}', but torch sees no CUDA"):
        devices.device()


@pytest.mark.parametrize("name", ["gpu", "cpus", "tpu:0"])
def test_an_unknown_device_is_refused(configured, name):
    configured(device=name)
    with pytest.raises(UserError, match=f"compute.device is '{name}', expected auto"):
        devices.device()


def test_an_unknown_key_is_refused(configured):
    with pytest.raises(UserError, match="compute has the key 'devise', expected one of device"):
        configured(devise="cpu")
    assert compute.current() == compute.Compute()


def test_a_job_imports_torch_only_when_it_needs_it(root):
    code = "import sys, soups.jobs.job; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root / "scripts")


def test_the_defaults_are_those_of_the_configuration(config):
    assert compute.Compute(**config["compute"]) == compute.Compute()


def test_reproducibility_is_a_choice(configured):
    try:
        for wanted in (False, True):
            configured(deterministic=wanted)
            optim.seed_everything(0)
            assert torch.are_deterministic_algorithms_enabled() == wanted
            assert torch.backends.cudnn.benchmark != wanted
    finally:
        configured()
        optim.seed_everything(0)


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
@pytest.mark.parametrize("wanted", [False, True])
def test_deterministic_training_on_a_gpu_has_the_plain_attention(
    configured, monkeypatch, kind, wanted
):
    monkeypatch.setattr(devices, "kind", lambda: kind)
    configured(deterministic=wanted)
    flags = torch.backends.cuda
    fast = (flags.flash_sdp_enabled, flags.mem_efficient_sdp_enabled, flags.cudnn_sdp_enabled)
    before = [enabled() for enabled in fast]
    with devices.attention():
        plain = kind == "cuda" and wanted
        assert [enabled() for enabled in fast] == ([False] * 3 if plain else before)
        assert flags.math_sdp_enabled()
    assert [enabled() for enabled in fast] == before


@pytest.mark.parametrize(
    ("name", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)],
)
def test_training_and_inference_have_precisions_of_their_own(configured, name, dtype):
    layer, x = nn.Linear(2, 2), torch.ones(1, 2)
    configured(device="cpu", precision=name)
    with devices.autocast("training"):
        assert layer(x).dtype == dtype
    with devices.autocast("inference"):
        assert layer(x).dtype == torch.float32
    configured(device="cpu", inference=name)
    with devices.autocast("training"):
        assert layer(x).dtype == torch.float32
    with devices.autocast("inference"):
        assert layer(x).dtype == dtype
    assert layer(x).dtype == torch.float32


def test_an_unknown_precision_is_refused(configured):
    configured(inference="int8")
    with pytest.raises(UserError, match=r"compute.inference is 'int8', expected float32, bfloat16"):
        devices.autocast("inference")


def test_evaluation_takes_the_precision_and_the_batch_size(configured, start, images):
    sizes = []

    def run(x):
        sizes.append(len(x))
        return start.to(x.device).eval()(x)

    full = forward(run, images)
    assert sizes == [60]
    configured(inference="bfloat16", batch_size=25)
    half = forward(run, images)
    assert sizes == [60, 25, 25, 10]
    assert half.dtype == torch.float32
    assert half.shape == full.shape == (60, 4)

    start.head.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    configured()
    full = forward(run, images)
    configured(inference="bfloat16")
    half = forward(run, images)
    assert not torch.equal(half, full)
    torch.testing.assert_close(half, full, rtol=0.05, atol=0.05)


@pytest.mark.parametrize("held", [0, 4 * 7 * 4 * 3, 10**9])
def test_results_that_wait_on_the_device_are_the_same(configured, start, images, held, monkeypatch):
    configured(device="cpu", batch_size=7)
    rows = np.random.default_rng(0).permutation(60)[:50]
    start.eval().head.weight.data.normal_(generator=torch.Generator().manual_seed(0))
    expected = forward(start, images, rows)
    monkeypatch.setitem(HELD, "cpu", held)  # on a GPU, results are copied when they are many
    assert torch.equal(forward(start, images, rows), expected)
    assert forward(start, images, rows[:0]) is None
