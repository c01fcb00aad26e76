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
    with suppress(KeyboardInterrupt), fast_linear(model):
        assert F.linear is not plain
        raise KeyboardInterrupt
    assert F.linear is plain
    assert torch.backends.mha.get_fastpath_enabled() == fused


def test_other_cpus_and_other_functions_keep_torch_as_it_is(model, monkeypatch):
    plain = F.linear
    for faster, runs in ((False, (model, model.features)), (True, (lambda x: x, nn.ReLU()))):
        monkeypatch.setattr(linear, "onednn_is_faster", lambda faster=faster: faster)
        for run in runs:
            with fast_linear(run):
                assert F.linear is plain


def test_the_kind_of_cpu_is_found():
    assert linear.onednn_is_faster() in (True, False)
