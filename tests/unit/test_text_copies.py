"""Texts that occur in several sets, and the table of all sets."""

import csv
import json
from types import SimpleNamespace

import check_texts
import pandas as pd
import pytest

from soups.report import presentation
from soups.text import copies, reading


def record(text: str, label: str = "a", second: str | None = None, line: int = 2) -> dict:
    made = {"text": text} | ({"second": second} if second else {})
    return made | {"label": label, "from": f"f.tsv:{line}"}


SETS = {
    "train": [record("One two"), record("three", line=3), record("one  TWO", "b", line=4)],
    "test": [record("three"), record("four", line=3), record("four", line=4)],
    "dvd": [record("four"), record("one two", "b", line=3), record("five", line=4)],
}


def test_copies_are_found_in_the_same_set_in_training_and_in_the_test_set():
    rows = [tuple(row[key] for key in copies.COLUMNS[:5]) for row in copies.found(SETS)]
    assert rows == [
        ("train", "f.tsv:4", "train", "f.tsv:2", copies.CLASSES),
        ("test", "f.tsv:2", "train", "f.tsv:3", copies.SAME),
        ("test", "f.tsv:4", "test", "f.tsv:3", copies.SAME),
        ("dvd", "f.tsv:2", "test", "f.tsv:3", copies.SAME),
        ("dvd", "f.tsv:3", "train", "f.tsv:2", copies.CLASSES),
    ]


def test_both_texts_of_a_pair_have_to_be_the_same():
    train = [record("a", second="b"), record("a b"), record("a", second="c")]
    test = [record("a", second="B"), record("b", second="a")]
    rows = list(copies.found({"train": train, "test": test}))
    assert [(row["set"], row["text"]) for row in rows] == [("test", "a | B")]


@pytest.fixture
def job(tmp_path):
    """The job of `check_texts` for `SETS`, of which dvd has been limited and two texts are cut."""
    given = {"reports": [], "texts": [], "meta": []}
    for name, records in SETS.items():
        found = len(records) + (name == "dvd")
        origin = {"classes": {"a": "a", "b": "b"}, "files": [f"{name}.tsv"]}
        paths = [tmp_path / f"{name}.{ending}" for ending in ("json", "jsonl", "meta")]
        paths[0].write_text(json.dumps(reading.report(origin, name, records, found)))
        paths[1].write_text(reading.write_lines(records))
        paths[2].write_text(json.dumps({"cut": 2 if name == "dvd" else 0}))
        for kind, path in zip(given, paths, strict=True):
            given[kind].append(path)
    output = SimpleNamespace(table=tmp_path / "data.csv", duplicates=tmp_path / "duplicates.csv")
    return SimpleNamespace(input=SimpleNamespace(**given), output=output)


def test_the_table_counts_what_the_list_has(job, caplog):
    check_texts.main(job)
    table = pd.read_csv(job.output.table)
    assert table.to_dict("list") == {
        "set": ["train", "test", "dvd"],
        "classes": [2, 1, 2],
        "texts": [3, 3, 3],
        "in_files": [3, 3, 4],
        "texts_each": [1, 1, 1],
        "longest": [8, 5, 7],
        "cut": [0, 0, 2],
        "repeated": [1, 1, 0],
        "in_training": [0, 1, 1],
        "files": ["train.tsv", "test.tsv", "dvd.tsv"],
    }
    with open(job.output.duplicates, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == copies.COLUMNS
    assert len(rows) == 5
    said = caplog.text
    for sentence in (
        "dvd has 3 of the 4 texts in its files, chosen at random by data.text.limit.",
        "2 texts of dvd are cut, because an input has at most",
        "1 text of test is also in train, which",
        "The results on test include such texts.",
        "The class differs for 1 of them. A held-out text may have its copy among the training",
    ):
        assert sentence in said
    assert presentation.data(table)[0][3] == "in files"


def test_a_list_without_copies_has_its_header_alone(job):
    for path, name in zip(job.input.texts, SETS, strict=True):
        path.write_text(reading.write_lines([record(name), record(f"{name} b", "b")]))
    check_texts.main(job)
    assert job.output.duplicates.read_text() == ",".join(copies.COLUMNS) + "\n"
