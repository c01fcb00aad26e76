"""Which architecture a checkpoint has, by the name in the file or by names and shapes of tensors.

`architectures.json` beside this module lists a hash of the tensors of every model that timm,
torchvision and open_clip build. tools/index_architectures.py writes it. Models that it finds are
built on torch's meta device, which allocates no memory for weights, and compared tensor by tensor.
"""

import contextlib
import hashlib
import json
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import nn

from soups.files import read_json
from soups.models.architectures import TIMM, TORCHVISION, TRANSFORMERS
from soups.models.foreign.reading import Contents

Shapes = Mapping[str, tuple[int, ...]]
INDEX = Path(__file__).with_name("architectures.json")
VISUAL = "visual."  # the image tower of a CLIP
_HEAD = re.compile(r"(^|\.)(head|heads|head_dist|fc|classifier|classif|last_linear)(\.|$)")


@dataclass(frozen=True)
class Found:
    """The architectures that a checkpoint may have.

    Attributes:
        names: architectures as in ``model.architecture``. Several have tensors of the same names
            and shapes, and the file does not say which of them it is.
        how: where the names come from: "header", "config.json", "name in the file", "tensors", or
            "" if no architecture is found.
        classes: number of classes of the head, or None if the file has no head.
    """

    names: list
    how: str
    classes: int | None


def architectures(contents: Contents) -> Found:
    """Find the architecture of a checkpoint.

    Args:
        contents: the checkpoint, see `reading.read`.
    """
    shapes = shapes_of(contents)
    classes = classes_in(shapes)
    made = contents.note.get("model")
    card = made if isinstance(made, dict) else {}
    if own := card.get("architecture") or contents.note.get("architecture"):
        return Found([own], "header", classes)
    if name := _of_config(contents):
        return Found([name], "config.json", classes)
    named = list(_named(contents.arch)) if contents.arch else []
    fitting = [name for name in named if fits(shapes, name)]
    if fitting:
        # timm and torchvision have some models in common, which compute the same.
        theirs = [name for name in fitting if name.startswith(TORCHVISION)]
        chosen = theirs if theirs and _of_torchvision(contents) else fitting
        return Found(chosen[:1], "name in the file", classes)
    if searched := search(shapes):
        return Found(searched, "tensors", classes)
    return Found(named[:1], "name in the file" if named else "", classes)


def shapes_of(contents: Contents) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a checkpoint."""
    return {name: tuple(tensor.shape) for name, tensor in contents.state.items()}


def classes_in(shapes: Shapes) -> int | None:
    """Number of classes, from the last matrix whose name is that of a head."""
    rows = [
        shape[0]
        for name, shape in shapes.items()
        if _HEAD.search(name) and name.endswith("weight") and len(shape) in (2, 4)
    ]
    return rows[-1] if rows else None


def _of_config(contents: Contents) -> str | None:
    """The architecture that the config.json of a folder gives."""
    config = contents.config or {}
    if isinstance(config.get("architecture"), str):  # timm's on the hub
        return TIMM + config["architecture"]
    if config.get("model_type"):
        return TRANSFORMERS + str(contents.path)
    return None


def _of_torchvision(contents: Contents) -> bool:
    """Whether a file has the layout of torchvision's reference training.

    Its weights are under ``model`` or ``model_ema``. timm's are under ``state_dict``.
    """
    return contents.wrappers[:1] in (["model"], ["model_ema"])


def _named(arch: str) -> Iterator[str]:
    """Architectures of all libraries that have a name."""
    import timm
    import torchvision
    from open_clip import list_models

    base = arch.removeprefix(TIMM).split(".")[0]
    if timm.is_model(base):
        yield TIMM + base
    name = arch.removeprefix(TORCHVISION).lower()
    if name in torchvision.models.list_models(module=torchvision.models):
        yield TORCHVISION + name
    if (name := arch.replace("/", "-")) in list_models():
        yield name


def fits(shapes: Shapes, architecture: str) -> bool:
    """Whether a checkpoint has all tensors of an architecture with their shapes, and no others.

    Only the number of classes may differ. A CLIP needs its image tower alone.

    Args:
        shapes: tensor of the checkpoint to its shape.
        architecture: a name of timm, torchvision or open_clip, see `Found`.
    """
    built = _built(architecture)
    if built is None:
        return False
    want, heads = built
    if not architecture.startswith((TIMM, TORCHVISION)):
        return bool(want) and _tower(shapes) == want
    if want.keys() != shapes.keys():
        return False
    prefixes = tuple(f"{head}." for head in heads)
    return all(
        shapes[name] == shape or (name.startswith(prefixes) and shapes[name][1:] == shape[1:])
        for name, shape in want.items()
    )


def search(shapes: Shapes) -> list[str]:
    """All architectures of timm, torchvision and open_clip that a checkpoint fits.

    timm and torchvision have some models in common. Both names are returned, because a
    plain state dict does not say which library made it.
    """
    found = []
    for heads, by_hash in read_json(INDEX)["architectures"].items():
        key = _hash(_tower(shapes), ()) if heads == VISUAL else _hash(shapes, heads.split())
        found += [name for name in by_hash.get(key, []) if fits(shapes, name)]
    return found


def index() -> dict:
    """Hashes of the tensors of all models that the three libraries build, for `INDEX`.

    Returns:
        names of the heads, or `VISUAL` for image towers, to a hash to the names of the models.
    """
    import timm
    import torchvision

    names = [TIMM + name for name in timm.list_models()]
    names += [TORCHVISION + n for n in torchvision.models.list_models(module=torchvision.models)]
    out: dict[str, dict[str, list[str]]] = {}
    for name in [*names, *_clips()]:
        built = _built(name)
        if built is None or not built[0]:
            continue
        clip = not name.startswith((TIMM, TORCHVISION))
        heads = VISUAL if clip else " ".join(built[1])
        key = _hash(built[0], () if clip else built[1])
        out.setdefault(heads, {}).setdefault(key, []).append(name)
    return out


def _hash(shapes: Shapes, heads: Iterable[str]) -> str:
    """Hash of the names and shapes of tensors, without the number of classes of the heads."""
    prefixes = tuple(f"{head}." for head in heads)
    lines = sorted(
        f"{name} {('*', *shape[1:]) if prefixes and name.startswith(prefixes) else shape}"
        for name, shape in shapes.items()
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]


@contextlib.contextmanager
def _meta() -> Iterator[None]:
    """Build modules without memory, and without the libraries' remarks about random weights."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with torch.device("meta"):
            yield
    finally:
        logging.disable(before)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


