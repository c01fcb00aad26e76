"""Exports of image classifiers: their comparison with a library's own model, and the processor."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from soups import files


def compared_logits(ours: nn.Module, theirs: nn.Module, card: Mapping) -> tuple[Tensor, Tensor]:
    """Logits of two models for the same random pixels, see `problems.Problem`."""
    size = card["image_size"]
    pixels = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    have = theirs(pixels)
    return ours(pixels), getattr(have, "logits", have)


def write_processor(folder: Path, card: Mapping) -> None:
    """Write ``preprocessor_config.json``, from which transformers prepares images."""
    size = card["image_size"]
    files.write_json(
        folder / "preprocessor_config.json",
        {
            "image_processor_type": "CLIPImageProcessor",  # it alone resizes the short side
            "do_convert_rgb": True,
            "do_resize": True,
            "size": {"shortest_edge": size},
            "resample": 3,  # bicubic
            "do_center_crop": True,
            "crop_size": {"height": size, "width": size},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": card["mean"],
            "image_std": card["std"],
        },
    )
