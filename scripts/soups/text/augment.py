"""Augmentation of a batch of texts: some tokens are replaced by the mask token."""

from collections.abc import Sequence

import torch
from torch import Tensor

from soups.errors import UserError
from soups.jobs import devices

MASKED = 0.1  # probability that a token is replaced, at strength 1


def masked(
    batch: Tensor,
    strength: float,
    mask_token: int | None,
    special: Sequence[int],
    generator: torch.Generator,
) -> Tensor:
    """Replace each token by the mask token with probability 0.1 times the strength.

    Args:
        batch: int, shape (n, 2 + longest), see `text.tokenizing.Encoded.rows`.
        strength: 0 or more; 0 changes nothing.
        mask_token: its id, or None if the tokenizer has no such token.
        special: ids of tokens that stay, such as the start of a text and separators.
        generator: a CPU generator, the only source of randomness.

    Returns:
        of the same shape; the given tensor itself if the strength is 0.

    Raises:
        UserError: if there is no mask token.
    """
    if strength == 0:
        return batch
    if mask_token is None:
        raise UserError(
            f"augment is {strength}, expected 0, because the model's tokenizer has no mask token"
        )
    ids = batch[:, 2:]
    drawn = devices.send(torch.rand(ids.shape, generator=generator), batch.device)
    place = torch.arange(ids.shape[1], device=batch.device)
    stays = torch.isin(ids, devices.send(torch.tensor(special, dtype=ids.dtype), batch.device))
    changed = (drawn < MASKED * strength) & (place < batch[:, :1]) & ~stays
    return torch.cat([batch[:, :2], ids.masked_fill(changed, mask_token)], dim=1)
