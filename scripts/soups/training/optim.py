"""Seeds, batches and the optimizer of pre-training, the linear probe and fine-tuning."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from soups.jobs import devices, distributed
from soups.models.blocks import depths

# From this number of parameters on, one fused kernel takes the step on a CPU as well. For a MiniLM
# of 22.7 million parameters it takes 11 ms on one core instead of 95 ms. Small models gain little,
# and keep the rounding of their recorded results.
LARGE = 10_000_000


def seed_everything(seed: int) -> torch.Generator:
    """Seed torch's global generators and return a separate generator with the same seed.

    Weight initialisation and dropout draw from the global generators. The processes of one
    fine-tune draw different numbers. The first process draws the numbers of a run in one process.
    """
    if rank := distributed.rank():
        seed = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
    torch.manual_seed(seed)
    devices.set_up()
    return torch.Generator().manual_seed(seed)


def adamw(
    module: nn.Module,
    lr: float,
    weight_decay: float,
    betas=(0.9, 0.999),
    layer_decay: float = 1,
    decayed: str = "matrices",
) -> torch.optim.AdamW:
    """Make an AdamW optimizer. By default it leaves gains, biases and scalars without decay.

    CLIP was pre-trained in this way. The paper's fine-tunes decay all parameters.

    Args:
        module: its parameters that require gradients are optimized.
        lr: the learning rate.
        weight_decay: of the decayed parameters.
        betas: decay rates of AdamW's two averages.
        layer_decay: factor on the learning rate for every block further from the head
            (Clark et al., 2020); 1 is off.
        decayed: ``matrices`` for all parameters with two or more dimensions, or ``all``.

    Returns:
        an optimizer whose groups have a ``scale``, the factor that `set_lr` multiplies by.
    """
    depth = depths([name for name, _ in module.named_parameters()])
    groups: dict[tuple, dict] = {}
    for name, parameter in module.named_parameters():
        if not parameter.requires_grad:
            continue
        plain = parameter.ndim <= 1 and decayed != "all"
        scale = layer_decay ** (max(depth.values()) - depth[name])
        group = groups.setdefault(
            (plain, scale),
            {"params": [], "weight_decay": 0.0 if plain else weight_decay, "scale": scale},
        )
        group["params"].append(parameter)
    on_gpu = next(module.parameters()).is_cuda
    fused = on_gpu or sum(p.numel() for p in module.parameters()) >= LARGE
    ordered = [groups[key] for key in sorted(groups)]
    return torch.optim.AdamW(ordered, lr=lr, betas=betas, fused=fused)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all groups, times each group's own scale."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["scale"]


@contextmanager
def ascended(module: nn.Module, rho: float) -> Iterator[None]:
    """Move the weights a distance ``rho`` along the gradient, and back on leaving the context.

    This is the ascent of sharpness-aware minimisation (Foret et al., 2021). Inside the context,
    the weights are θ + ρ g / ‖g‖, where g are the current gradients. Afterwards they are θ to the
    bit. The direction does not depend on a loss scale, so mixed precision needs no unscaling here.
    If the norm of the gradients is 0 or not finite, the weights do not move. Clip the gradients
    that are computed inside the context, not those from before it.
    """
    moved = [p for p in module.parameters() if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in moved])
    before = [p.detach().clone() for p in moved]
    # A tensor on the gradients' device, because a Python bool would wait for the GPU.
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
    """Shuffled batches of indices for one epoch, without a short last batch.

    The order depends on (seed, epoch) alone, so a resumed run sees the same batches.

    Args:
        count: number of samples.
        size: samples in a batch.

    Yields:
        int64, shape (size,).
    """
    order = np.random.default_rng([seed, epoch]).permutation(count)
    for start in range(0, count - size + 1, size):
        yield order[start : start + size]
