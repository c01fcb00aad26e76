"""What the `compute` section means for torch: device, precision, reproducibility.

float32 is float32: products of GPUs are not rounded to TF32 on the way, so that a fine-tune
on a GPU differs from one on a CPU by the order of its sums alone. Who wants speed takes
bfloat16, which is faster still.
"""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import distributed, nn

from soups.errors import UserError
from soups.jobs.compute import current

GPUS = {"cuda": torch.cuda, "mps": torch.mps}
PRECISIONS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def kind() -> str:
    """``cuda``, ``mps`` or ``cpu``.

    Raises:
        UserError: if the configuration names a device that is not there.
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
    """Which CUDA device is this process's; takes no memory of it.

    Raises:
        UserError: if there are not so many.
    """
    index = current().device.partition(":")[2]
    ranked = distributed.is_available() and distributed.is_initialized()
    number = int(index) if index else distributed.get_rank() if ranked else 0
    if number >= (count := torch.cuda.device_count()):
        raise UserError(f"compute.device is cuda:{number}, but torch sees {count} CUDA devices")
    return number


def device() -> torch.device:
    """The device of this process; the processes of one fine-tune have a GPU each.

    Raises:
        UserError: see `kind`.
    """
    if kind() != "cuda":
        return torch.device(kind())
    number = cuda_number()
    torch.cuda.set_device(number)  # what names no device, such as NCCL, means this one
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch.device("cuda", number)


def set_up() -> None:
    """Make training as reproducible as is asked for."""
    chosen = current()
    torch.use_deterministic_algorithms(chosen.deterministic, warn_only=True)
    # Only code that reads memory it never wrote would need this; it costs a few per cent.
    torch.utils.deterministic.fill_uninitialized_memory = False
    torch.backends.cudnn.benchmark = not chosen.deterministic


def autocast(stage: str) -> AbstractContextManager:
    """Inside, the forward pass runs in the chosen precision; weights stay float32.

    Args:
        stage: ``training`` or ``inference``.

    Raises:
        UserError: if the device cannot.
    """
    key = "precision" if stage == "training" else stage
    if (name := getattr(current(), key)) == "float32":
        return nullcontext()
    if name not in PRECISIONS:
        raise UserError(f"compute.{key} is {name!r}, expected float32, {' or '.join(PRECISIONS)}")
    here = kind()
    # Older GPUs emulate bfloat16 in software, slower than float32.
    emulated = here == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False)
    if name == "bfloat16" and emulated:
        raise UserError(
            f"compute.{key} is bfloat16, but {torch.cuda.get_device_name()} has none, "
            "expected float16 or float32"
        )
    return torch.autocast(here, dtype=PRECISIONS[name])


def scaler() -> torch.amp.GradScaler:
    """Scales the loss so that small gradients survive float16; otherwise does nothing."""
    return torch.amp.GradScaler(kind(), enabled=current().precision == "float16")


def checkpointing(tower: nn.Module, on: bool) -> None:
    """Keep only some activations of an image tower and compute the others again, or no longer.

    Raises:
        UserError: if the tower has no such thing; some have a method for it that does nothing.
    """
    if switch := getattr(tower, "set_grad_checkpointing", None):
        switch(on)
    having = [m for m in tower.modules() if getattr(m, "grad_checkpointing", False)]
    if on and not having:
        raise UserError(
            "compute.checkpoint_activations is true, but the image tower "
            f"({type(tower).__name__}) has no activation checkpointing, expected false"
        )
