"""Exports of text classifiers: their comparison with transformers' own model, and the tokenizer."""

from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from soups import files
from soups.text.classifier import arguments
from soups.text.tokenizing import encode

# Two examples of different length. Their words need not be known to the tokenizer.
TEXTS = ("A man is playing the guitar.", "No one was there")
SECOND = ("Someone makes music.", "The room was full of people, and it was loud.")


def compared_logits(ours: nn.Module, theirs: nn.Module, card: Mapping) -> tuple[Tensor, Tensor]:
    """Logits of two models for the same texts, see `problems.Problem`."""
    texts = list(zip(TEXTS, SECOND, strict=True)) if card["pair"] else TEXTS
    rows = torch.from_numpy(encode(card, texts))
    return ours(rows), theirs(**arguments(rows, has_types(theirs))).logits


def has_types(library: nn.Module) -> bool:
    """Whether a model of transformers is told which of two texts a token belongs to."""
    return (getattr(library.config, "type_vocab_size", None) or 0) > 1


def write_tokenizer(folder: Path, library: nn.Module, card: Mapping) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json`` for transformers' ``AutoTokenizer``.

    Args:
        folder: the folder of an exported model.
        library: the model of transformers.
        card: of the model.
    """
    made = Tokenizer.from_str(card["tokenizer"])
    made.no_padding()
    made.no_truncation()
    files.write_text(folder / "tokenizer.json", made.to_str())
    names = ["input_ids", "attention_mask"]
    files.write_json(
        folder / "tokenizer_config.json",
        {
            # Versions 4 and 5 of transformers know this name of the class for any tokenizer.json.
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": card["max_length"],
            "model_input_names": [*names, "token_type_ids"] if has_types(library) else names,
            "pad_token": made.id_to_token(card["pad"]),
        },
    )
