"""Perturbations of texts: seeded, growing with the severity, and never empty."""

import itertools
from types import SimpleNamespace

import perturb_texts
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soups.text import reading
from soups.text.perturbations import PERTURBATIONS, perturb

LONG = "The quick Brown fox, who was 42 years old, jumped over\tthe lazy  dog near a river. " * 3
TEXTS = [{"text": LONG, "label": "a"}, {"text": "Really good", "second": "So Bad", "label": "b"}]
EVERY = pytest.mark.parametrize("name", PERTURBATIONS)


def changed(text: str, other: str, name: str) -> int:
    """The number of words that a perturbation has changed."""
    one, two = text.split(), other.split()
    if name == "dropped_words":
        return len(one) - len(two)
    return sum(a != b for a, b in zip(one, two, strict=True))


@EVERY
def test_a_higher_severity_changes_more_words(name):
    records = [{"text": LONG}] * 20
    counts = [
        [changed(LONG, made["text"], name) for made in perturb(records, name, severity, 0)]
        for severity in range(1, 6)
    ]
    for lower, higher in itertools.pairwise(counts):
        assert all(a <= b for a, b in zip(lower, higher, strict=True))
        assert sum(lower) < sum(higher)
    assert sum(counts[0]) > 0


@pytest.mark.parametrize("name", ["typos", "casing"])
def test_a_word_changes_in_the_same_way_at_every_severity(name):
    texts = [perturb(TEXTS, name, severity, 3)[0]["text"].split() for severity in range(1, 6)]
    for lower, higher in itertools.pairwise(texts):
        same = zip(LONG.split(), lower, higher, strict=True)
        assert all(b == c for a, b, c in same if a != b)


@EVERY
@given(texts=st.lists(st.text(min_size=1).filter(str.strip), min_size=1, max_size=4))
def test_no_text_becomes_empty(name, texts):
    records = [{"text": text.strip(), "second": text[::-1].strip()} for text in texts]
    for severity in (1, 5):
        for record in perturb(records, name, severity, 0):
            assert record["text"].strip()
            assert record["second"].strip()


@EVERY
def test_a_text_is_perturbed_by_its_seed_and_row_alone(name):
    records = [{"text": LONG}, {"text": LONG}, {"text": LONG}]
    made = perturb(records, name, 3, 7)
    assert perturb(records[:2], name, 3, 7) == made[:2]
    assert perturb([{"text": "other words here"}, *records[1:]], name, 3, 7)[1:] == made[1:]
    assert len({each["text"] for each in made}) == 3
    assert perturb(records, name, 3, 8) != made


@EVERY
def test_both_texts_of_a_pair_change_and_all_else_stays(name):
    record = {"text": LONG, "second": LONG, "label": "a", "from": "x.tsv:1"}
    made = perturb([record], name, 5, 0)[0]
    assert made["text"] not in (LONG, made["second"])
    assert made["second"] != LONG
    assert (made["label"], made["from"]) == ("a", "x.tsv:1")
    assert record["text"] == LONG


@pytest.mark.parametrize("name", ["typos", "casing", "shuffled_words"])
def test_white_space_stays(name):
    made = perturb([{"text": "one\ttwo  three\nfour five"}], name, 5, 1)[0]["text"]
    assert [c for c in made if c.isspace()] == list("\t  \n ")


def test_every_perturbation_does_what_its_name_says():
    words = LONG.split()
    casing, dropped, shuffled, typos = (
        perturb([{"text": LONG}], name, 5, 0)[0]["text"].split() for name in sorted(PERTURBATIONS)
    )
    assert [word.lower() for word in casing] == [word.lower() for word in words]
    assert 0.5 * len(words) < len(dropped) < 0.7 * len(words)
    remaining = iter(words)
    assert all(word in remaining for word in dropped)  # in their order
    assert sorted(shuffled) == sorted(words)
    assert all(
        abs(len(a) - len(b)) <= 1 and a[0] == b[0] for a, b in zip(words, typos, strict=True)
    )


def test_short_words_and_single_words_stay():
    assert perturb([{"text": "an ox is on it"}], "typos", 5, 0)[0]["text"] == "an ox is on it"
    for name in ("dropped_words", "shuffled_words"):
        assert perturb([{"text": "word"}], name, 5, 0)[0]["text"] == "word"


def test_the_script_perturbs_the_test_set_by_the_name_of_the_shift(tmp_path):
    path = tmp_path / "test.jsonl"
    path.write_text(reading.write_lines(TEXTS), encoding="utf-8")

    def made(name: str, seed: int) -> list[dict]:
        params = SimpleNamespace(set=name, spec={"perturbation": "typos", "severity": 4}, seed=seed)
        output = SimpleNamespace(texts=tmp_path / f"{name}.jsonl")
        given = SimpleNamespace(test=path)
        perturb_texts.main(SimpleNamespace(params=params, input=given, output=output))
        return reading.read_lines(output.texts)

    assert made("a", 0) == made("a", 0)
    assert made("a", 0) != made("b", 0)
    assert made("a", 0) != made("a", 1)
    assert [record["label"] for record in made("a", 0)] == ["a", "b"]
