"""What pre-training, the linear probe and fine-tuning share: schedule, batches, devices."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn


def device() -> torch.device:
    """The first GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def seed_everything(seed: int) -> torch.Generator:
    """Seed torch's global generator (weight initialisation, dropout) and return one of our own."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Only code that reads memory it never wrote would need this; it costs a few per cent.
    torch.utils.deterministic.fill_uninitialized_memory = False
    return torch.Generator().manual_seed(seed)


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Learning-rate factor: linear warm-up, then a cosine to 0 (paper, appendix J)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def with_cooldown(factor: float, step: int, total: int, cooldown: int) -> float:
    """End a longer schedule early: over the last ``cooldown`` steps, go linearly to 0.

    Args:
        factor: what the schedule says at ``step``, or at the cooldown's first step.
        total: steps that are trained.
    """
    return factor * min(1.0, (total - step) / cooldown) if cooldown else factor


def adamw(
    module: nn.Module, lr: float, weight_decay: float, betas=(0.9, 0.999)
) -> torch.optim.AdamW:
    """AdamW; gains, biases and scalars are not decayed, as in CLIP."""
    decayed = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    fused = next(module.parameters()).is_cuda
    return torch.optim.AdamW(groups, lr=lr, betas=betas, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """One learning rate for all groups."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def batches(count: int, size: int, epoch: int, seed: int) -> Iterator[np.ndarray]:
    """Shuffled index batches of one epoch; a short last batch is left out.

    A function of (seed, epoch) alone, so a resumed run sees the same batches.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]
