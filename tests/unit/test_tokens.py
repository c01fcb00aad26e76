import pytest
from hypothesis import given
from hypothesis import strategies as st

from soups.errors import UserError
from soups.models.tokens import PAD, WordTokenizer, split

WORDS = st.lists(st.from_regex(r"[a-z0-9]{1,6}", fullmatch=True), min_size=1, max_size=8)


def test_known_ids():
    tokenizer = WordTokenizer(["b", "a", "b"], 5)
    # pad 0, a 1, b 2, start 3, end 4
    assert tokenizer(["b a", "b"]).tolist() == [[3, 2, 1, 4, PAD], [3, 2, 4, PAD, PAD]]
    assert tokenizer.vocab_size == 5


@given(WORDS, st.randoms(use_true_random=False))
def test_ids_stand_for_words_in_any_order(words, random):
    shuffled = random.sample(words, len(words))
    tokenizer = WordTokenizer(shuffled, len(words) + 2)
    (ids,) = tokenizer([" ".join(words)]).tolist()
    assert [tokenizer.words[i - 1] for i in ids[1:-1]] == words
    # open_clip's text tower pools at the largest id.
    assert ids[-1] == max(ids) == tokenizer.vocab_size - 1
    assert ids[0] == tokenizer.start


@given(WORDS)
def test_a_vocabulary_covers_its_texts(words):
    texts = [f"A {word.upper()}, of {word}!" for word in words]
    tokens = WordTokenizer.from_texts(texts, 6)(texts)
    assert (tokens != PAD).sum(1).tolist() == [6] * len(texts)


def test_split_ignores_case_and_punctuation():
    assert split("A photo of a T-shirt, no. 2") == [
        "a",
        "photo",
        "of",
        "a",
        "t",
        "shirt",
        "no",
        "2",
    ]


def test_words_of_any_script():
    assert split("Ein Kühlschrank, 猫") == ["ein", "kühlschrank", "猫"]


def test_a_text_without_words_is_refused():
    with pytest.raises(UserError, match=r"'\?!' has no word"):
        WordTokenizer(["a"], 5)(["?!"])


def test_an_unknown_word_is_named():
    with pytest.raises(UserError, match=r"'a zebra' has the word 'zebra', expected one of the 2"):
        WordTokenizer(["a", "cat"], 5)(["a cat", "a zebra"])


def test_a_long_text_is_refused_and_the_longest_is_not():
    tokenizer = WordTokenizer(["a"], 5)
    assert tokenizer(["a a a"]).tolist() == [[2, 1, 1, 1, 3]]
    with pytest.raises(UserError, match=r"'a a a a' has 4 words, expected at most 3"):
        tokenizer(["a a a a"])
