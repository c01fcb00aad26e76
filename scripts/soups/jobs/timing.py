"""Measure the time of a function."""

import time
from collections.abc import Callable

import torch

SECONDS = 3.0  # time to measure each speed


def once(call: Callable) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def repeated(call: Callable) -> float:
    """Mean seconds of a call. The first call is not counted, unless it is long enough alone."""
    first = once(call)
    if first > SECONDS:
        return first
    spent, calls = 0.0, 0
    while spent < SECONDS / 2 or not calls:
        spent, calls = spent + once(call), calls + 1
    return spent / calls
