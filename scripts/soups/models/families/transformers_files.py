"""Files beside the weights in a folder of transformers, and the download of a repository."""

import json
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
from transformers import AutoTokenizer, PreTrainedConfig

from soups.errors import UserError
from soups.models import sources
from soups.models.pretrained import HALF

PROCESSOR = "preprocessor_config.json"


def download(name: str) -> str:
    """Fetch a repository's weights and configuration into the cache, and return the folder."""
    with sources.fetching(name):
        folder = snapshot_download(
            name, allow_patterns=["config.json", "model*.safetensors", "model*.json"]
        )
        if not any(Path(folder).glob("model*.safetensors")):
            folder = snapshot_download(
                name, allow_patterns=["config.json", "pytorch_model*.bin", "pytorch_model*.json"]
            )
    return folder


def processor(place: str) -> dict:
    """The settings of a model's image processor, or an empty dictionary if it has none."""
    path = Path(place, PROCESSOR)
    if not Path(place).is_dir():
        with sources.fetching(place):
            try:
                path = Path(hf_hub_download(place, PROCESSOR))
            except LocalEntryNotFoundError:  # it may exist, but the network is missing
                raise
            except EntryNotFoundError:
                return {}
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def statistics(processor: Mapping) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and std of the pixels (0–1) in the settings of an image processor.

    Raises:
        UserError: if the model wants the colours in another order than red, green, blue.
    """
    if processor.get("do_flip_channel_order"):
        raise UserError(
            f"model.architecture has a {PROCESSOR} with do_flip_channel_order, expected a model "
            "for colours in the order red, green, blue"
        )
    if processor.get("do_normalize") is False:
        return (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    return tuple(processor.get("image_mean") or HALF), tuple(processor.get("image_std") or HALF)


def side(processor: Mapping) -> int | None:
    """Pixels per side of the images that an image processor makes."""
    crops = processor.get("do_center_crop") and processor.get("crop_size")
    return number(crops) or number(processor.get("size"))


def number(size) -> int | None:
    """The side in a setting such as 224, [224, 224] or {"height": 224, "width": 224}."""
    if isinstance(size, Mapping):
        size = size.get("height") or size.get("shortest_edge")
    return size[0] if isinstance(size, list | tuple) else size


def tokenizer(place: str, config: PreTrainedConfig) -> str:
    """A tokenizer that makes texts of the model's length, as JSON, so that it needs no folder."""
    fast = AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    made, length = fast.backend_tokenizer, config.text_config.max_position_embeddings
    pad = fast.pad_token or fast.eos_token
    made.enable_truncation(length)
    made.enable_padding(length=length, pad_id=fast.convert_tokens_to_ids(pad), pad_token=pad)
    return made.to_str()
