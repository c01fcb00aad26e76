"""The folders that other libraries load: weights, configuration and preprocessing."""

from collections.abc import Mapping
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from soups import files, problems
from soups.errors import UserError
from soups.models.architectures import TIMM
from soups.models.checkpoints import Checkpoint
from soups.models.pretrained import Pretrained, bring_in

State = Mapping[str, Tensor]
# Entries of timm's own description of a model that belong to the architecture.
TIMM_KEYS = ("classifier", "first_conv", "pool_size", "fixed_input_size", "license")


def _save(path: Path, state: State) -> None:
    plain = {name: value.detach().contiguous() for name, value in state.items()}
    save_file(plain, path, {"format": "pt"})  # transformers asks for this entry


def write_torchvision(folder: Path, library: nn.Module, card: Mapping, state: State) -> None:
    """Write ``model.pth``, a state dict for ``torchvision.models.get_model``.

    Args:
        folder: an empty folder.
        library: torchvision's model.
        card: of the classifier.
        state: tensors by torchvision's names.
    """
    torch.save(dict(state), folder / "model.pth")


def timm_config(library: nn.Module, card: Mapping) -> dict:
    """The content of timm's config.json.

    Args:
        library: timm's model.
        card: of the classifier.
    """
    size, classes = card["image_size"], len(card["classes"])
    own = {key: library.pretrained_cfg[key] for key in TIMM_KEYS if library.pretrained_cfg.get(key)}
    preprocessing = {
        "input_size": [3, size, size],
        "interpolation": "bicubic",
        "crop_pct": 1.0,
        "crop_mode": "center",
        "mean": card["mean"],
        "std": card["std"],
    }
    return {
        "architecture": card["architecture"].removeprefix(TIMM),
        "num_classes": classes,
        "num_features": library.num_features,
        "label_names": card["classes"],
        "pretrained_cfg": own | preprocessing | {"num_classes": classes},
    }


def write_timm(folder: Path, library: nn.Module, card: Mapping, state: State) -> None:
    """Write ``config.json`` and ``model.safetensors`` for ``timm.create_model("local-dir:…")``.

    Args:
        folder: an empty folder.
        library: timm's model.
        card: of the classifier.
        state: tensors by timm's names.
    """
    _save(folder / "model.safetensors", state)
    files.write_json(folder / "config.json", timm_config(library, card))


def write_huggingface(folder: Path, library: nn.Module, card: Mapping, state: State) -> None:
    """Write a folder for transformers' ``AutoModelFor…Classification.from_pretrained``.

    Args:
        folder: an empty folder.
        library: the model of transformers or timm, with its weights.
        card: of the classifier.
        state: tensors by the library's names.

    Raises:
        UserError: if transformers is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        raise UserError(
            "--to huggingface needs the package transformers "
            "(python -m pip install -r envs/requirements-transformers.txt)"
        ) from error
    names = dict(enumerate(card["classes"]))
    numbers = {name: index for index, name in names.items()}
    if card["architecture"].startswith(TIMM):
        config = timm_config(library, card)
        # transformers removes entries of the dictionaries that it is given.
        made = transformers.TimmWrapperConfig.from_dict(dict(config))
        made.id2label, made.label2id = names, numbers
        made.architectures = ["TimmWrapperForImageClassification"]
        _save(folder / "model.safetensors", {f"timm_model.{n}": v for n, v in state.items()})
        # Its `to_dict` leaves out the names of the classes in transformers' own words.
        files.write_json(
            folder / "config.json",
            {
                **config,
                "architectures": made.architectures,
                "model_type": made.model_type,
                "do_pooling": True,
                "id2label": names,
                "label2id": numbers,
            },
        )
    else:
        library.config.id2label, library.config.label2id = names, numbers
        library.config.problem_type = "single_label_classification"
        library.save_pretrained(folder)
    problems.of_note(card).write_beside(folder, library, card)


def whole_clip(path: str | Path, card: Mapping, pretrained: str | None) -> Pretrained:
    """The pre-trained CLIP of a soup, with its text tower.

    Args:
        path: file of the soup.
        card: of the soup.
        pretrained: see `export.export`.

    Raises:
        UserError: if there is no such model with weights, or if it has another architecture.
    """
    own = Path(path).absolute().parent.parent / "pretrained" / "model.safetensors"
    source = pretrained or str(own)
    if pretrained and not Path(pretrained).exists():
        return bring_in(card["architecture"], pretrained)
    if not Path(source).is_file() or not Checkpoint(source).shapes():
        raise UserError(
            f"{source} has no weights of a text tower, which a whole CLIP needs, expected "
            "--pretrained with the pre-trained model's file or its tag of open_clip"
        )
    model = Pretrained.load(source)
    if model.architecture != card["architecture"]:
        raise UserError(
            f"{source} has the architecture {model.architecture!r}, expected that of {path}, "
            f"{card['architecture']!r}"
        )
    return model


def write_open_clip(folder: Path, clip: Pretrained, card: Mapping, state: State) -> None:
    """Write a folder for ``open_clip.create_model("local-dir:…")``, and the head beside it.

    Args:
        folder: an empty folder.
        clip: the pre-trained model, whose image tower is replaced.
        card: of the classifier.
        state: tensors of the classifier, by its own names.
    """
    tower = {name: value for name, value in state.items() if name.startswith("visual.")}
    whole = clip.whole.state_dict()
    if tower.keys() != (inside := {name for name in whole if name.startswith("visual.")}):
        names = ", ".join(sorted(tower.keys() ^ inside)[:3])
        raise UserError(f"the image tower of the pre-trained model has other tensors ({names})")
    _save(folder / "open_clip_model.safetensors", whole | tower)
    head = {name: state[f"head.{name}"] for name in ("weight", "bias")}
    _save(folder / "head.safetensors", head)
    preprocessing = {
        "mean": list(card["mean"]),
        "std": list(card["std"]),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
    }
    config = {"model_cfg": _model_config(clip), "preprocess_cfg": preprocessing}
    files.write_json(folder / "open_clip_config.json", config)


def _model_config(clip: Pretrained) -> dict:
    """open_clip's description of a CLIP."""
    if "config" in clip.made_from:  # from a repository or a folder
        return clip.made_from["config"]["model_cfg"]
    if isinstance(clip.architecture, str):
        return open_clip.get_model_config(clip.architecture)
    text = {"vocab_size": clip.tokenizer.vocab_size}
    return clip.architecture | {"text_cfg": clip.architecture["text_cfg"] | text}
