"""Learned soups: mixing coefficients fitted by gradient steps (paper, section 2 and appendix I).

The gradient with respect to a coefficient is an inner product, ∂L/∂αₖ = ⟨∂L/∂θ, θₖ⟩. A step
therefore reads every ingredient twice: once for the inner product and once for the new mixture.
It does so one group of tensors after the other. The second read of a group is then from the
system's cache, even if the cache cannot hold all ingredients. The ingredients need not be in
memory. Those that fit into a budget of memory are read from disk only once.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from soups.jobs import devices
from soups.mixing.mix import check_compatible, weighted
from soups.models.batch_norm import Settle, kept
from soups.models.checkpoints import Checkpoint, Held
from soups.models.stack import Stack
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


@torch.no_grad()
def write(target: Mapping[str, Tensor], stack: Stack, alpha: Tensor, names: Iterable[str]) -> None:
    """Write the mixture of k ingredients into some tensors of a model.

    Args:
        target: the state dict of the model.
        stack: the ingredients.
        alpha: their coefficients, shape (k,).
        names: the tensors.
    """
    for name, total in weighted(stack, alpha.tolist(), names):
        target[name].copy_(total.to(target[name].dtype))


@torch.no_grad()
def coefficient_gradient(
    parameters: Mapping[str, nn.Parameter], stack: Stack, names: Iterable[str]
) -> Tensor:
    """∂L/∂α from the ``.grad`` of a model's parameters, up to a constant.

    The inner products are computed with θₖ − θ instead of θₖ. Ingredients are so similar that
    the differences between products with θₖ would be lost in rounding. The constant has no
    effect on coefficients that sum to 1.

    Args:
        parameters: those of the mixture θ, after the backward pass.
        stack: the ingredients θ₁ to θₖ.
        names: the tensors that have these coefficients.

    Returns:
        float64, shape (k,).
    """
    out = torch.zeros(len(stack), dtype=torch.float64)
    for name in names:
        parameter = parameters.get(name)
        if parameter is None or parameter.grad is None:
            continue  # Buffers and frozen parameters have no gradient.
        here, slope = (t.detach().reshape(-1).cpu() for t in (parameter, parameter.grad))
        for piece in stack.parts(name):
            origin, weights = here[piece], slope[piece]
            change = torch.empty_like(origin)
            # A library's inner product could depend on the number of threads.
            products = [
                torch.sub(row, origin, out=change).mul_(weights).sum()
                for row in stack.rows(name, piece)
            ]
            out += torch.stack(products)
    return out


@dataclass(frozen=True)
class Part:
    """Tensors that share their coefficients, α = softmax(w).

    Attributes:
        names: the tensors.
        w: float64, shape (k,).
        optimizer: of w.
    """

    names: Sequence[str]
    w: Tensor
    optimizer: torch.optim.Optimizer

    def step(self, parameters: Mapping[str, nn.Parameter], stack: Stack) -> None:
        """Update the coefficients by the gradients of the model's parameters."""
        self.optimizer.zero_grad()
        self.w.softmax(0).backward(coefficient_gradient(parameters, stack, self.names))
        self.optimizer.step()


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
    settle: Settle = kept,
) -> tuple[Tensor, float, list[dict]]:
    """Fit coefficients and a temperature on the held-out set.

    In each group, α = softmax(w) over ingredients. The loss is the cross-entropy of β times the
    logits. w and log β start from 0 and are updated by Adam.

    Args:
        model: a classifier, whose weights are overwritten.
        ingredients: k checkpoints.
        inputs: the held-out examples, see `problems.Problem.inputs`.
        labels: their labels, int64, shape (n,).
        group: tensor name to the index of its group, see `blocks.groups`.
        lr: learning rate of Adam.
        epochs: passes over the examples.
        batch_size: examples per step.
        seed: of the order of the examples.
        settle: gives the mixture its batch statistics before every step, see `batch_norm`. The
            gradient does not pass through them.

    Returns:
        α, float64, shape (k, groups), then β, then a list with the mean loss and β of every epoch.
    """
    for checkpoint in ingredients:
        check_compatible(ingredients[0], checkpoint)
    device = devices.device()
    model = model.to(device).eval()
    parameters, state = dict(model.named_parameters()), model.state_dict()
    log_beta = torch.zeros((), requires_grad=True, device=device)
    scaling = torch.optim.Adam([log_beta], lr=lr)
    parts: list[Part] = []
    for i in range(1 + max(group.values())):
        w = torch.zeros(len(ingredients), dtype=torch.float64, requires_grad=True)
        names = [name for name, index in group.items() if index == i]
        parts.append(Part(names, w, torch.optim.Adam([w], lr=lr)))
    size = min(batch_size, len(inputs))
    trace = []
    with Stack(ingredients) as stack:
        for part in parts:
            write(state, stack, part.w.softmax(0), part.names)
        settle(model)
        for epoch in range(epochs):
            losses = []
            for batch in optim.batches(len(inputs), size, epoch, seed):
                batch = np.sort(batch)
                model.zero_grad(set_to_none=True)
                scaling.zero_grad()
                logits = model(torch.from_numpy(inputs[batch]).to(device))
                loss = F.cross_entropy(log_beta.exp() * logits, labels[batch].to(device))
                loss.backward()
                scaling.step()
                for part in parts:
                    part.step(parameters, stack)
                    write(state, stack, part.w.softmax(0), part.names)
                settle(model)
                losses.append(loss.item())
            beta = log_beta.exp().item()
            trace.append({"epoch": epoch + 1, "loss": float(np.mean(losses)), "beta": beta})
            log.info("epoch %d/%d: held-out loss %.4f", epoch + 1, epochs, trace[-1]["loss"])
    alpha = torch.stack([part.w.detach().softmax(0) for part in parts], dim=1)
    return alpha, log_beta.exp().item(), trace
