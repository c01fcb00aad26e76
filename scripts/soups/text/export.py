"""Exports of text classifiers: their comparison with transformers' own model, and the tokenizer."""

import inspect
from collections.abc import Mapping
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import PreTrainedTokenizerFast

LENGTHS = (12, 7)  # tokens of the random examples
FIRST = 4  # tokens of the first text, in examples of two texts


def compared_logits(ours: nn.Module, theirs: nn.Module, card: Mapping) -> tuple[Tensor, Tensor]:
    """Logits of two models for the same random tokens, see `problems.Problem`."""
    batch, fields = random_tokens(card, takes_types(theirs))
    return ours(batch), theirs(**fields).logits


def takes_types(library: nn.Module) -> bool:
    """Whether a model of transformers is told which of two texts a token belongs to."""
    return "token_type_ids" in inspect.signature(library.forward).parameters


def random_tokens(card: Mapping, types: bool) -> tuple[Tensor, dict[str, Tensor]]:
    """Random tokens as a `text.models.TextClassifier` and as transformers take them.

    Args:
        card: of the classifier.
        types: whether the model of transformers takes the number of each token's text.
    """
    generator = torch.Generator().manual_seed(0)
    special = {card["pad"], card.get("mask")}
    words = torch.tensor(
        [i for i in Tokenizer.from_str(card["tokenizer"]).get_vocab().values() if i not in special]
    )
    longest = min(max(LENGTHS), card["max_length"])
    lengths = torch.tensor([min(length, longest) for length in LENGTHS])
    first = torch.where(torch.tensor(card["pair"]), FIRST, lengths).clamp(max=lengths)
    ids = words[torch.randint(len(words), (len(LENGTHS), longest), generator=generator)]
    place = torch.arange(longest)
    mask = place < lengths[:, None]
    ids = torch.where(mask, ids, card["pad"])
    fields = {"input_ids": ids, "attention_mask": mask.long()}
    if types:
        fields["token_type_ids"] = ((place >= first[:, None]) & mask).long()
    return torch.cat([lengths[:, None], first[:, None], ids], 1).int(), fields


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
    names = ["input_ids", "attention_mask"]
    names += ["token_type_ids"] if takes_types(library) else []
    tokens = {"pad_token": card["pad"], "mask_token": card.get("mask")}
    special = {key: made.id_to_token(i) for key, i in tokens.items() if i is not None}
    PreTrainedTokenizerFast(
        tokenizer_object=made,
        model_max_length=card["max_length"],
        model_input_names=names,
        **special,
    ).save_pretrained(folder)
