"""Models of Hugging Face's transformers, which is an optional package.

Every image classifier of transformers with one linear head is a `TransformersModel`. A folder of a
CLIP has a text tower as well.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soups.errors import UserError
from soups.models import sources
from soups.models.architectures import TRANSFORMERS, has_text, is_path
from soups.models.families.backbone import Backbone
from soups.models.pretrained import HALF, Pretrained

try:
    import tokenizers
    from transformers import (
        AutoConfig,
        AutoModelForImageClassification,
        CLIPModel,
        PreTrainedConfig,
    )
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.utils import logging as theirs

    from soups.models.families import transformers_files as beside
except ImportError as error:
    raise UserError(
        "model.architecture begins with 'transformers/', expected the package transformers, which "
        "`make transformers` installs (python -m pip install -r envs/requirements-transformers.txt)"
    ) from error

log = logging.getLogger("soups")
theirs.set_verbosity_error()

# Entries of a config.json that fetch code: that of a repository, and compiled kernels.
CODE = ("auto_map", "attn_implementation", "_attn_implementation", "experts_implementation",
        "_experts_implementation")  # fmt: skip
POOLER = "pooler."  # a layer of models without a head, which no classifier uses


class ClipTower(nn.Module):
    """The image tower of a CLIP with its projection, which gives features of shape (n, width)."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = clip.vision_model, clip.visual_projection

    def forward(self, images: Tensor) -> Tensor:
        """Features, shape (n, width), of normalised images, shape (n, 3, height, width)."""
        return self.visual_projection(self.vision_model(pixel_values=images).pooler_output)


