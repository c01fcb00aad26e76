"""The memory layout in which a model of convolutions trains fastest.

In the layout "channels last", the values of all channels of a pixel are neighbours in memory. The
kernels of oneDNN and cuDNN work in it. Images have it when they are read, and lose it when they are
augmented.
"""

import torch
from torch import nn

from soups.jobs import compute, devices


def layout_of(model: nn.Module) -> torch.memory_format:
    """The memory layout for the training of a model, by `compute.channels_last`.

    By default, models with several convolutions get channels last on a CPU, and on a CUDA GPU in
    half precision, for which its tensor cores work in this layout. A single convolution is the
    patch embedding of a ViT, to which the layout makes no difference.
    """
    wanted = compute.current().channels_last
    if wanted == "auto":
        convolutions = sum(isinstance(part, nn.Conv2d) for part in model.modules())
        half = compute.current().precision != "float32"
        wanted = convolutions > 1 and {"cpu": True, "cuda": half}.get(devices.kind(), False)
    return torch.channels_last if wanted else torch.preserve_format
