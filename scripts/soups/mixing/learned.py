"""Learned soups: mixing coefficients fitted by gradient steps (paper, section 2 and appendix I).

The gradient with respect to a coefficient is an inner product, ∂L/∂αₖ = ⟨∂L/∂θ, θₖ⟩. A step
therefore reads every ingredient twice: once for the mixture and once for the inner product.
The ingredients need not be in memory. Those that fit into a budget of memory are read from disk
only once.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soups.jobs import devices
from soups.mixing.mix import Mixture
from soups.models.checkpoints import Checkpoint, Held
from soups.training import optim

log = logging.getLogger("soups")


def within(paths: Sequence[str | Path], budget: float) -> list[Checkpoint]:
    """Open checkpoints, and hold as many of them in memory as fit into ``budget`` bytes."""
    out: list[Checkpoint] = []
    for path in paths:
        checkpoint = Checkpoint(path)
        budget -= checkpoint.size()
        out.append(Held(path) if budget >= 0 else checkpoint)
    return out


def mixed(ingredients: Sequence[Checkpoint], alpha: Tensor, group: Mapping[str, int]) -> Mixture:
    """The mixture in which tensor ``name`` of ingredient k has ``alpha[k, group[name]]``."""
    mixture = Mixture()
    for row, checkpoint in zip(alpha.tolist(), ingredients, strict=True):
        mixture.add(checkpoint, {name: row[index] for name, index in group.items()})
    return mixture


@torch.no_grad()
def coefficient_gradient(
    model: nn.Module, ingredients: Sequence[Checkpoint], group: Mapping[str, int]
) -> Tensor:
    """∂L/∂α from the ``.grad`` of a model's parameters, up to a constant for each group.

    The inner products are computed with θₖ − θ instead of θₖ. Ingredients are so similar that
    the differences between products with θₖ would be lost in rounding. The constant has no
    effect on coefficients that sum to 1.

    Args:
        model: the mixture θ, after the backward pass.
        ingredients: θ₁ to θₖ.
        group: tensor name to the index of its coefficient, see `blocks.groups`.

    Returns:
        float64, shape (k, groups).
    """
    out = torch.zeros(len(ingredients), 1 + max(group.values()), dtype=torch.float64)
    parameters = dict(model.named_parameters())
    for k, checkpoint in enumerate(ingredients):
        for name, tensor in checkpoint.items():
            here = parameters.get(name)
            if (
                here is not None and here.grad is not None
            ):  # Buffers and frozen parameters have none.
                product = torch.sum(here.grad * (tensor.to(here.device, here.dtype) - here))
                out[k, group[name]] += product.double().cpu()
    return out


def learn(
    model: nn.Module,
    ingredients: Sequence[Checkpoint],
    inputs,
    labels: Tensor,
    group: Mapping[str, int],
    lr: float,
    epochs: int,
    batch_size: int,
    seed: int,
) -> tuple[Tensor, float, list[dict]]:
    """Fit coefficients and a temperature on the held-out set.

    In each group, α = softmax(w) over ingredients. The loss is the cross-entropy of β times the
    logits. w and log β start from 0 and are updated by Adam.

    Args:
        model: a classifier, whose weights are overwritten.
        ingredients: k checkpoints.
        inputs: the held-out examples, see `problems.Problem.inputs`.
        labels: their labels, int64, shape (n,).
        group: tensor name to the index of its coefficient, see `blocks.groups`.
        lr: learning rate of Adam.
        epochs: passes over the examples.
        batch_size: examples per step.
        seed: of the order of the examples.

    Returns:
        α, float64, shape (k, groups), then β, then a list with the mean loss and β of every epoch.
    """
    device = devices.device()
    model = model.to(device).eval()
    w = torch.zeros(len(ingredients), 1 + max(group.values()), dtype=torch.float64)
    w.requires_grad_()
    log_beta = torch.zeros((), requires_grad=True, device=device)
    optimizer = torch.optim.Adam([w, log_beta], lr=lr)
    size = min(batch_size, len(inputs))
    trace = []
    for epoch in range(epochs):
        losses = []
        for batch in optim.batches(len(inputs), size, epoch, seed):
            batch = np.sort(batch)
            alpha = w.softmax(0)
            mixed(ingredients, alpha, group).write(model)
            model.zero_grad(set_to_none=True)
            optimizer.zero_grad()
            logits = model(torch.from_numpy(inputs[batch]).to(device))
            loss = F.cross_entropy(log_beta.exp() * logits, labels[batch].to(device))
            loss.backward()
            alpha.backward(coefficient_gradient(model, ingredients, group))
            optimizer.step()
            losses.append(loss.item())
        beta = log_beta.exp().item()
        trace.append({"epoch": epoch + 1, "loss": float(np.mean(losses)), "beta": beta})
        log.info("epoch %d/%d: held-out loss %.4f", epoch + 1, epochs, trace[-1]["loss"])
    return w.detach().softmax(0), log_beta.exp().item(), trace