class TransformersModel(Backbone):
    """An image classifier of transformers without its head, or a CLIP.

    No code of a repository is ever run.

    Args:
        architecture: ``transformers/`` and a folder with a config.json, or the name of a
            repository on Hugging Face.
        words: None.
        source: the weights: a file, a folder, or the name of a repository. Without a source, the
            weights are random.
        weights: which weights of a training file are read, "plain" or "ema".
        note: of the header that describes the model, which makes the folder unnecessary.

    Attributes:
        normalize: whether the model is a CLIP, whose features have unit length.

    Raises:
        UserError: if there is no such model or the weights cannot be loaded.
    """

    def __init__(
        self,
        architecture: str,
        words: list[str] | None = None,
        source: str | None = None,
        weights: str = "plain",
        note: Mapping | None = None,
    ) -> None:
        self.architecture, self.words = architecture, None
        place = architecture.removeprefix(TRANSFORMERS)
        with _refusing(architecture):
            if note is None:
                self._described_by(place)
            else:
                self._settings = json.loads(json.dumps(note["config"]))
                self._tokenizer, self._size = note.get("tokenizer"), note["image_size"]
                self.mean, self.std = note.get("mean", HALF), note.get("std", HALF)
            self.normalize = self._settings.get("architectures") == ["CLIPModel"]
            self._own = self._library_model(2)
            self.heads = () if self.normalize else self._linear_heads()
        if self.normalize:
            self._tower = ClipTower(self._own)
        else:
            self._remove_heads(self._own)
            self._own.register_forward_hook(_logits)
            self._tower = self._own
        if source:
            folder = source if is_path(source) else beside.download(source)
            self._fill(folder, weights)

    def _described_by(self, place: str) -> None:
        """Read the configuration, pixel statistics and tokenizer of a folder or repository."""
        with sources.fetching(None if Path(place).is_dir() else place):
            config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        # These keys tell where the configuration comes from, and how it was stored.
        drop = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
        kept = json.loads(config.to_json_string(use_diff=False))
        self._settings = {key: value for key, value in kept.items() if key not in drop}
        self._tokenizer = None
        if has_text({"architecture": self.architecture}):
            self._tokenizer = beside.tokenizer(place, config)
        found = beside.processor(place)
        vision = self._settings.get("vision_config") or self._settings
        size = beside.side(found) or beside.number(vision.get("image_size"))
        self.mean, self.std = beside.statistics(found)
        if not found:
            log.info("%s has no %s, so the pixels have mean and std 0.5", place, beside.PROCESSOR)
        if size is None:
            raise UserError(
                f"model.architecture is {self.architecture!r}, whose config.json has no "
                f"image_size, expected a {beside.PROCESSOR} beside it that has the size"
            )
        self._size = size

    @property
    def whole(self) -> nn.Module:
        return self._own

    @property
    def made_from(self) -> dict:
        made = super().made_from | {"config": self._settings}
        return made | ({"tokenizer": self._tokenizer} if self._tokenizer else {})

    def _config(self, classes: int) -> PreTrainedConfig:
        settings = _inert(self._settings)
        if not self.normalize:
            for key in ("id2label", "label2id", "num_labels", "problem_type"):
                settings.pop(key, None)
            settings["num_labels"] = classes
        return AutoConfig.for_model(settings.pop("model_type"), **settings)

    def _library_model(self, classes: int) -> nn.Module:
        config = self._config(classes)
        if self.normalize:
            return CLIPModel._from_config(config, dtype=torch.float32)
        # Without the last argument, transformers asks at the terminal whether to run code.
        return AutoModelForImageClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )

    def _linear_heads(self) -> tuple[str, ...]:
        """Names of the layers whose shapes depend on the number of classes.

        Raises:
            UserError: if one of them is not linear.
        """
        two, changed = self._heads_of()
        for name in changed:
            if not isinstance(two.get_submodule(name), nn.Linear):
                raise UserError(
                    f"model.architecture is {self.architecture!r}, whose layer {name} depends on "
                    "the number of classes, expected a model with one linear layer as its head"
                )
        return tuple(changed)

    def native(self, classes: int) -> dict[str, str | None]:
        if not self.normalize:
            return super().native(classes)
        tower = {f"visual.{name}": self._file_name(name) for name in self.visual.state_dict()}
        return tower | {"head.weight": None, "head.bias": None}

    @cached_property
    def _file_names(self) -> dict[str, str]:
        """Name in a file of transformers of each tensor of the model, which renames some."""
        own = self._library_model(2)
        marked = {name: torch.tensor(i) for i, name in enumerate(own.state_dict())}
        names = list(marked)
        return {
            names[int(value)]: there
            for there, value in revert_weight_conversion(own, marked).items()
        }

    def _file_name(self, name: str) -> str:
        return self._file_names.get(name, name)

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename tensors of a state dict, or of a model without the head, to those of a file.

        A file of `save_pretrained` has other names than a state dict of the same model. Poolers
        that no classifier uses are left out.
        """
        wanted = set(self._file_names.values())
        named = {self._file_names.get(name, name): value for name, value in state.items()}
        base = f"{self._own.base_model_prefix}."
        if not any(name.startswith(base) for name in named):  # of the model without a head
            inner = {f"{base}{name}": value for name, value in named.items()}
            named = inner if len(inner.keys() & wanted) > len(named.keys() & wanted) else named
        unused = [name for name in named if name not in wanted and POOLER in name]
        if unused:
            log.info("left out, because no classifier uses them: %s", ", ".join(unused))
        return {name: value for name, value in named.items() if name not in unused}

    @cached_property
    def tokenizer(self):
        """Function from texts to token ids and their mask, int64, shape (2, n, length)."""
        made = tokenizers.Tokenizer.from_str(self._tokenizer)

        def encode(texts: list[str]) -> Tensor:
            found = made.encode_batch(texts)
            return torch.tensor([[e.ids for e in found], [e.attention_mask for e in found]])

        return encode

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Text features of unit length, shape (n, width), of the tokenizer's result."""
        ids, mask = tokens
        pooled = self._own.text_model(input_ids=ids, attention_mask=mask).pooler_output
        return F.normalize(self._own.text_projection(pooled), dim=-1)

    @property
    def clip(self) -> nn.Module:
        """The library's own CLIP."""
        return self._own

    def text_head(self, names: list[str], templates: list[str]) -> Tensor | None:
        """As `Pretrained.text_head` for the folder of a CLIP, otherwise None."""
        if self._tokenizer is None:
            return None
        return Pretrained.text_head(self, names, templates)


def _inert(settings):
    """A copy of a config.json without the entries `CODE`, at any depth."""
    if isinstance(settings, dict):
        return {key: _inert(value) for key, value in settings.items() if key not in CODE}
    return [_inert(each) for each in settings] if isinstance(settings, list) else settings


def _logits(module: nn.Module, given: tuple, output) -> Tensor:
    """Return the logits alone, which are the features of a model without its head."""
    return output.logits


@contextmanager
def _refusing(architecture: str) -> Iterator[None]:
    """Turn errors of transformers about a configuration into one sentence."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"model.architecture is {architecture!r}, from which transformers makes no image "
            f"classifier ({reason}), expected a model with a linear head or a CLIP"
        ) from error
