"""Addresses of models as libraries and web pages write them, without importing any library.

`normalised` turns an address into a name with the prefix of its family, and the tag or place of its
weights.
"""

import ast
import importlib.util
import json
import re
from functools import cache
from pathlib import Path

from soups.errors import UserError
from soups.models.file_names import ENDINGS

TIMM, TORCHVISION, TRANSFORMERS = "timm/", "torchvision/", "transformers/"
HUB, LOCAL = "hf-hub:", "local-dir:"
PREFIXES = (TIMM, TORCHVISION, TRANSFORMERS)
PATHS = (*ENDINGS, ".pickle", ".npz", ".model")  # a source that ends so is a path
MADE = ("train", "random")  # values of model.pretrained that name no weights made elsewhere
SHIPPED = "results/recorded/pretrained/"  # the default of model.pretrained lies here

_SITE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(.+)")
_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_TREE = re.compile(r"([^/]+/[^/]+)(?:/(?:tree|blob|resolve)/([^/?]+)(?:/.*)?)?/?(?:\?.*)?")

# OpenAI's own names, and those of the same models in transformers, by open_clip's name.
OPENAI = {
    "ViT-B-32": ("ViT-B/32", "openai/clip-vit-base-patch32"),
    "ViT-B-16": ("ViT-B/16", "openai/clip-vit-base-patch16"),
    "ViT-L-14": ("ViT-L/14", "openai/clip-vit-large-patch14"),
    "ViT-L-14-336": ("ViT-L/14@336px", "openai/clip-vit-large-patch14-336"),
}
_OPENAI = {address: name for name, both in OPENAI.items() for address in both}
# Names of OpenAI's CLIP are written as OpenAI does, and the weights decide the activation.
_BY_OPENAI = {both[0] for both in OPENAI.values()}


def is_path(source: str | None) -> bool:
    """Whether weights come from a file or folder, and not from a tag or an address."""
    if not source or source in MADE:
        return False
    path = source.lower()
    clear = path.endswith(PATHS) or path.startswith(("/", "./", "../", "~"))
    return clear or Path(source).exists() or (source.count("/") > 1 and "://" not in source)


def normalised(architecture: str, pretrained: str | None, fill: bool) -> tuple[str, str | None]:
    """Name of a model with its family's prefix, and the tag or place of its weights.

    Args:
        architecture: ``model.architecture`` as it was written.
        pretrained: ``model.pretrained`` as it was written.
        fill: whether null stands for the weights at the address of the architecture.

    Returns:
        the architecture and the weights as the rest of the library knows them.

    Raises:
        UserError: if the two contradict each other, or if an address has no clear meaning.
    """
    name, weights = _resolved(architecture, "model.architecture", pretrained)
    given = pretrained is not None and not pretrained.startswith(SHIPPED)
    if not given:
        missing = weights is not None and (fill or pretrained is not None)
        return (name, weights) if missing else (_with_tag(name, weights), pretrained)
    if pretrained in MADE:
        return name, pretrained
    if pretrained.startswith(LOCAL):
        pretrained = pretrained.removeprefix(LOCAL)
    if is_path(pretrained):
        return _with_tag(name, weights if weights != pretrained else None), pretrained
    theirs = _weights(name, pretrained)
    if weights is not None and theirs != weights:
        raise UserError(
            f"model.architecture is {architecture!r} and model.pretrained is {pretrained!r}, "
            f"expected the same weights in both, or model.architecture {name!r}"
        )
    return name, theirs


def _with_tag(name: str, tag: str | None) -> str:
    """The name with a tag that decides pixel statistics, where the weights come from elsewhere."""
    tagged = tag and name.startswith((TIMM, TORCHVISION)) and not is_path(tag)
    return f"{name}.{tag}" if tagged else name


def _weights(name: str, pretrained: str) -> str:
    """The tag or place that ``model.pretrained`` gives, which may be a whole address."""
    if name.startswith((TIMM, TORCHVISION)):
        bare = name.partition("/")[2]
        if pretrained.startswith(f"{bare}."):
            return pretrained.removeprefix(f"{bare}.")
    if name.startswith(TRANSFORMERS) and not pretrained.startswith(PREFIXES):
        bare = _repository(pretrained, "model.pretrained").removeprefix(HUB)
        if _REPOSITORY.fullmatch(bare):
            return bare
    repository = _REPOSITORY.fullmatch(pretrained)
    marked = (HUB, "hf_hub:", *PREFIXES)
    address = _SITE.fullmatch(pretrained) or pretrained.startswith(marked) or repository
    if not address:
        return pretrained
    other, weights = _resolved(pretrained, "model.pretrained", None)
    if other != name or weights is None:
        raise UserError(
            f"model.pretrained is {pretrained!r}, whose model is {other!r}, expected weights of "
            f"model.architecture {name!r}"
        )
    return weights


