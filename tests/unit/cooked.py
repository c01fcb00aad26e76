"""A small results folder with a soup that the workflow's own script has cooked."""

from pathlib import Path
from types import SimpleNamespace

import cook
import numpy as np
import torch
import yaml
from torch import Tensor

from soups import files
from soups.data.prepared import identity, write_set
from soups.mixing import recipes
from soups.models import card, checkpoints
from soups.models.pretrained import Pretrained

NAMES = ["cat", "dog", "bird", "fish"]
ROOT = Path(__file__).parents[2]


def cooked(
    folder: Path,
    pretrained: Pretrained,
    recipe: dict | None = None,
    examples: tuple[np.ndarray, dict] | None = None,
    **model,
) -> Path:
    """Write a pre-trained model, a held-out set, two ingredients, their start and a soup.

    Args:
        folder: the results folder.
        pretrained: the pre-trained model.
        recipe: of the soup; None for the uniform soup.
        examples: of the held-out set, with further entries of its metadata; by default images.
        model: keys of the section `model` of the configuration.

    Returns:
        the file of the soup.
    """
    recipe = recipe or recipes.uniform(["m00", "m01"])
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    config["model"] |= model
    heldout = folder / "prepared" / "heldout.npy"
    inputs, more = examples or _images(pretrained.image_size)
    write_set(heldout, inputs, np.arange(8) % 4, identity(NAMES), **more)
    source = folder / "pretrained" / "model.safetensors"
    pretrained.save(source, {})
    paths = SimpleNamespace(pretrained=source, heldout=[heldout])
    note = {"pretrained": files.sha256(source)}
    note |= card.of_job(SimpleNamespace(input=paths, config=config), pretrained)
    generator = torch.Generator().manual_seed(0)
    first = pretrained.classifier(4).state_dict()
    weights = {name: folder / "models" / f"{name}.safetensors" for name in _MODELS}
    for path in weights.values():
        state = {name: _moved(name, value, generator) for name, value in first.items()}
        checkpoints.save(path, state, note)
    files.write_json(folder / "recipes" / "soup.json", recipe)
    paths.recipe, paths.start = folder / "recipes" / "soup.json", [weights["initialization"]]
    paths.weights = [weights["m00"], weights["m01"]]
    entry = {"ingredients": ["m00", "m01"], "start": "initialization"}
    soup = folder / "soups" / "soup.safetensors"
    out = SimpleNamespace(weights=soup, heldout=folder / "soups" / "soup.heldout.npy")
    recalibrate = config["model"]["recalibrate_batch_norm"]
    params = SimpleNamespace(entry=entry, recalibrate=recalibrate)
    cook.main(SimpleNamespace(input=paths, output=out, params=params, config=config))
    return soup


def _images(size: int) -> tuple[np.ndarray, dict]:
    return np.random.default_rng(0).integers(0, 256, (8, size, size, 3), np.uint8), {}


def _moved(name: str, value: Tensor, generator: torch.Generator) -> Tensor:
    """A tensor near another one. Counters stay as they are, and variances positive."""
    if not value.is_floating_point():
        return value
    noise = 0.02 * torch.randn(value.shape, generator=generator)
    return value + (noise.abs() if name.endswith("running_var") else noise)


_MODELS = ("initialization", "m00", "m01")
