"""Checks of the configuration's ``model`` section, without importing a model library."""

import importlib.util
import json
from pathlib import Path

from soups.errors import UserError, near
from soups.models.addresses import (
    HUB,
    LOCAL,
    PREFIXES,
    TIMM,
    TORCHVISION,
    TRANSFORMERS,
    is_path,
    normalised,
    read_config,
)

__all__ = ["HUB", "LOCAL", "TIMM", "TORCHVISION", "TRANSFORMERS", "check", "is_path"]

# Files of a folder that decide what a model computes.
USED = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt", "*.json")
# Files beside a model of transformers: its configuration, and its tokenizer in old folders.
BESIDE = ("*.json", "vocab.txt", "*.model")

# Where the tools of the project write the models that they fetch.
FETCHED = {
    "models/lite0": ("models/lite0/tf_efficientnet_lite0.safetensors", "fetch_lite0.py"),
    "models/minilm": ("models/minilm", "fetch_minilm.py"),
}


def has_text(model: dict) -> bool:
    """Whether the model has a text tower, which a zero-shot head needs.

    A model of transformers has one if it is a CLIP in a folder.
    """
    architecture = model["architecture"]
    if isinstance(architecture, dict) or not architecture.startswith(PREFIXES):
        return True
    folder = architecture.removeprefix(TRANSFORMERS)
    clip = architecture.startswith(TRANSFORMERS) and Path(folder).is_dir()
    return clip and read_config(folder).get("architectures") == ["CLIPModel"]


def files_of(model: dict) -> list[str]:
    """Files that the import of the pre-trained model reads, which are inputs of its job."""
    architecture, source = model["architecture"], model["pretrained"]
    found = []
    if is_path(source):
        found += _files(Path(source)) if Path(source).is_dir() else [source]
    if isinstance(architecture, str) and architecture.startswith((TRANSFORMERS, LOCAL)):
        place = architecture.removeprefix(TRANSFORMERS).removeprefix(LOCAL)
        found += [str(path) for ending in BESIDE for path in sorted(Path(place).glob(ending))]
    return list(dict.fromkeys(found))


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for ending in USED for path in folder.glob(ending))


def check(config: dict) -> None:
    """Check that the ``model`` section is consistent and fits the size of the images.

    Addresses of models in ``architecture`` and ``pretrained`` are replaced by names.

    Args:
        config: the whole configuration. Its ``model`` section is changed in place.

    Raises:
        UserError: one sentence with the key, its value and the expected value.
    """
    model = config["model"]
    if model["templates"] != "imagenet":
        for template in model["templates"]:
            try:
                template.format("x")
            except (IndexError, KeyError, ValueError):
                raise UserError(
                    f"model.templates has {template!r}, expected one {{}} where the class name goes"
                ) from None
    custom = isinstance(model["architecture"], dict)
    if not custom:
        trains = config["ingredients"]["source"] == "train"
        found = normalised(model["architecture"], model["pretrained"], fill=trains)
        model["architecture"], model["pretrained"] = found
    if model["pretrained"] is not None:
        _check_source(model, custom)
    listed = custom or not model["architecture"].startswith((*PREFIXES, HUB, LOCAL))
    if not listed or not config["data"]["folders"]:
        return  # the import of these models checks their image size
    architecture = model["architecture"] if custom else named(model["architecture"])
    if config["data"]["source"] == "folders":
        size = config["data"]["folders"]["image_size"]
        want = architecture["vision_cfg"].get("image_size", 224)
        if size != want:
            raise UserError(
                f"data.folders.image_size is {size}, expected {want}, "
                "the image_size of model.architecture"
            )


def _meant(source: str) -> str:
    """How to get a missing file or folder of weights, or a similar name beside it."""
    path = Path(source)
    for folder, (written, tool) in FETCHED.items():
        if Path(folder) in (path, *path.parents):
            return f". This command writes {written}: python tools/{tool}"
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return near(path.name, [each.name for each in beside])


def _check_source(model: dict, custom: bool) -> None:
    source = model["pretrained"]
    if not custom and not model["architecture"].startswith((*PREFIXES, HUB, LOCAL)):
        named(model["architecture"])
    if source == "train" and not custom:
        raise UserError(
            f"model.architecture is {model['architecture']!r} and model.pretrained is 'train', "
            "expected embed_dim, vision_cfg and text_cfg for a model trained here"
        )
    if is_path(source) and not Path(source).exists():
        raise UserError(
            f"model.pretrained is {source!r}, expected an existing file or folder{_meant(source)}"
        )
    made = header(source).get("architecture") if source.endswith(".safetensors") else None
    if made is not None and made != _plain(model["architecture"]):
        raise UserError(
            f"model.pretrained is {source!r}, whose architecture is {json.dumps(made)}, "
            "expected that of model.architecture, "
            f"{json.dumps(model['architecture'], default=str)}"
        )
    if custom and source != "train" and made is None:
        raise UserError(
            f"model.pretrained is {source!r}, expected 'train' or a .safetensors file of this "
            "workflow, because model.architecture is a custom one that no other weights fit"
        )


def _plain(architecture: str | dict) -> str | dict:
    """The architecture as headers have it, without the tag of timm or torchvision."""
    if isinstance(architecture, str) and architecture.startswith((TIMM, TORCHVISION)):
        return architecture.partition(".")[0]
    return architecture


def header(path: str | Path) -> dict:
    """Read the note in a checkpoint's header without torch; empty if it has no note.

    Raises:
        UserError: if the file is not a safetensors file.
    """
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > 2**26:
            raise UserError(f"{path} is not a safetensors checkpoint")
        try:
            metadata = json.loads(file.read(size)).get("__metadata__", {})
            note = json.loads(metadata.get("soups", "{}"))
        except (ValueError, AttributeError, TypeError, RecursionError):
            raise UserError(f"{path} is not a safetensors checkpoint") from None
    if not isinstance(note, dict):
        raise UserError(f"{path} has a note in its header that is no dictionary")
    return note


def named(name: str) -> dict:
    """Read the configuration of an open_clip model without importing open_clip.

    Raises:
        UserError: if open_clip has no model of that name.
    """
    package = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    known = {path.stem: path for path in (Path(package) / "model_configs").glob("*.json")}
    if name not in known:
        meant = near(name, known) or (
            f"; models of other libraries have a prefix, such as {TIMM}{name} or "
            f"{TORCHVISION}{name}"
        )
        raise UserError(f"model.architecture is {name!r}, unknown to open_clip{meant}")
    return json.loads(known[name].read_text(encoding="utf-8"))
