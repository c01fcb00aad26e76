"""From the records of a set of texts to the arrays and the metadata of a prepared set."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from soups.data.prepared import ClassMapping
from soups.errors import UserError
from soups.text import tokenizing

log = logging.getLogger("soups")

SHOWN, LONGEST = 2, 300  # examples of a class in the metadata, and characters of each text


def labelled(name: str, records: Sequence[Mapping], classes: Sequence[str]) -> tuple:
    """Labels of a set, and their meaning.

    Args:
        name: of the set.
        records: see `reading`.
        classes: names of the training classes.

    Returns:
        int64, shape (n,), and the mapping of the classes that the set has, see `data.prepared`.

    Raises:
        UserError: if a class has no text in the training set.
    """
    has = {record["label"] for record in records}
    missing = [each for each in classes if each not in has]
    if missing and name == "train":
        raise UserError(f"train: class {missing[0]!r} has no text, expected at least one")
    mapping: ClassMapping = [(each, [i]) for i, each in enumerate(classes) if each in has]
    index = {each: i for i, (each, _) in enumerate(mapping)}
    return np.array([index[record["label"]] for record in records], np.int64), mapping


def tokenized(note: Mapping, name: str, records: Sequence[Mapping]) -> tuple[np.ndarray, dict]:
    """Token ids of a set, and the entries of its metadata.

    Args:
        note: of the header of the pre-trained model.
        name: of the set.
        records: see `reading`.

    Raises:
        UserError: if a text has no token.
    """
    found = tokenizing.encoded(note, [text_of(record) for record in records])
    lengths = found.rows[:, 0]
    if (lengths == 0).any():
        where = records[int(np.flatnonzero(lengths == 0)[0])]["from"]
        raise UserError(f"{where} has a text without any token, expected a text with words")
    cut, most = int(found.cut.sum()), note["max_length"]
    log.info("%s: %d texts of %.1f tokens on average", name, len(lengths), lengths.mean())
    if cut:
        log.warning("%s: %d texts are longer than %d tokens and were cut", name, cut, most)
    more = {"problem": "text", "pad": note["pad"], "cut": cut}
    return found.rows, more | {"examples": examples(records)}


def examples(records: Sequence[Mapping]) -> list[dict]:
    """The first texts of each class, cut to a few characters, for a figure of the set."""
    count: dict[str, int] = {}
    shown = []
    for record in records:
        label = record["label"]
        count[label] = count.get(label, 0) + 1
        if count[label] <= SHOWN:
            texts = {key: _short(record[key]) for key in ("text", "second") if key in record}
            shown.append({"label": label} | texts)
    return shown


def text_of(record: Mapping) -> str | tuple[str, str]:
    return (record["text"], record["second"]) if "second" in record else record["text"]


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…"
