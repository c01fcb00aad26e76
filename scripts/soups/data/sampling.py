"""Random subsets of a set, reproducible by their seed."""

import numpy as np


def sample(n: int, count: int, seed: int = 0) -> np.ndarray:
    """Return sorted indices of ``count`` random images out of ``n``, or of all n if fewer exist."""
    return np.sort(np.random.default_rng(seed).permutation(n)[:count])
