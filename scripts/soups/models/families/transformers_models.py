"""Models of Hugging Face's transformers, which is an optional package.

Every image classifier of transformers with one linear head is a `TransformersModel`. A folder of a
CLIP has a text tower as well.
"""

import json
import logging
from collections.abc import Mapping
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soups.errors import UserError
from soups.models.architectures import TRANSFORMERS, has_text, is_path
from soups.models.families.transformers_base import FromConfiguration, refusing
from soups.models.pretrained import HALF, Pretrained

# isort: split
# The module above raises a clear error if the optional package is missing.
import tokenizers
from transformers import AutoModelForImageClassification, CLIPModel, PreTrainedConfig

from soups.models.families import transformers_files as beside

log = logging.getLogger("soups")

POOLER = "pooler."  # a layer of models without a head, which no classifier uses


class ClipTower(nn.Module):
    """The image tower of a CLIP with its projection, which gives features of shape (n, width)."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.vision_model, self.visual_projection = clip.vision_model, clip.visual_projection

    def forward(self, images: Tensor) -> Tensor:
        """Features, shape (n, width), of normalised images, shape (n, 3, height, width)."""
        return self.visual_projection(self.vision_model(pixel_values=images).pooler_output)


class TransformersModel(FromConfiguration):
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
        with refusing(architecture):
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
        config = self._read_config(place)
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
    def made_from(self) -> dict:
        made = super().made_from | {"config": self._settings}
        return made | ({"tokenizer": self._tokenizer} if self._tokenizer else {})

    def _config(self, classes: int | None) -> PreTrainedConfig:
        return super()._config(None if self.normalize else classes)

    def _library_model(self, classes: int) -> nn.Module:
        config = self._config(classes)
        if self.normalize:
            return CLIPModel._from_config(config, dtype=torch.float32)
        # Without the last argument, transformers asks at the terminal whether to run code.
        return AutoModelForImageClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )

    def native(self, classes: int) -> dict[str, str | None]:
        if not self.normalize:
            return super().native(classes)
        tower = {f"visual.{name}": self._file_name(name) for name in self.visual.state_dict()}
        return tower | {"head.weight": None, "head.bias": None}

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename tensors of a state dict, or of a model without the head, to those of a file.

        A file of `save_pretrained` has other names than a state dict of the same model. Poolers
        that no classifier uses are left out.
        """
        wanted = set(self._file_names.values())
        named = {self._file_names.get(name, name): value for name, value in state.items()}
        named = self._with_base(named)
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


def _logits(module: nn.Module, given: tuple, output) -> Tensor:
    """Return the logits alone, which are the features of a model without its head."""
    return output.logits
