"""Linear layers by oneDNN on AMD's CPUs with AVX-512, where it is twice as fast as MKL.

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


@contextmanager
def fast_linear(run) -> Iterator[None]:
    """A context in which oneDNN applies the linear layers of a model, if it is faster here.

    There are no gradients in the context. It replaces a function of torch, so only one thread of
    the process may run models meanwhile.

    Args:
        run: a module or one of its methods. Anything else runs as usual.
    """
    model = getattr(run, "__self__", run)
    weights = model.parameters() if isinstance(model, nn.Module) else ()
    if not any(_applies(weight) for weight in weights) or not onednn_is_faster():
        yield
        return
    fused, plain = torch.backends.mha.get_fastpath_enabled(), F.linear

    def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if _applies(weight) and x.dtype == weight.dtype:
            return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return plain(x, weight, bias)

    # Modules look up this function when they run. The fused attention of torch does not, so it
    # would go on with MKL.
    F.linear = linear
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        F.linear = plain
        torch.backends.mha.set_fastpath_enabled(fused)


def _applies(weight: Tensor) -> bool:
    on_cpu = weight.device.type == "cpu" and weight.dtype == torch.float32
    return on_cpu and weight.ndim == 2


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
