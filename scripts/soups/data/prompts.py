"""Class names and sentence templates for prompts. Those of ImageNet come from open_clip."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from soups.data.layouts import imagenet_classes

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
    return [(names or {}).get(name, name.replace("_", " ")) for name in folders]


def templates(given: str | Sequence[str]) -> list[str]:
    """Return sentences with ``{}`` in place of the class name.

    Args:
        given: the sentences, or ``imagenet`` for CLIP's 80 templates.
    """
    if given == IMAGENET:
        return [template("{}") for template in _open_clips().OPENAI_IMAGENET_TEMPLATES]
    return list(given)


@cache
def _open_clips() -> ModuleType:
    """Load open_clip's module of names and templates alone, because importing open_clip is slow."""
    package = Path(importlib.util.find_spec("open_clip").submodule_search_locations[0])
    name = "zero_shot_metadata"
    spec = importlib.util.spec_from_file_location(name, package / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
