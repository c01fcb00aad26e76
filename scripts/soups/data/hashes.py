"""Find images that occur twice: the same file, or the same picture in another file."""

import hashlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

SIDE = 8  # rows, and comparisons per row, of the hash of a picture
FLAT = 10  # a hash with fewer different bits is that of a picture without structure
NEAR = 3  # bits of 64 in which two versions of a picture may differ
BANDS = 4  # hashes that differ in at most 3 bits are equal in one of four bands of 16 bits
PAIRS = 1_000_000  # candidate pairs that are compared at a time
# A band that more images share tells little, such as the flat sky or background at the top of a
# picture. Images that are equal in such bands alone are not compared.
CROWDED = 2_000
# Two versions of a picture, at 32 × 32 pixels, have at most this mean difference, of 255, and at
# least this correlation. Different drawings on white paper have a small difference too.
ALIKE, CORRELATED = 10.0, 0.75
COUNTED = 2_000_000  # candidate pairs of two sets that are compared at most


def of(content: bytes, image: Image.Image) -> tuple[int, int]:
    """Return two hashes of an image, of 64 bits each.

    Args:
        content: the bytes of its file.
        image: the decoded image.

    Returns:
        BLAKE2 of the bytes, and the difference hash of the picture. In the difference hash, each
        bit says whether a pixel of the image at 9 × 8 grey pixels is darker than its neighbour on
        the right. It is 0 for a picture without structure, because all such pictures look alike.
    """
    digest = hashlib.blake2b(content, digest_size=8).digest()
    # Reducing by whole factors first makes the cost independent of the image's size.
    factor = [max(side // (SIDE * 8), 1) for side in image.size]
    small = image.reduce(tuple(factor)) if max(factor) > 1 else image
    grey = small.convert("L").resize((SIDE + 1, SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(grey, np.int16)
    bits = pixels[:, 1:] > pixels[:, :-1]
    picture = int.from_bytes(np.packbits(bits).tobytes(), "big")
    if not FLAT <= bits.sum() <= bits.size - FLAT:
        picture = 0
    return int.from_bytes(digest, "big"), picture


def same_files(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return pairs of rows with the same bytes.

    Args:
        first: hashes of bytes, uint64, shape (n,), 0 for a file that cannot be read.
        second: the same of another set, shape (m,).

    Returns:
        int64, shape (pairs, 2): each row of ``second`` that occurs in ``first``, with its first
        occurrence there, sorted by the row of ``second``.
    """
    order = np.argsort(first, kind="stable")
    at = np.minimum(np.searchsorted(first[order], second), len(first) - 1)
    found = np.flatnonzero((first[order][at] == second) & (second != 0)) if len(first) else []
    return np.column_stack([order[at[found]], found]).astype(np.int64)


def copies_within(values: np.ndarray) -> np.ndarray:
    """Return pairs of rows of one set with the same bytes: the first one, and each copy of it.

    Args:
        values: hashes of bytes, uint64, shape (n,).

    Returns:
        int64, shape (pairs, 2).
    """
    pairs = same_files(values, values)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def similar(first: np.ndarray, second: np.ndarray, within: bool = False) -> np.ndarray:
    """Return pairs of rows whose pictures have difference hashes that differ in few bits.

    Args:
        first: difference hashes, uint64, shape (n,), 0 for no hash.
        second: the same of another set, shape (m,).
        within: both are the same set, so that each pair is given once, without (i, i).

    Returns:
        int64, shape (pairs, 2), at most `COUNTED`: rows of ``first`` and ``second``.
    """
    parts, count = [np.empty((0, 2), np.int64)], 0
    for pairs in _candidates(first, second):
        a, b = pairs.T
        keep = np.bitwise_count(first[a] ^ second[b]) <= NEAR
        keep &= (first[a] != 0) & (second[b] != 0)
        if within:
            keep &= a < b
        parts.append(pairs[keep])
        count += len(parts[-1])
        if count > COUNTED:
            break
    return np.unique(np.concatenate(parts), axis=0)[:COUNTED]


def _candidates(first: np.ndarray, second: np.ndarray) -> Iterator[np.ndarray]:
    """Yield pairs of equal hashes, or equal in a band of 16 bits, instead of all n × m pairs."""
    rows = [np.flatnonzero(values) for values in (first, second)]  # 0 is no hash
    whole = [values[known] for values, known in zip((first, second), rows, strict=True)]
    for pairs in _equal(*whole, most=len(first)):
        yield np.column_stack([rows[0][pairs[:, 0]], rows[1][pairs[:, 1]]])
    for band in range(BANDS):
        keys = [(values >> np.uint64(16 * band)).astype(np.uint16) for values in whole]
        for pairs in _equal(*keys, most=CROWDED):
            yield np.column_stack([rows[0][pairs[:, 0]], rows[1][pairs[:, 1]]])


def _equal(first: np.ndarray, second: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Yield pairs of rows with equal keys, at most about `PAIRS` at a time.

    Keys that more than ``most`` rows of ``first`` share are passed over.
    """
    order = np.argsort(first, kind="stable")
    ordered = first[order]
    low = np.searchsorted(ordered, second, "left")
    sizes = np.searchsorted(ordered, second, "right") - low
    sizes[sizes > most] = 0
    ends, start = np.cumsum(sizes), 0
    while start < len(second):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + PAIRS, "right")), start + 1)
        count = sizes[start:stop]
        within = np.arange(count.sum()) - np.repeat(ends[start:stop] - count - before, count)
        found = order[np.repeat(low[start:stop], count) + within]
        yield np.column_stack([found, np.repeat(np.arange(start, stop), count)])
        start = stop


def alike(first: Image.Image, second: Image.Image) -> bool:
    """Return whether two images show the same picture, perhaps in another size or format."""
    one, other = (
        np.asarray(image.resize((32, 32), Image.Resampling.BOX), np.float32)
        for image in (first, second)
    )
    if np.abs(one - other).mean() > ALIKE:
        return False
    one, other = (pixels - pixels.mean((0, 1)) for pixels in (one, other))
    return bool((one * other).sum() >= CORRELATED * np.sqrt((one**2).sum() * (other**2).sum()))
