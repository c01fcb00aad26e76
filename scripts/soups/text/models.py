"""Pre-trained models of texts: encoders and encoder-decoders of Hugging Face's transformers."""

import logging
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from soups import problems
from soups.errors import UserError
from soups.models import checkpoints, sources
from soups.models.architectures import TRANSFORMERS, is_path
from soups.models.families.transformers_base import FromConfiguration, refusing
from soups.text import packages, tokenizing
from soups.text import pooling as poolings
from soups.text.classifier import TextClassifier, arguments
from soups.text.ties import untie

# isort: split
# The modules above raise a clear error if the optional package is missing.
from transformers import AutoModel, AutoModelForSequenceClassification

from soups.models.families import transformers_files as beside
from soups.text import tokenizer

log = logging.getLogger("soups")

SEED = 0  # of layers that a checkpoint lacks
# Entries of a header that describe the tokenizer, see `tokenizer.described`.
TOKENIZER = ("tokenizer", "max_length", "pad", "mask", "special")
POOLER = "pooler"
# Change of a feature by padding, relative to the largest feature, that is more than rounding.
PADDED = 1e-3


class TextModel(FromConfiguration):
    """A model of transformers without its head, and its tokenizer.

    Args:
        architecture: ``transformers/`` and a folder with a config.json, or the name of a
            repository on Hugging Face.
        words: None.
        source: the weights: a file, a folder, or the name of a repository. Without a source, the
            weights are random.
        weights: which weights of a training file are read, "plain" or "ema".
        note: of the header that describes the model, which makes the folder unnecessary. It has
            the two arguments below.
        pooling: a key of `pooling.POOLINGS`.
        max_length: tokens of a text at most, or None for as many as the model takes.

    Attributes:
        pooling, max_length: as above.
        vocabulary: number of token ids that the model takes.

    Raises:
        UserError: if there is no such model, if the pooling, the tokenizer or the length does not
            fit it, or if the weights cannot be loaded.
    """

    normalize = False
    problem = problems.named("text")
    tower_name = "encoder"

    def __init__(
        self,
        architecture: str,
        words: list[str] | None = None,
        source: str | None = None,
        weights: str = "plain",
        note: Mapping | None = None,
        pooling: str = poolings.NATIVE,
        max_length: int | None = None,
    ) -> None:
        self.architecture, self.words = architecture, None
        place = architecture.removeprefix(TRANSFORMERS)
        self.pooling = pooling if note is None else note["pooling"]
        if note is None:
            packages.check_fetched(place)
        with refusing(architecture, "text classifier", self._wanted):
            if note is None:
                self._read_config(place)
            else:
                self._settings = note["config"]
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(SEED)
                self._own = self._library_model(2)
            self.heads = self._linear_heads() if self.pooling == poolings.NATIVE else ()
            if note is None:
                with sources.fetching(None if Path(place).is_dir() else place):
                    note = tokenizer.described(architecture, place, self._own, max_length)
        self._remove_heads(self._own)
        self._tower = self._own
        self._described = {key: note[key] for key in TOKENIZER}
        self.max_length = note["max_length"]
        self.vocabulary = tokenizer.vocabulary(self._own)
        if source:
            self._fill(source if is_path(source) else beside.download(source), weights)

    @property
    def _wanted(self) -> str:
        """What a model needs for the pooling, in words."""
        if self.pooling == poolings.NATIVE:
            return (
                "a classifier of its own, or first or mean as model.pooling (decoder for an "
                "encoder-decoder)"
            )
        return "the states of its tokens as its result"

    @property
    def made_from(self) -> dict:
        """The entries of the header without which the model cannot be built again."""
        made = {"problem": self.problem.name, "architecture": self.architecture}
        return self._described | made | {"config": self._settings, "pooling": self.pooling}

    def save(self, path: str | Path, note: dict, weights: bool = True) -> None:
        checkpoints.save(path, self.whole.state_dict() if weights else {}, note | self.made_from)

    def classifier(self, classes: int) -> TextClassifier:
        return TextClassifier(
            self._own,
            classes,
            self.embed_dim,
            poolings.POOLINGS[self.pooling],
            self._has_types,
            self._described["mask"],
            self._described["special"],
        )

    @cached_property
    def embed_dim(self) -> int:
        """Length of a feature, found by running the encoder on two texts.

        Raises:
            UserError: if the feature of a text depends on the padding behind it.
        """
        batch = torch.from_numpy(tokenizing.encode(self.made_from, ["a", "a b c d"]))
        training, run = self._own.training, poolings.POOLINGS[self.pooling]
        with torch.no_grad(), refusing(self.architecture, "text classifier", self._wanted):
            both, alone = (
                run(self._own.eval(), arguments(rows, self._has_types))
                for rows in (batch, batch[:1, : 2 + batch[0, 0]])
            )
            self._own.train(training)
        if (both[:1] - alone).abs().max() > PADDED * both.abs().max():
            raise UserError(
                f"model.architecture is {self.architecture!r}, whose feature of a text changes "
                "with the padding behind the text, expected a model that ignores padding"
            )
        return both.shape[1]

    @property
    def _has_types(self) -> bool:
        return (getattr(self._own.config, "type_vocab_size", None) or 0) > 1

    def _library_model(self, classes: int) -> nn.Module:
        config = self._config(classes)
        if self.pooling == poolings.DECODER and not config.is_encoder_decoder:
            raise UserError(
                f"model.pooling is 'decoder', but model.architecture {self.architecture!r} has no "
                "decoder, expected native, first or mean"
            )
        auto = AutoModelForSequenceClassification if self.pooling == poolings.NATIVE else AutoModel
        # Without the last argument, transformers asks at the terminal whether to run code.
        own = auto.from_config(config, dtype=torch.float32, trust_remote_code=False)
        if self.pooling != poolings.NATIVE:
            if hasattr(own, POOLER):
                own.pooler = None
            if poolings.is_encoder_decoder(own) and self.pooling != poolings.DECODER:
                own.decoder = None
        self._gone = untie(own)
        return own

    def native(self, classes: int) -> dict[str, str | None]:
        if self.pooling != poolings.NATIVE:
            raise UserError(
                f"model.pooling is {self.pooling!r}, expected 'native' for classifiers that "
                "transformers has trained"
            )
        return super().native(classes)

    def translated(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Rename tensors of a file to those that `transformers` writes now, the head included.

        The file may be of a model with another head or without one, or may be old. Tensors that
        have two names keep one of them. Poolers that no classifier uses are left out.
        """
        named = {_modern(self._file_names.get(name, name)): t for name, t in state.items()}
        wanted, base = set(self._file_names.values()), f"{self._own.base_model_prefix}."
        tries = (
            named,
            {base + name: tensor for name, tensor in named.items()},
            {name.removeprefix(base): tensor for name, tensor in named.items()},
        )
        named = max(tries, key=lambda found: len(found.keys() & wanted))
        for name, kept in self._gone.items():
            if name in named:
                named.setdefault(kept, named[name])
                del named[name]
        unused = [name for name in named if name not in wanted and f"{POOLER}." in name]
        _log_left_out(unused)
        return {name: tensor for name, tensor in named.items() if name not in unused}

    def _without_heads(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Leave out all heads and all parts that the pooling does not need, and add new layers."""
        state = super()._without_heads(state)
        ours = self._own.state_dict()
        known, wanted = {self._part(name) for name in ours}, set(map(self._file_name, ours))
        outside = [
            name
            for name in state
            if self._part(name) not in known or (name not in wanted and self._ignored(name))
        ]
        _log_left_out(outside)
        state = {name: tensor for name, tensor in state.items() if name not in outside}
        return state | self._new_layers(ours, state)

    def _part(self, name: str) -> str:
        """The part of the model that a tensor belongs to: the first part of its name, or two."""
        parts = name.split(".")
        return ".".join(parts[: 2 if parts[0] == self._own.base_model_prefix else 1])

    def _ignored(self, name: str) -> bool:
        """Whether transformers knows that old files of this model have this tensor in vain."""
        patterns = getattr(self._own, "_keys_to_ignore_on_load_unexpected", None) or ()
        return any(re.search(pattern, name) for pattern in patterns)

    def _new_layers(self, ours: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> dict:
        """Random weights of layers that belong to the classifier alone and that the file lacks."""
        base, named = f"{self._own.base_model_prefix}.", {}
        have = {name.rpartition(".")[0] for name in state}
        for name, tensor in ours.items():
            layer = name.rpartition(".")[0]
            alone = self.pooling == poolings.NATIVE and not name.startswith(base)
            if (alone or f"{POOLER}." in name) and layer not in have:
                named[self._file_name(name)] = tensor
        if named:
            log.info(
                "the file has no weights of the classifier's own layers, so these are random "
                "(seed %d): %s",
                SEED,
                ", ".join(sorted({name.rpartition(".")[0] for name in named})),
            )
        return named


def _modern(name: str) -> str:
    """The present name of the gain and the offset of a normalisation, which old files call so."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _log_left_out(names: list[str]) -> None:
    if names:
        log.info("left out, because no text classifier uses them: %s", ", ".join(names))
