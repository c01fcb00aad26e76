"""Named perturbations of texts with five severities, for data sets without shifts of their own.

Each perturbation changes a share of the words of a text, which grows with the severity. White space
divides a text into words. A higher severity changes the words of a lower one and further ones.
"""

import re
from collections.abc import Sequence

import numpy as np

# Shares of the words that are changed at severities 1 to 5.
_TYPOS = (0.05, 0.1, 0.2, 0.3, 0.45)
_CASING = (0.1, 0.25, 0.5, 0.75, 1.0)
_DROPPED = (0.05, 0.1, 0.2, 0.3, 0.4)
_SHUFFLED = (0.1, 0.2, 0.35, 0.5, 0.75)

_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # rows of the keyboard
_BESIDE = {
    key: row[max(i - 1, 0) : i] + row[i + 1 : i + 2] for row in _KEYS for i, key in enumerate(row)
}
_SHORTEST = 3  # letters of a word that gets a typo


def _typo(word: str, rng: np.random.Generator) -> str:
    """Swap two letters, drop, double or mistype one. The first letter keeps its place."""
    at = int(rng.integers(1, len(word)))
    kind = rng.choice(["swap", "drop", "double", "mistype"])
    if kind == "drop":
        return word[:at] + word[at + 1 :]
    if kind == "mistype" and (beside := _BESIDE.get(word[at].lower())):
        key = beside[int(rng.integers(len(beside)))]
        return word[:at] + (key.upper() if word[at].isupper() else key) + word[at + 1 :]
    other = max(at - 1, 1)
    swapped = word[:other] + word[at] + word[other] + word[at + 1 :] if other < at else word
    return swapped if kind == "swap" and swapped != word else word[: at + 1] + word[at:]


def _typos(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    long = [i for i, word in enumerate(words) if len(word) >= _SHORTEST]
    words = list(words)
    for i in _chosen(long, share * len(words), rng):
        words[i] = _typo(words[i], rng)
    return words


def _recased(word: str, rng: np.random.Generator) -> str:
    kind = rng.choice(["lower", "upper", "flip"])
    flips = rng.random(len(word)) < 0.5
    if kind == "flip":
        each = zip(word, flips, strict=True)
        changed = "".join(letter.swapcase() if flip else letter for letter, flip in each)
    else:
        changed = word.lower() if kind == "lower" else word.upper()
    return word.swapcase() if changed == word else changed


def _casing(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """A tokenizer of lower-case text, as many models have, undoes this perturbation."""
    cased = [i for i, word in enumerate(words) if word.swapcase() != word]
    words = list(words)
    for i in _chosen(cased, share * len(words), rng):
        words[i] = _recased(words[i], rng)
    return words


def _dropped_words(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """One word of a text always stays."""
    dropped = set(_chosen(range(len(words)), share * len(words), rng)[: len(words) - 1])
    return [word for i, word in enumerate(words) if i not in dropped]


def _shuffled_words(words: list[str], share: float, rng: np.random.Generator) -> list[str]:
    """The chosen words change places with one another."""
    chosen = _chosen(range(len(words)), share * len(words), rng)
    moved = list(words)
    for i, j in zip(chosen, chosen[1:] + chosen[:1], strict=True):
        moved[j] = words[i]
    return moved


def _chosen(candidates: Sequence[int], count: float, rng: np.random.Generator) -> list[int]:
    """Return some candidates in random order. A larger count gives the same ones and further ones.

    Args:
        candidates: positions of words.
        count: their number on average. A fraction is rounded up or down at random.
        rng: takes the same numbers for every count.
    """
    whole = int(count + rng.random())
    return [candidates[i] for i in rng.permutation(len(candidates))[:whole].tolist()]


PERTURBATIONS = {
    "typos": (_typos, _TYPOS),
    "casing": (_casing, _CASING),
    "dropped_words": (_dropped_words, _DROPPED),
    "shuffled_words": (_shuffled_words, _SHUFFLED),
}


def perturb(records: Sequence[dict], name: str, severity: int, seed: int) -> list[dict]:
    """Perturb every text of a set. If an example has two texts, both are changed.

    Args:
        records: have the key ``text``, perhaps ``second``, and others, which stay.
        name: a key of `PERTURBATIONS`.
        severity: 1 to 5.
        seed: the random generator of record i is seeded with (seed, i), so that the result does
            not depend on the other records.

    Returns:
        new records in the same order. No text becomes empty.
    """
    apply, shares = PERTURBATIONS[name]
    made = []
    for i, record in enumerate(records):
        changed = {}
        for j, key in enumerate(("text", "second")):
            if key in record:
                rng = np.random.default_rng([seed, i, j])
                changed[key] = _joined(apply, record[key], shares[severity - 1], rng)
        made.append(record | changed)
    return made


def _joined(apply, text: str, share: float, rng: np.random.Generator) -> str:
    """Change the words of a text. If none is added or removed, white space stays as it is."""
    words = text.split()
    changed = apply(words, share, rng)
    if len(changed) != len(words):
        return " ".join(changed)
    spaces = [*re.findall(r"\s+", text.strip()), ""]
    return "".join(word + space for word, space in zip(changed, spaces, strict=True))
