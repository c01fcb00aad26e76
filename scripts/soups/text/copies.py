"""Texts that occur in several sets or repeatedly in one, and the table of all checked sets.

Two texts are the same if they differ at most in upper and lower case and in white space. Of
examples with two texts, both have to be the same.
"""

from collections.abc import Iterator, Mapping, Sequence

COLUMNS = ("set", "from", "of_set", "of_from", "kind", "text")
SAME, CLASSES = "same text", "same text in two classes"
SHOWN = 100  # characters of a text in the list


def key_of(record: Mapping) -> tuple[str, ...]:
    """Return what two records have in common if their texts are the same."""
    texts = (record[key] for key in ("text", "second") if key in record)
    return tuple(" ".join(text.casefold().split()) for text in texts)


def found(sets: Mapping[str, Sequence[Mapping]]) -> Iterator[dict]:
    """Yield a row for each text that occurs earlier in its set, in training, or in the test set.

    Args:
        sets: set to its records: train first, then test, then the shifts.

    Yields:
        rows with the columns `COLUMNS`. A text has at most one row for each of these three sets.
    """
    earlier: dict[str, dict] = {}
    for name, records in sets.items():
        own: dict[tuple, Mapping] = {}
        for record in records:
            key = key_of(record)
            for of, known in [*earlier.items(), (name, own)]:
                if key in known:
                    yield _row(name, record, of, known[key])
            own.setdefault(key, record)
        if name in ("train", "test"):
            earlier[name] = own


def _row(name: str, record: Mapping, of: str, other: Mapping) -> dict:
    shown = " | ".join(record[key] for key in ("text", "second") if key in record)
    return {
        "set": name,
        "from": record["from"],
        "of_set": of,
        "of_from": other["from"],
        "kind": SAME if record["label"] == other["label"] else CLASSES,
        "text": shown[:SHOWN],
    }


def table_row(report: Mapping, twice: Sequence[Mapping], cut: int) -> dict:
    """Return the row of a set in the table of checks.

    Args:
        report: see `reading.report`.
        twice: the rows of `found`.
        cut: number of its texts that are longer than the model takes.
    """
    mine = [row["of_set"] for row in twice if row["set"] == report["set"]]
    return {
        "set": report["set"],
        "classes": len(report["classes"]),
        "texts": report["texts"],
        "in_files": report["in_files"],
        "texts_each": report["texts_each"],
        "longest": report["longest"],
        "cut": cut,
        "repeated": mine.count(report["set"]),
        "in_training": mine.count("train") if report["set"] != "train" else 0,
        "files": ", ".join(report["files"]),
    }


def remarks(rows: Sequence[Mapping], table: Sequence[Mapping], path: str) -> list[str]:
    """Return a sentence for each finding that people should know about.

    Args:
        rows: see `found`.
        table: see `table_row`.
        path: the file that lists the rows.
    """
    out = []
    for row in table:
        if row["texts"] < row["in_files"]:
            out.append(
                f"{row['set']} has {row['texts']:,} of the {row['in_files']:,} texts in its files, "
                "chosen at random by data.text.limit."
            )
        if row["cut"]:
            texts = _texts(row["cut"], row["set"], "is", "are")
            out.append(
                f"{texts} cut, because an input has at most data.text.max_length tokens, "
                "or as many as the model takes."
            )
    count: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        count.setdefault((row["set"], row["of_set"]), []).append(row["kind"])
    for (name, of), kinds in count.items():
        other = kinds.count(CLASSES)
        also = f" The class differs for {other:,} of them." if other else ""
        if name == of:
            what = f"{_texts(len(kinds), name, 'repeats', 'repeat')} an earlier text of the set"
        else:
            what = f"{_texts(len(kinds), name, 'is', 'are')} also in {of}"
        out.append(f"{what}, which {path} lists.{also} {_effect(name, of)}")
    return out


def _texts(count: int, name: str, one: str, several: str) -> str:
    """Return the subject of a sentence with its verb."""
    return (
        f"{count:,} text of {name} {one}" if count == 1 else f"{count:,} texts of {name} {several}"
    )


def _effect(name: str, of: str) -> str:
    if name == of == "train":
        return "A held-out text may have its copy among the training texts."
    if name == of:
        return f"The results on {name} count such a text several times."
    return f"The results on {name} include such texts."
