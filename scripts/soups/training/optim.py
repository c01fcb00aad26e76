"""What pre-training, the linear probe and fine-tuning share: schedule, batches, optimizer."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from soups.jobs import devices, distributed
from soups.models.blocks import depths


def seed_everything(seed: int) -> torch.Generator:
    """Seed torch's global generators (weight initialisation, dropout) and return one of our own.

    Processes of one fine-tune draw different numbers; the first draws those of one that is alone.
    """
    if rank := distributed.rank():
        seed = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
    torch.manual_seed(seed)
    devices.set_up()
    return torch.Generator().manual_seed(seed)


def warmup_cosine(step: int, total: int, warmup: int) -> float:
    """Learning-rate factor: linear warm-up, then a cosine to 0 (paper, appendix J)."""
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def warmup_steps(warmup: float, total: int) -> int:
    """Steps of warm-up, at most all of them.

    Args:
        warmup: a fraction of all steps if less than 1, else their number.
    """
    return int(warmup * total) if warmup < 1 else min(int(warmup), total)


def with_cooldown(factor: float, step: int, total: int, cooldown: int) -> float:
    """End a longer schedule early: over the last ``cooldown`` steps, go linearly to 0.

    Args:
        factor: what the schedule says at ``step``, or at the cooldown's first step.
        total: steps that are trained.
    """
    return factor * min(1.0, (total - step) / cooldown) if cooldown else factor


def adamw(
    module: nn.Module, lr: float, weight_decay: float, betas=(0.9, 0.999), layer_decay: float = 1
) -> torch.optim.AdamW:
    """AdamW; gains, biases and scalars are not decayed, as in CLIP.

    Args:
        layer_decay: factor on the learning rate for every block further from the head
            (Clark et al., 2020); 1 is off.
    """
    depth = depths([name for name, _ in module.named_parameters()])
    groups: dict[tuple, dict] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim <= 1
        scale = layer_decay ** (max(depth.values()) - depth[name])
        group = groups.setdefault(
            (plain, scale),
            {"params": [], "weight_decay": 0.0 if plain else weight_decay, "scale": scale},
        )
        group["params"].append(parameter)
    fused = next(module.parameters()).is_cuda
    ordered = [groups[key] for key in sorted(groups)]
    return torch.optim.AdamW(ordered, lr=lr, betas=betas, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """One learning rate for all groups, times each group's own scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


@contextmanager
def ascended(module: nn.Module, rho: float) -> Iterator[None]:
    """Sharpness-aware minimisation (Foret et al., 2021): go ``rho`` along the gradient, and back.

    Inside, the weights are θ + ρ g / ‖g‖ with g the gradients at hand; afterwards they are
    θ to the bit. The direction does not depend on a loss scale, so mixed precision needs
    no unscaling here; gradients that are not finite, and zero ones, move nothing. Clipping
    belongs to the gradients taken inside, not to these.
    """
    moved = [p for p in module.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in moved])
    before = [p.detach().clone() for p in moved]
    # Decided where the gradients are: asking a GPU for the answer would wait for it.
    sound = torch.isfinite(norm) & (norm > 0)
    with torch.no_grad():
        for parameter in moved:
            parameter.add_(torch.where(sound, parameter.grad * (rho / norm), 0))
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, value in zip(moved, before, strict=True):
                parameter.copy_(value)


def batches(count: int, size: int, epoch: int, seed: int) -> Iterator[np.ndarray]:
    """Shuffled index batches of one epoch; a short last batch is left out.

    A function of (seed, epoch) alone, so a resumed run sees the same batches.
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]
