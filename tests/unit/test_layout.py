"""The memory layout of models with convolutions, see `soups.training.layout`."""

import pytest
import torch
from torch import nn

from soups.training.layout import layout_of


@pytest.mark.parametrize(
    ("wanted", "convolutions", "expected"),
    [
        ("auto", 2, torch.channels_last),
        ("auto", 1, torch.preserve_format),  # as in a ViT
        (True, 1, torch.channels_last),
        (False, 2, torch.preserve_format),
    ],
)
def test_models_with_several_convolutions_get_channels_last(
    configured, wanted, convolutions, expected
):
    configured(device="cpu", channels_last=wanted)
    model = nn.Sequential(*(nn.Conv2d(3, 3, 3) for _ in range(convolutions)), nn.Flatten())
    assert layout_of(model) is expected
