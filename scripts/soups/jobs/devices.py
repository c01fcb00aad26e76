"""Apply the `compute` section to torch: device, precision, reproducibility.

float32 means float32: GPUs do not round products to TF32. A fine-tune on a GPU thus differs
from one on a CPU only by the order of its sums. For speed, use bfloat16.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, distributed, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from soups.errors import UserError
from soups.jobs.compute import current

GPUS = {"cuda": torch.cuda, "mps": torch.mps}
PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def kind() -> str:
    """Return ``cuda``, ``mps`` or ``cpu``.

    Raises:
        UserError: if `compute.device` is unknown or torch does not see the device.
    """
    name = current().device
    wanted = name.partition(":")[0]
    if wanted == "auto":
        return next((kind for kind, module in GPUS.items() if module.is_available()), "cpu")
    if wanted not in (*GPUS, "cpu"):
        raise UserError(f"compute.device is {name!r}, expected auto, cuda, cuda:1, mps or cpu")
    if wanted in GPUS and not GPUS[wanted].is_available():
        raise UserError(
            f"compute.device is {name!r}, but torch sees no {wanted.upper()} device: "
            "expected a GPU with its driver and a torch built for it, or compute.device: cpu"
        )
    return wanted


def cuda_number() -> int:
    """Return the number of this process's CUDA device, without using memory of the device.

    Raises:
        UserError: if torch sees no device with this number.
    """
    index = current().device.partition(":")[2]
    ranked = distributed.is_available() and distributed.is_initialized()
    number = int(index) if index else distributed.get_rank() if ranked else 0
    if number >= (count := torch.cuda.device_count()):
        raise UserError(
            f"compute.device is cuda:{number}, but torch sees {count} CUDA devices, "
            f"expected a number below {count}"
        )
    return number


def device() -> torch.device:
    """Return the device of this process. Each process of one fine-tune has a GPU of its own.

    Raises:
        UserError: see `kind` and `cuda_number`.
    """
    if kind() != "cuda":
        return torch.device(kind())
    number = cuda_number()
    torch.cuda.set_device(number)  # NCCL and others use the current device
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", number)


def send(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from the CPU to a device. A CUDA device copies while this process goes on."""
    if device.type != "cuda":
        return tensor.to(device)
    tensor = tensor if tensor.is_pinned() else tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def set_up() -> None:
    """Make training as reproducible as `compute.deterministic` asks for."""
    chosen = current()
    torch.use_deterministic_algorithms(chosen.deterministic, warn_only=True)
    # Filling new memory costs a few per cent, and only code that reads unwritten memory needs it.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not chosen.deterministic


def attention() -> AbstractContextManager:
    """Return a context in which the gradients of attention are the same in every run.

    In their default mode, the backward passes of torch's flash and memory-efficient kernels add in
    any order. Therefore deterministic training on a CUDA device uses the plain (math) kernel. All
    kernels of the forward pass are deterministic, so evaluation needs no such context.
    """
    plain = current().deterministic and kind() == "cuda"
    return sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()


def autocast(stage: str) -> AbstractContextManager:
    """Return a context in which the forward pass has the configured precision.

    Weights stay float32.

    Args:
        stage: ``training`` or ``inference``.

    Raises:
        UserError: if the precision is unknown or the device does not have it.
    """
    key = "precision" if stage == "training" else stage
    if (name := getattr(current(), key)) == "float32":
        return nullcontext()
    if name not in PRECISIONS:
        raise UserError(f"compute.{key} is {name!r}, expected float32, {' or '.join(PRECISIONS)}")
    here = kind()
    # Older GPUs emulate bfloat16 in software, which is slower than float32.
    emulated = here == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "bfloat16" and emulated:
        raise UserError(
            f"compute.{key} is 'bfloat16', but {torch.cuda.get_device_name()} does not support it, "
            "expected float16 or float32"
        )
    return torch.autocast(here, dtype=PRECISIONS[name])


def scaler() -> torch.amp.GradScaler:
    """Return a scaler of the loss that keeps small gradients above zero in float16.

    In any other precision the scaler does nothing.
    """
    return torch.amp.GradScaler(kind(), enabled=current().precision == "float16")


def checkpointing(tower: nn.Module, on: bool) -> None:
    """Switch activation checkpointing of a tower on or off.

    A tower with checkpointing keeps some activations and computes the others again.

    Raises:
        UserError: if the tower has no activation checkpointing.
    """
    if switch := getattr(tower, "set_grad_checkpointing", None):
        switch(on)
    elif getattr(tower, "supports_gradient_checkpointing", False):  # of transformers
        getattr(tower, f"activation_checkpointing_{'enable' if on else 'disable'}")()
    # Some towers have this method, but it does nothing.
    names = ("grad_checkpointing", "gradient_checkpointing")
    having = [m for m in tower.modules() if any(getattr(m, name, False) for name in names)]
    if on and not having:
        raise UserError(
            f"compute.checkpoint_activations is true, but the tower ({type(tower).__name__}) has "
            "no activation checkpointing, expected false"
        )
