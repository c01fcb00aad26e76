"""Fine-tuned models in files as people have them, for tests."""

import argparse
from pathlib import Path

import timm
import torch

CLASSES = 3


def fine_tuned(
    architecture: str, models: int, noise: float = 0.02, seed: int = 0
) -> list[dict[str, torch.Tensor]]:
    """State dicts of models near a common start, the first of which is the start itself."""
    torch.manual_seed(seed)
    start = timm.create_model(architecture, num_classes=CLASSES).state_dict()
    out = [start]
    for i in range(models):
        generator = torch.Generator().manual_seed(i)
        out.append({
            name: value + noise * value.std() * torch.randn(value.shape, generator=generator)
            if value.is_floating_point() and value.numel() > 1 else value
            for name, value in start.items()
        })  # fmt: skip
    return out


def save_as_timm(path: Path, architecture: str, state: dict, average: dict | None = None) -> None:
    """Save a model as timm's train.py does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "epoch": 3,
        "arch": architecture,
        "state_dict": state,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]},
        "version": 2,
        "args": argparse.Namespace(model=architecture, lr=0.1),
        "metric": 71.5,
    }
    torch.save(content | ({"state_dict_ema": average} if average else {}), path)
