"""Small real models for the tests of the doctor: timm's test models, trained a few steps."""

import copy
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import nn

from soups.doctor.admission import Patients
from soups.doctor.examination import Examination, examine
from soups.models import checkpoints
from soups.models.batch_norm import kept
from soups.models.classifier import Classifier
from soups.models.forward import forward

CLASSES, SIZE = 6, 32


def gratings(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of noisy stripes, whose direction is the class, and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    angles = np.pi * labels / CLASSES + rng.normal(0, 0.12, n)
    y, x = np.mgrid[:SIZE, :SIZE]
    along = np.cos(angles)[:, None, None] * x + np.sin(angles)[:, None, None] * y
    waves = np.sin(0.7 * along + rng.uniform(0, 2 * np.pi, n)[:, None, None])
    signs = rng.choice([-1, 1], (n, 1, 1, 3))
    pixels = rng.normal(120, 40, (n, SIZE, SIZE, 3)) + 45 * waves[..., None] * signs
    return pixels.clip(0, 255).astype(np.uint8), labels


TRAIN, HELDOUT, EARLIER = gratings(600, 0), gratings(300, 1), gratings(600, 7)


def fresh(name: str, seed: int = 0) -> Classifier:
    """A timm model with random weights, and a random head."""
    torch.manual_seed(seed)
    options = {"img_size": SIZE} if "vit" in name else {}
    visual = timm.create_model(name, num_classes=0, **options)
    model = Classifier(visual, CLASSES, visual.num_features, (0.5,) * 3, (0.5,) * 3, False)
    return with_head(model, seed)


def with_head(model: Classifier, seed: int) -> Classifier:
    """A copy with a random head."""
    model = copy.deepcopy(model)
    torch.manual_seed(seed)
    nn.init.normal_(model.head.weight, std=model.head.in_features**-0.5)
    return model


def trained(
    model: nn.Module,
    steps: int,
    lr: float,
    seed: int,
    images=TRAIN,
    labels: np.ndarray | None = None,
) -> nn.Module:
    """A trained copy."""
    model = copy.deepcopy(model).train()
    x = torch.from_numpy(images[0])
    y = torch.from_numpy(images[1] if labels is None else labels)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        rows = torch.randint(len(x), (32,), generator=generator)
        optimizer.zero_grad()
        F.cross_entropy(model(x[rows]), y[rows]).backward()
        optimizer.step()
    return model.eval()


def changed(model: nn.Module, change) -> nn.Module:
    """A copy whose floating-point tensors went through a function."""
    model = copy.deepcopy(model)
    state = model.state_dict()
    model.load_state_dict({n: change(t) if t.is_floating_point() else t for n, t in state.items()})
    return model


class Clinic:
    """Models of one architecture on disk, and the doctor.

    Args:
        folder: where files are written.
        name: timm's name.
        start: the model that others are fine-tuned from.
    """

    def __init__(self, folder: Path, name: str, start: nn.Module) -> None:
        self.folder, self.name, self.start = folder, name, start
        self.healthy: dict[str, nn.Module] = {}

    def patients(
        self,
        models: Mapping[str, nn.Module],
        start: nn.Module | None,
        notes: Mapping[str, dict] = {},
    ) -> Patients:
        """Write models, and their held-out logits, as the workflow does."""
        logits, paths = {}, {}
        for name, model in {**models, **({"start": start} if start else {})}.items():
            paths[name] = self.folder / f"{name}.safetensors"
            checkpoints.save(paths[name], model.state_dict(), notes.get(name, {}))
            logits[name] = forward(model, HELDOUT[0], exact=True).numpy()
        return Patients(
            paths={name: paths[name] for name in models},
            logits=logits.__getitem__,
            labels=HELDOUT[1],
            inputs=HELDOUT[0],
            make_model=lambda path: fresh(self.name),
            settle=kept,
            start=paths.get("start"),
            start_logits=logits.get("start"),
        )

    def examine(
        self, models: Mapping[str, nn.Module], start: nn.Module | None = None, **more
    ) -> Examination:
        return examine(self.patients(models, start, **more))
