"""What prompts call classes, and the sentences around them; for ImageNet, open_clip's own."""

import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType

from soups.data.layouts import imagenet_classes

IMAGENET = "imagenet"


def display_names(folders: Sequence[str], names: str | dict[str, str] | None) -> list[str]:
    """What prompts call each class folder.

    Args:
        folders: class folders.
        names: folder to name; or ``imagenet``, for folders called by WordNet id; the folder's
            name with spaces where neither says anything.
    """
    if names == IMAGENET:
        names = dict(zip(imagenet_classes(), _open_clips().IMAGENET_CLASSNAMES, strict=True))
    return [(names or {}).get(name, name.replace("_", " ")) for name in folders]


def templates(given: str | Sequence[str]) -> list[str]:
    """Sentences with a ``{}`` where the class name goes; ``imagenet`` for CLIP's 80."""
    if given == IMAGENET:
        return [template("{}") for template in _open_clips().OPENAI_IMAGENET_TEMPLATES]
    return list(given)


@cache
def _open_clips() -> ModuleType:
    """open_clip's lists, from their file alone: to import all of it takes seconds."""
    package = Path(importlib.util.find_spec("open_clip").submodule_search_locations[0])
    name = "zero_shot_metadata"
    spec = importlib.util.spec_from_file_location(name, package / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
