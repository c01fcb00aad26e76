"""What image models and text models of Hugging Face's transformers share.

The package is optional. This module raises a `UserError` on import if the package is missing.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from soups.errors import UserError, brief
from soups.models import sources
from soups.models.families.backbone import Backbone

try:
    from transformers import AutoConfig, PreTrainedConfig
    from transformers.core_model_loading import revert_weight_conversion
    from transformers.utils import logging as theirs
except ImportError as error:
    raise UserError(
        "model.architecture begins with 'transformers/', expected the package transformers, which "
        "`make transformers` installs (python -m pip install -r envs/requirements-transformers.txt)"
    ) from error

theirs.set_verbosity_error()

# Entries of a config.json that fetch code: that of a repository, and compiled kernels.
CODE = ("auto_map", "attn_implementation", "_attn_implementation", "experts_implementation",
        "_experts_implementation")  # fmt: skip
# Entries that tell where a configuration comes from, and how it was stored.
ORIGIN = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
# Entries that describe the classes of a model.
CLASSES = ("id2label", "label2id", "num_labels", "problem_type")


class FromConfiguration(Backbone):
    """A model of transformers that a config.json describes, without its head.

    No code of a repository is ever run. A subclass sets these attributes.

    Attributes:
        _settings: the config.json as a dictionary, without `ORIGIN`.
        _own: the library's model.
    """

    _settings: dict
    _own: nn.Module

    @property
    def whole(self) -> nn.Module:
        return self._own

    def _read_config(self, place: str) -> PreTrainedConfig:
        """Read the configuration of a folder or repository, and set ``_settings``."""
        with sources.fetching(None if Path(place).is_dir() else place):
            config = AutoConfig.from_pretrained(place, trust_remote_code=False)
        kept = json.loads(config.to_json_string(use_diff=False))
        self._settings = {key: value for key, value in kept.items() if key not in ORIGIN}
        return config

    def _config(self, classes: int | None) -> PreTrainedConfig:
        """The configuration with a number of classes, or as it is if the number is None."""
        settings = inert(self._settings)
        if classes is not None:
            for key in CLASSES:
                settings.pop(key, None)
            settings["num_labels"] = classes
        return AutoConfig.for_model(settings.pop("model_type"), **settings)

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

    def _with_base(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Give tensors of a model without a head the names that they have in a whole model.

        Args:
            state: tensors by their names in a file.
        """
        wanted = set(self._file_names.values())
        base = f"{self._own.base_model_prefix}."
        if any(name.startswith(base) for name in state):
            return dict(state)
        inner = {f"{base}{name}": value for name, value in state.items()}
        return inner if len(inner.keys() & wanted) > len(state.keys() & wanted) else dict(state)


def inert(settings):
    """A copy of a config.json without the entries `CODE`, at any depth."""
    if isinstance(settings, dict):
        return {key: inert(value) for key, value in settings.items() if key not in CODE}
    return [inert(each) for each in settings] if isinstance(settings, list) else settings


@contextmanager
def refusing(
    architecture: str, made: str = "image classifier", wanted: str = "a linear head or a CLIP"
) -> Iterator[None]:
    """Turn errors of transformers about a configuration into one sentence.

    Args:
        architecture: ``model.architecture``.
        made: what is made from the configuration.
        wanted: what the model should have.
    """
    try:
        yield
    except UserError:
        raise
    except (ValueError, KeyError, AttributeError, TypeError, OSError) as error:
        reason = brief(error)
        raise UserError(
            f"model.architecture is {architecture!r}, from which transformers makes no {made} "
            f"({reason}), expected a model with {wanted}"
        ) from error
