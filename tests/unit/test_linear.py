from contextlib import suppress

import pytest
import torch
import torch.nn.functional as F
from open_clip.transformer import VisionTransformer
from torch import nn

from soups.models import linear
from soups.models.forward import forward
from soups.models.linear import fast_linear
from soups.models.network import Classifier


@pytest.fixture
def here(monkeypatch):
    """A CPU on which oneDNN is faster."""
    if not torch.backends.mkldnn.is_available():
        pytest.skip("this torch has no oneDNN")
    monkeypatch.setattr(linear, "onednn_is_faster", lambda: True)
    monkeypatch.setattr(linear, "_kept", set())


@pytest.fixture
def model() -> Classifier:
    torch.manual_seed(0)
    tower = VisionTransformer(16, 8, width=64, layers=2, heads=2, mlp_ratio=4, output_dim=32)
    model = Classifier(tower, 4, 32, (0.5,) * 3, (0.5,) * 3).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def test_layers_are_those_of_torch_up_to_rounding(here, configured, model, images):
    configured(device="cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "onednn_is_faster", lambda: False)
        usual, calls = forward(model, images), []
    operation = torch.ops.mkldnn._linear_pointwise

    def counted(*arguments):
        calls.append(arguments)
        return operation(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.ops.mkldnn, "_linear_pointwise", counted)
        fast = forward(model, images)
        # Two blocks with attention, its output and two layers each, and the head.
        assert len(calls) == 2 * 4 + 1
        forward(model.features, images)
        assert len(calls) == 2 * 4 + 1 + 2 * 4
        configured(device="cpu", inference="bfloat16")
        forward(model, images)
        assert len(calls) == 2 * 4 + 1 + 2 * 4
        exact = forward(model, images, exact=True)
        assert len(calls) == 2 * (2 * 4 + 1) + 2 * 4
    assert torch.equal(exact, fast)
    torch.testing.assert_close(fast, usual, rtol=1e-4, atol=1e-5)


def test_torch_is_as_before_after_the_context(here, model):
    plain, fused = F.linear, torch.backends.mha.get_fastpath_enabled()
    with suppress(KeyboardInterrupt), torch.no_grad(), fast_linear(model):
        assert F.linear is not plain
        raise KeyboardInterrupt
    assert F.linear is plain
    assert torch.backends.mha.get_fastpath_enabled() == fused


def test_other_cpus_other_functions_and_gradients_keep_torch_as_it_is(model, monkeypatch):
    plain = F.linear
    for faster, run in ((False, model), (False, model.features), (True, nn.ReLU()), (True, len)):
        monkeypatch.setattr(linear, "onednn_is_faster", lambda faster=faster: faster)
        with torch.no_grad(), fast_linear(run):
            assert F.linear is plain
    with fast_linear(model):
        assert F.linear is plain


UNUSUAL = {
    "strided bias": (torch.randn(5, 3), torch.randn(4, 3), torch.arange(8.0)[::2]),
    "bias of one number": (torch.randn(5, 3), torch.randn(4, 3), torch.ones(1)),
    "no inputs": (torch.randn(5, 0), torch.randn(4, 0), torch.ones(4)),
    "float64": (torch.randn(5, 3).double(), torch.randn(4, 3).double(), None),
    "one row": (torch.randn(3), torch.randn(4, 3), torch.randn(4)),
    "no rows": (torch.randn(0, 3), torch.randn(4, 3), torch.randn(4)),
    "transposed": (torch.randn(3, 5).t(), torch.randn(3, 4).t(), torch.randn(4)),
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_arguments_give_what_torch_gives(here, model, name):
    x, weight, bias = UNUSUAL[name]
    want = F.linear(x, weight, bias)
    with torch.no_grad(), fast_linear(model):
        torch.testing.assert_close(F.linear(input=x, weight=weight, bias=bias), want)


def test_the_number_of_kernels_is_limited(here, model, monkeypatch):
    monkeypatch.setattr(linear, "KERNELS", 3)
    weight, calls = torch.randn(4, 3), []
    operation = torch.ops.mkldnn._linear_pointwise
    monkeypatch.setattr(
        torch.ops.mkldnn, "_linear_pointwise", lambda *a: calls.append(len(a[0])) or operation(*a)
    )
    with torch.no_grad(), fast_linear(model):
        for rows in (1, 2, 3, 4, 2, 5):
            assert F.linear(torch.randn(rows, 3), weight).shape == (rows, 4)
    assert calls == [1, 2, 3, 2]


@pytest.mark.parametrize(
    ("capability", "vendor", "faster"),
    [
        ("AVX512", "AuthenticAMD", True),
        ("AVX512", "GenuineIntel", False),
        ("AVX2", "AuthenticAMD", False),
    ],
)
def test_the_kind_of_cpu_is_found(monkeypatch, capability, vendor, faster):
    if not (torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()):
        pytest.skip("this torch has no MKL or no oneDNN")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(linear.Path, "read_text", lambda *_, **__: f"vendor_id : {vendor}")
    monkeypatch.setattr(linear.Path, "exists", lambda _: True)
    assert linear.onednn_is_faster.__wrapped__() is faster