def _resolved(address: str, key: str, tag: str | None) -> tuple[str, str | None]:
    """Name of the model at an address, and the tag or place of its weights if it tells them.

    Args:
        address: any form.
        key: the configuration key that has it, for messages.
        tag: ``model.pretrained``, which decides between models with the same name by OpenAI.
    """
    if address.startswith(LOCAL):
        return _folder(address.removeprefix(LOCAL), key)
    family = next((prefix for prefix in PREFIXES if address.startswith(prefix)), "")
    place = _repository(address.removeprefix(family), key)
    hub = place.startswith(HUB)
    bare = place.removeprefix(HUB)
    if family == TRANSFORMERS:
        return TRANSFORMERS + bare, bare
    if not family and bare.startswith((TIMM, TORCHVISION, TRANSFORMERS)):
        return _resolved(bare, key, tag)
    if family and not hub:
        if family == TIMM and f"{family}{bare}" in hubs() and bare != bare.lower():
            return hubs()[f"{family}{bare}"]
        name, _, own = bare.partition(".")
        return family + name, own or None
    if hub and family == TIMM:
        if "/" in bare.removeprefix(TIMM):
            raise UserError(
                f"{key} is {address!r}, expected a model that timm lists by name, or local-dir: "
                "and a folder into which the repository was downloaded"
            )
        return _resolved(TIMM + bare.removeprefix(TIMM), key, tag)
    if bare in _OPENAI:
        name = _OPENAI[bare]
        if bare in _BY_OPENAI and _is_other_tag(name, tag):
            return name, None
        return f"{name}-quickgelu", "openai"
    if bare in hubs():
        return hubs()[bare]
    if not hub and Path(bare).is_dir():
        return _folder(bare, key)
    if hub or bare.startswith("laion/"):
        return HUB + bare, HUB + bare
    if _REPOSITORY.fullmatch(bare):
        return TRANSFORMERS + bare, bare
    return bare, None


def _is_other_tag(name: str, tag: str | None) -> bool:
    """Whether open_clip has weights with this tag for the variant without quick GELU alone."""
    return tag in tags().get(name, {}) and tag not in tags().get(f"{name}-quickgelu", {})


def _repository(address: str, key: str) -> str:
    """Strip the name of a web site; a repository on Hugging Face then begins with `HUB`.

    Raises:
        UserError: if the address names a revision other than the newest.
    """
    for prefix in (HUB, "hf_hub:"):
        if address.startswith(prefix):
            return HUB + address.removeprefix(prefix)
    site = _SITE.fullmatch(address)
    if site is None:
        return address
    found = _TREE.fullmatch(site[1])
    if found is None or found[2] not in (None, "main"):
        raise UserError(
            f"{key} is {address!r}, expected the address of a repository with its newest version, "
            "such as https://huggingface.co/ORG/NAME"
        )
    return found[1]


def _folder(folder: str, key: str) -> tuple[str, str]:
    """The model that the configuration in a folder describes, and the folder of its weights."""
    if Path(folder, "open_clip_config.json").is_file():
        return LOCAL + folder, folder
    settings = read_config(folder)
    if "model_type" in settings:
        return TRANSFORMERS + folder, folder
    if isinstance(settings.get("architecture"), str):
        return TIMM + settings["architecture"].partition(".")[0], folder
    raise UserError(
        f"{key} is {folder!r}, a folder without a config.json of transformers or timm and without "
        "an open_clip_config.json, expected the name of a model or such a folder"
    )


def read_config(folder: str) -> dict:
    """The config.json of a folder; empty if it has none that can be read."""
    try:
        found = json.loads(Path(folder, "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


@cache
def hubs() -> dict[str, tuple[str, str]]:
    """Architecture and tag of open_clip by the repository of the weights."""
    found: dict[str, tuple[str, str]] = {}
    for name, each in tags().items():
        for tag, settings in each.items():
            repository = "/".join(settings.get("hf_hub", "").split("/")[:2])
            quick = settings.get("quick_gelu", False) and not name.endswith("-quickgelu")
            # timm has image towers of its own in the repositories of this spelling.
            if repository and not re.fullmatch(r"timm/[a-z0-9_.]+", repository):
                found.setdefault(repository, (f"{name}-quickgelu" if quick else name, tag))
    return found


@cache
def tags() -> dict[str, dict[str, dict]]:
    """The table of weights in open_clip's source: settings by architecture and tag.

    The source is read as text, because importing open_clip takes seconds.
    """
    package = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    source = Path(package, "pretrained.py").read_text(encoding="utf-8")
    tables: dict[str, dict] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            tables[node.targets[0].id] = _table(node.value, tables)
    plain = tables.get("_PRETRAINED", {})
    quick = {
        f"{name}-quickgelu": {tag: s for tag, s in each.items() if s.get("quick_gelu")}
        for name, each in plain.items()
    }
    return plain | {name: each for name, each in quick.items() if each}


def _table(node: ast.expr, tables: dict[str, dict]) -> dict:
    """The value of ``dict(...)``, ``{...}``, ``_pcfg(...)`` or a name of one of them."""
    if isinstance(node, ast.Name):
        return tables.get(node.id, {})
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {k.value: _table(v, tables) for k, v in pairs if isinstance(k, ast.Constant)}
    if not isinstance(node, ast.Call):
        return {}
    return {
        each.arg: each.value.value if isinstance(each.value, ast.Constant)
        else _table(each.value, tables)
        for each in node.keywords if each.arg
    }  # fmt: skip
