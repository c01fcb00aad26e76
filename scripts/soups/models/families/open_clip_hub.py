"""Models of open_clip in a repository on Hugging Face or in a folder, outside open_clip's lists."""

import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from open_clip import create_model, get_tokenizer
from torch import nn

from soups.errors import UserError, brief
from soups.models import sources
from soups.models.architectures import LOCAL
from soups.models.pretrained import Pretrained

CONFIG = "open_clip_config.json"


class OpenClipHub(Pretrained):
    """A CLIP that open_clip's ``open_clip_config.json`` describes.

    Args:
        architecture: ``hf-hub:ORG/NAME`` or ``local-dir:FOLDER``.
        words: None.
        source: the weights: the same address of a repository, a file or a folder. Without a
            source, the weights are random.
        weights: which weights of a training file are read, "plain" or "ema".
        note: of the header that describes the model, which makes the folder unnecessary.

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
        self._settings = _config(architecture) if note is None else _described(note, architecture)
        if source and source == architecture:
            with sources.fetching(source):
                self.clip = create_model(architecture, require_pretrained=True)
        else:
            self.clip = self._library_model()
            if source:
                sources.fill_clip(self.clip, sources.contents(source, weights).state, source)
        self.mean, self.std = self.clip.visual.image_mean, self.clip.visual.image_std

    @property
    def _text(self) -> Mapping:
        text = self._settings["model_cfg"].get("text_cfg")
        return text if isinstance(text, Mapping) else {}

    def _library_model(self) -> nn.Module:
        if self._text.get("hf_model_name"):
            _ask_nothing()
        with TemporaryDirectory() as folder:
            Path(folder, CONFIG).write_text(json.dumps(self._settings), encoding="utf-8")
            with sources.fetching(None):
                return create_model(f"{LOCAL}{folder}", load_weights=False)

    @property
    def made_from(self) -> dict:
        return {"config": self._settings}

    @cached_property
    def tokenizer(self):
        """Function from texts to token ids.

        Raises:
            UserError: if the tokenizer is one of transformers and cannot be loaded.
        """
        named = self._text.get("hf_tokenizer_name")
        if named:
            try:
                # The files of this tokenizer are in the folder or the repository alone. The last
                # argument overrides an entry of the configuration that would run code.
                return get_tokenizer(self.architecture, trust_remote_code=False)
            except (ImportError, OSError, ValueError) as error:
                reason = brief(error)
                raise UserError(
                    f"model.architecture is {self.architecture!r}, whose tokenizer {named!r} "
                    f"cannot be loaded ({reason}), expected the package transformers and the files "
                    "of the tokenizer"
                ) from error
        with TemporaryDirectory() as folder:
            Path(folder, CONFIG).write_text(json.dumps(self._settings), encoding="utf-8")
            return get_tokenizer(f"{LOCAL}{folder}")


def _ask_nothing() -> None:
    """Let transformers refuse a repository's code, instead of asking whether to run it."""
    try:
        from transformers import dynamic_module_utils
    except ImportError:
        return  # open_clip says that the package is missing
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0


def _described(note: Mapping, architecture: str) -> dict:
    """The description of a model in the header of a file.

    Raises:
        UserError: if there is none.
    """
    settings = note.get("config")
    if not isinstance(settings, dict) or not isinstance(settings.get("model_cfg"), dict):
        raise UserError(
            f"the header of a file with the architecture {architecture!r} has no config with "
            "'model_cfg', expected a file of this workflow"
        )
    return settings


def _config(architecture: str) -> dict:
    """The description of a model in a repository or folder.

    Raises:
        UserError: if there is none.
    """
    place = architecture.partition(":")[2]
    path = Path(place, CONFIG)
    if not architecture.startswith(LOCAL):
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

        with sources.fetching(architecture):
            try:
                path = Path(hf_hub_download(place, CONFIG))
            except EntryNotFoundError as error:
                if isinstance(error, LocalEntryNotFoundError):
                    raise
                raise UserError(
                    f"model.architecture is {architecture!r}, a repository without {CONFIG}, "
                    f"expected one of open_clip, or 'transformers/{place}' or a name of timm"
                ) from error
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if "model_cfg" not in settings:
        raise UserError(
            f"model.architecture is {architecture!r}, expected a folder with an {CONFIG} that has "
            "'model_cfg'"
        )
    return settings
