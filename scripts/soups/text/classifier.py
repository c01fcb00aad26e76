"""The classifier of texts: an encoder with a linear head."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from soups import problems
from soups.models.network import TowerWithHead
from soups.problems import Problem

Pooling = Callable[[nn.Module, dict[str, Tensor]], Tensor]


class TextClassifier(TowerWithHead):
    """An encoder of transformers with a linear head.

    It takes batches as `text.tokenizing.Encoded.rows`, of any integer type.

    Args:
        encoder: a model of transformers without its head.
        classes: number of classes.
        width: length of a feature.
        pooling: function of the encoder and its arguments, see `text.pooling`.
        has_types: whether the encoder is told which tokens belong to the second text of a pair.
        mask_token: id of the token that stands for a hidden one, or None.
        special: ids of tokens that the tokenizer adds.
    """

    def __init__(
        self,
        encoder: nn.Module,
        classes: int,
        width: int,
        pooling: Pooling,
        has_types: bool,
        mask_token: int | None,
        special: Sequence[int],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self._pooling, self._has_types = pooling, has_types
        self.mask_token, self.special = mask_token, list(special)
        self._add_head(width, classes)

    @property
    def problem(self) -> Problem:
        return problems.named("text")

    @property
    def tower(self) -> nn.Module:
        return self.encoder

    def features(self, batch: Tensor) -> Tensor:
        return self._pooling(self.encoder, arguments(batch, self._has_types))


def arguments(batch: Tensor, has_types: bool) -> dict[str, Tensor]:
    """The arguments of a model of transformers, int64 of shape (n, longest) each.

    Args:
        batch: int, shape (n, 2 + longest).
        has_types: whether ``token_type_ids`` are among them: 1 for tokens of a second text.
    """
    ids = batch[:, 2:].long()
    place = torch.arange(ids.shape[1], device=ids.device)
    inside = place < batch[:, :1]
    given = {"input_ids": ids, "attention_mask": inside.long()}
    if has_types:
        given["token_type_ids"] = (inside & (place >= batch[:, 1:2])).long()
    return given
