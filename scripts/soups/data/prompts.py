"""Class names and sentence templates for prompts. Those of ImageNet come from open_clip."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np

from soups.data.imagenet import imagenet_classes
from soups.data.label_files import composed

IMAGENET = "imagenet"


def display_names(folders: Sequence[str], names: str | dict[str, str] | None) -> list[str]:
    """Return the class name of each class folder in prompts.

    Args:
        folders: class folders.
        names: folder to class name, or ``imagenet`` for folders named by WordNet id. A folder
            without an entry gets its own name, with spaces for underscores.
    """
    if names == IMAGENET:
        names = dict(zip(imagenet_classes(), _open_clips().IMAGENET_CLASSNAMES, strict=True))
    given = {composed(name): title for name, title in (names or {}).items()}
    return [given.get(composed(name), name.replace("_", " ")) for name in folders]


def templates(given: str | Sequence[str]) -> list[str]:
    """Return sentences with ``{}`` in place of the class name.

    Args:
        given: the sentences, or ``imagenet`` for CLIP's 80 templates.
    """
    if given == IMAGENET:
        return [template("{}") for template in _open_clips().OPENAI_IMAGENET_TEMPLATES]
    return list(given)


def captions(
    labels: np.ndarray, titles: Sequence[str], templates: Sequence[str], wrong: float, seed: int
) -> list[str]:
    """Return one caption per image: a random template with the name of the image's class.

    Args:
        labels: class of each image, shape (n,).
        titles: class names in prompts.
        templates: sentences with ``{}`` in place of the class name.
        wrong: probability that a caption names a random class instead.
        seed: seed of the random choices.
    """
    rng = np.random.default_rng(seed)
    out = []
    for label in labels:
        title = titles[rng.integers(len(titles)) if rng.random() < wrong else label]
        out.append(templates[rng.integers(len(templates))].format(title))
    return out


@cache
def _open_clips() -> ModuleType:
    """Load open_clip's module of names and templates alone, because importing open_clip is slow."""
    package = Path(importlib.util.find_spec("open_clip").submodule_search_locations[0])
    name = "zero_shot_metadata"
    spec = importlib.util.spec_from_file_location(name, package / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