@cache
def _built(architecture: str) -> tuple[Shapes, tuple[str, ...]] | None:
    """Shapes and heads of a model, None if it cannot be built on the meta device."""
    if architecture.startswith(TIMM):
        build, name = _timm, architecture.removeprefix(TIMM)
    elif architecture.startswith(TORCHVISION):
        build, name = _torchvision, architecture.removeprefix(TORCHVISION)
    else:
        build, name = _clip, architecture
    try:
        with _meta():
            return build(name)
    except (RuntimeError, NotImplementedError, ValueError, TypeError, ImportError, OSError):
        return None  # unknown, or a model that computes with its weights when it is built


def _timm(name: str) -> tuple[Shapes, tuple[str, ...]]:
    import timm

    # Some models have no head by default.
    model = timm.create_model(name, num_classes=2)
    heads = model.pretrained_cfg.get("classifier") or ()
    return _shapes(model), (heads,) if isinstance(heads, str) else tuple(heads)


def _torchvision(name: str) -> tuple[Shapes, tuple[str, ...]]:
    import torchvision

    model = torchvision.models.get_model(name)
    layers = [n for n, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    convolutions = [n for n, layer in model.named_modules() if isinstance(layer, nn.Conv2d)]
    return _shapes(model), tuple(layers[-1:] or convolutions[-1:])


def _clip(name: str) -> tuple[Shapes, tuple[str, ...]]:
    from open_clip import get_model_config
    from open_clip.model import _build_vision_tower  # the public functions move weights to a device

    settings = get_model_config(name)
    if settings is None:
        raise ValueError(f"open_clip has no model {name}")
    gelu = settings.get("quick_gelu", False)
    tower = _build_vision_tower(settings["embed_dim"], settings["vision_cfg"], gelu)
    return {VISUAL + key: shape for key, shape in _shapes(tower).items()}, ()


def _clips() -> list[str]:
    """Models of open_clip, each image tower once, under the name of the plainest CLIP with it."""
    from open_clip import get_model_config, list_models

    towers: dict[str, list[str]] = {}
    plain = {}
    for name in list_models():
        settings = get_model_config(name)
        # A model with a decoder of text asks its tower for more outputs, beside the same features.
        vision = {k: v for k, v in settings["vision_cfg"].items() if k != "output_tokens"}
        key = [settings["embed_dim"], vision, settings.get("quick_gelu", False)]
        towers.setdefault(json.dumps(key, sort_keys=True), []).append(name)
        other = "multimodal_cfg" in settings or "hf_model_name" in settings["text_cfg"]
        plain[name] = (other, len(name), name)
    return sorted(min(names, key=plain.__getitem__) for names in towers.values())


def _tower(shapes: Shapes) -> dict[str, tuple[int, ...]]:
    """The tensors of the image tower. The names may have further parts before ``visual.``."""
    return {
        name[name.index(VISUAL) :]: shape
        for name, shape in shapes.items()
        if name.startswith(VISUAL) or f".{VISUAL}" in name
    }
