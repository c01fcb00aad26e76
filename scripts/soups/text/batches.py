"""Batches of texts of similar length, which need little padding."""

import numpy as np

CHUNK = 16  # batches whose texts are sorted by length together


def of_similar_length(lengths: np.ndarray, size: int, epoch: int, seed: int) -> list[np.ndarray]:
    """Shuffled batches of texts of similar length for one epoch, without a short last batch.

    The texts are shuffled, sorted by length within chunks of `CHUNK` batches, and cut into batches.
    The batches are then shuffled. The order depends on the arguments alone, so that a resumed run
    sees the same batches.

    Args:
        lengths: number of tokens of each text, shape (n,).
        size: texts in a batch.
        epoch: number of the epoch.
        seed: of the order.

    Returns:
        indices of texts, int64, shape (size,) each. Every text is in one batch at most.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))[: len(lengths) // size * size]
    chunks = [order[start : start + CHUNK * size] for start in range(0, len(order), CHUNK * size)]
    order = [chunk[np.argsort(lengths[chunk], kind="stable")] for chunk in chunks]
    batches = np.concatenate([*order, np.empty(0, np.int64)]).reshape(-1, size)
    return list(batches[generator.permutation(len(batches))])
