"""The tokenizer of a folder or repository, as entries of the header of a model."""

import logging

from torch import nn
from transformers import AutoTokenizer

from soups.errors import UserError, brief

log = logging.getLogger("soups")

DEFAULT_LENGTH = 512  # tokens, of models without a table of positions
# Names of the table of positions in models of transformers.
POSITIONS = ("position_embeddings", "wpe", "embed_positions")
SENTINEL = "<extra_id_0>"  # stands for hidden words in the pre-training of a T5
FEWEST = 10  # tokens of a tokenizer that are not special


def described(architecture: str, place: str, own: nn.Module, max_length: int | None) -> dict:
    """The tokenizer of a model, and what goes with it.

    Args:
        architecture: ``model.architecture``, for messages.
        place: the folder or repository.
        own: the library's model.
        max_length: tokens of a text at most, or None for as many as the model takes.

    Returns:
        ``tokenizer`` (JSON of the tokenizers library, which cuts the longer text of a pair first),
        ``max_length``, ``pad``, ``mask`` (None if no token can stand for a hidden one) and
        ``special`` (ids of the tokens that are no part of a text).

    Raises:
        UserError: if the tokenizer cannot be read, if it has no words or no padding token, if it
            has tokens without an embedding, or if ``max_length`` is too large.
    """
    fast = _read(architecture, place)
    made = getattr(fast, "backend_tokenizer", None)
    if made is None:
        raise UserError(
            f"model.architecture is {architecture!r}, whose tokenizer is a "
            f"{type(fast).__name__}, expected one that the tokenizers library has"
        )
    # transformers makes a tokenizer without words where the files of the tokenizer are missing.
    if made.get_vocab_size() - len(set(fast.all_special_ids)) < FEWEST:
        raise UserError(
            f"model.architecture is {architecture!r}, whose tokenizer knows no words, expected a "
            "tokenizer.json or a file of its vocabulary beside config.json"
        )
    if fast.pad_token_id is None:
        raise UserError(
            f"model.architecture is {architecture!r}, whose tokenizer has no padding token, "
            "expected a pad_token in its tokenizer_config.json"
        )
    rows, highest = vocabulary(own), max(made.get_vocab(with_added_tokens=True).values())
    if highest >= rows:
        raise UserError(
            f"model.architecture is {architecture!r}, whose tokenizer has a token with the id "
            f"{highest}, expected at most {rows - 1}, because the model has {rows} embeddings"
        )
    length = _length(architecture, own, fast.model_max_length, max_length)
    made.no_padding()
    made.enable_truncation(length, strategy="longest_first")
    mask = _mask(architecture, fast)
    special = sorted(set(fast.all_special_ids) - {mask})
    return {"tokenizer": made.to_str(), "max_length": length, "pad": fast.pad_token_id,
            "mask": mask, "special": special}  # fmt: skip


def _read(architecture: str, place: str):
    """The tokenizer of transformers in a folder or repository.

    Raises:
        UserError: if its files cannot be read.
        OSError: if it cannot be downloaded.
    """
    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except OSError:
        raise
    except Exception as error:  # the tokenizers library raises this class itself
        reason = brief(error)
        raise UserError(
            f"model.architecture is {architecture!r}, whose tokenizer cannot be read ({reason}), "
            "expected a tokenizer.json that transformers has saved"
        ) from error


def vocabulary(own: nn.Module) -> int:
    """Number of token ids that a model takes."""
    return own.get_input_embeddings().weight.shape[0]


def positions(own: nn.Module) -> int | None:
    """Number of tokens that a model has positions for, or None if it has no table of them."""
    for name, module in own.named_modules():
        if name.rpartition(".")[2] in POSITIONS and isinstance(module, nn.Embedding):
            # A RoBERTa counts its positions from the id of its padding plus 1, a BART from 2.
            padding = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - padding - getattr(module, "offset", 0)
    return None


def _length(architecture: str, own: nn.Module, most: int, wanted: int | None) -> int:
    limit = positions(own)
    if wanted is None:
        return min(limit or DEFAULT_LENGTH, most)
    if limit is not None and wanted > limit:
        raise UserError(
            f"data.text.max_length is {wanted}, expected at most {limit}, the number of positions "
            f"of model.architecture {architecture!r}"
        )
    return wanted


def _mask(architecture: str, fast) -> int | None:
    if fast.mask_token_id is not None:
        return fast.mask_token_id
    found = fast.get_vocab().get(SENTINEL)
    name = fast.unk_token if found is None else SENTINEL
    if name is None:
        return None
    log.info(
        "the tokenizer of %s has no mask token, so augmentation puts %s in the place of a token",
        architecture,
        name,
    )
    return fast.convert_tokens_to_ids(name)
