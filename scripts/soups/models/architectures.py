"""Checks of the configuration's ``model`` section, without importing a model library."""

import importlib.util
import json
from pathlib import Path

from soups.errors import UserError, near

TIMM = "timm/"
WEIGHTS = (".safetensors", ".pt", ".pth", ".bin")


def has_text(model: dict) -> bool:
    """Whether the model has a text tower, which a zero-shot head needs."""
    architecture = model["architecture"]
    return isinstance(architecture, dict) or not architecture.startswith(TIMM)


def check(config: dict) -> None:
    """Check that the ``model`` section is consistent and fits the size of the images.

    Args:
        config: the whole configuration.

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
    if model["pretrained"] is not None:
        _check_source(model, custom)
    if not has_text(model) or not config["data"]["folders"]:
        return  # the import of a timm model checks its image size
    architecture = model["architecture"] if custom else named(model["architecture"])
    if config["data"]["source"] == "folders":
        size = config["data"]["folders"]["image_size"]
        want = architecture["vision_cfg"].get("image_size", 224)
        if size != want:
            raise UserError(
                f"data.folders.image_size is {size}, expected {want}, "
                "the image_size of model.architecture"
            )


def _check_source(model: dict, custom: bool) -> None:
    source = model["pretrained"]
    if not custom and has_text(model):
        named(model["architecture"])
    if source == "train" and not custom:
        raise UserError(
            f"model.architecture is {model['architecture']!r} and model.pretrained is 'train', "
            "expected embed_dim, vision_cfg and text_cfg for a model trained here"
        )
    if source.endswith(WEIGHTS) and not Path(source).is_file():
        raise UserError(f"model.pretrained is {source!r}, expected an existing file")
    made = header(source).get("architecture") if source.endswith(".safetensors") else None
    if made is not None and made != model["architecture"]:
        raise UserError(
            f"model.pretrained is {source!r}, whose architecture is {json.dumps(made)}, "
            f"expected that of model.architecture, {json.dumps(model['architecture'])}"
        )
    if custom and source != "train" and made is None:
        raise UserError(
            f"model.pretrained is {source!r}, expected 'train' or a .safetensors file of this "
            "workflow, because model.architecture is a custom one that no other weights fit"
        )


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
            return json.loads(metadata.get("soups", "{}"))
        except ValueError:
            raise UserError(f"{path} is not a safetensors checkpoint") from None


def named(name: str) -> dict:
    """Read the configuration of an open_clip model without importing open_clip.

    Raises:
        UserError: if open_clip has no model of that name.
    """
    package = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    known = {path.stem: path for path in (Path(package) / "model_configs").glob("*.json")}
    if name not in known:
        raise UserError(f"model.architecture is {name!r}, unknown to open_clip{near(name, known)}")
    return json.loads(known[name].read_text(encoding="utf-8"))
