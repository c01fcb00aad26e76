"""Linear layers by oneDNN on AMD's CPUs with AVX-512, where it is up to twice as fast as MKL.

torch multiplies float32 matrices by MKL, which uses the instructions of AVX2 on these CPUs. oneDNN
is part of torch as well and uses AVX-512. Both compute in float32, and their sums differ in
rounding.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# oneDNN keeps a kernel of up to half a megabyte for each number of rows and each shape of weights.
KERNELS = 100
_kept: set[tuple[int, torch.Size]] = set()


@contextmanager
def fast_linear(run) -> Iterator[None]:
    """A context in which oneDNN applies the linear layers of a model, if it is faster here.

    Where gradients are on, torch stays as it is. The context replaces a function of torch, so only
    one thread of the process may run models meanwhile.

    Args:
        run: a module or one of its methods. Anything else runs as usual.
    """
    model = getattr(run, "__self__", run)
    weights = model.parameters() if isinstance(model, nn.Module) else ()
    fits = any(_is_float32_matrix(weight) for weight in weights)
    if not fits or torch.is_grad_enabled() or not onednn_is_faster():
        yield
        return
    fused, plain = torch.backends.mha.get_fastpath_enabled(), F.linear

    def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if _is_usual(input, weight, bias) and _may_keep(input.shape[:-1].numel(), weight.shape):
            return torch.ops.mkldnn._linear_pointwise(input, weight, bias, "none", [], "")
        return plain(input, weight, bias)

    # Modules look up this function when they run. The fused attention of torch does not, so it
    # would go on with MKL.
    F.linear = linear
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        F.linear = plain
        torch.backends.mha.set_fastpath_enabled(fused)


def _is_float32_matrix(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype == torch.float32 and weight.ndim == 2


def _is_usual(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether oneDNN's layer can do it. It takes no notice of the stride of a bias."""
    fits = _is_float32_matrix(weight) and x.dtype == weight.dtype and weight.shape[1] > 0
    if bias is None:
        return fits
    usual = bias.dtype == x.dtype and bias.shape == weight.shape[:1] and bias.is_contiguous()
    return fits and usual


def _may_keep(rows: int, shape: torch.Size) -> bool:
    """Whether there is a kernel for a product, or room for one more."""
    if (rows, shape) not in _kept:
        if len(_kept) >= KERNELS:
            return False
        _kept.add((rows, shape))
    return True


@cache
def onednn_is_faster() -> bool:
    """Whether this is one of AMD's CPUs with AVX-512, and torch has both MKL and oneDNN."""
    cpu = Path("/proc/cpuinfo")
    return (
        torch.backends.cpu.get_cpu_capability().startswith("AVX512")
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
        and cpu.exists()
        and "AuthenticAMD" in cpu.read_text(encoding="utf-8", errors="replace")
    )
