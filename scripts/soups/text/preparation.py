"""From the records of a set of texts to the arrays and the metadata of a prepared set."""

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from soups.data.prepared import ClassMapping
from soups.errors import UserError
from soups.text import tokenizing
from soups.text.pooling import NATIVE

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
        UserError: if a text has no token, or more ends than the model's own classifier takes.
    """
    found = tokenizing.encoded(note, [text_of(record) for record in records])
    lengths = found.rows[:, 0]
    if (lengths == 0).any():
        where = records[int(np.flatnonzero(lengths == 0)[0])]["from"]
        raise UserError(f"{where} has a text without any token, expected a text with words")
    _check_ends(note, records, found.rows)
    cut, most = int(found.cut.sum()), note["max_length"]
    log.info("%s: %d texts of %.1f tokens on average", name, len(lengths), lengths.mean())
    if cut:
        log.info("%s: %d texts are longer than %d tokens and were cut", name, cut, most)
    more = {"problem": "text", "pad": note["pad"], "cut": cut}
    return found.rows, more | {"examples": examples(records)}


def _check_ends(note: Mapping, records: Sequence[Mapping], rows: np.ndarray) -> None:
    """Check that no text holds the token that ends texts, if the classifier counts these tokens.

    Those of encoder-decoders such as T5 do. They take the state of the last end as the feature, and
    refuse a batch whose texts have different numbers of ends.

    Args:
        note, records: see `tokenized`.
        rows: see `tokenizing.Encoded`.

    Raises:
        UserError: with the first text that has more ends than others.
    """
    config = note["config"]
    if note["pooling"] != NATIVE or not config.get("is_encoder_decoder"):
        return
    inside = np.arange(rows.shape[1] - 2) < rows[:, :1]
    ends = ((rows[:, 2:] == config["eos_token_id"]) & inside).sum(1)
    if (more := np.flatnonzero(ends > ends.min())).size:
        raise UserError(
            f"{records[int(more[0])]['from']} has a text that holds the token for the end of a "
            "text, such as </s>, expected texts without it, or another model.pooling"
        )


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
