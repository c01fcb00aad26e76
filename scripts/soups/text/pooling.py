"""From the states of tokens to one feature of a text: the values of ``model.pooling``."""

import torch
from torch import Tensor, nn

NATIVE, FIRST, MEAN, DECODER = "native", "first", "mean", "decoder"


def native(own: nn.Module, given: dict[str, Tensor]) -> Tensor:
    """What the library's own classifier gives its last linear layer, shape (n, width).

    Args:
        own: the library's own classifier, with an identity in the place of that layer.
        given: the arguments, see `text.classifier.arguments`.
    """
    return own(**given).logits


def first(own: nn.Module, given: dict[str, Tensor]) -> Tensor:
    """The last state of the first token, shape (n, width)."""
    return _states(own, given)[:, 0]


def mean(own: nn.Module, given: dict[str, Tensor]) -> Tensor:
    """The mean of the last states of all tokens, shape (n, width)."""
    states, mask = _states(own, given), given["attention_mask"].unsqueeze(2)
    return (states * mask).sum(1) / mask.sum(1)


def decoder(own: nn.Module, given: dict[str, Tensor]) -> Tensor:
    """The state of the decoder after its start token, shape (n, width).

    A T5 that is fine-tuned to write a label as one word takes the word from a linear layer on this
    state. A linear head with one row for each class is this layer restricted to those words.
    """
    start = start_token(own.config)
    begun = torch.full_like(given["input_ids"][:, :1], start)
    return own(**given, decoder_input_ids=begun, use_cache=False).last_hidden_state[:, 0]


def start_token(config) -> int:
    """The token that a decoder starts with. The padding has this role in a T5."""
    start = getattr(config, "decoder_start_token_id", None)
    return config.pad_token_id if start is None else start


def _states(own: nn.Module, given: dict[str, Tensor]) -> Tensor:
    run = own.encoder if is_encoder_decoder(own) else own
    return run(**given).last_hidden_state


def is_encoder_decoder(own: nn.Module) -> bool:
    """Whether a model has both an encoder and a decoder, which may be taken away."""
    return hasattr(own, "encoder") and hasattr(own, "decoder")


POOLINGS = {NATIVE: native, FIRST: first, MEAN: mean, DECODER: decoder}
