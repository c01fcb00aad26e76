"""From texts to token ids, batches and augmentation."""

import json
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import tokenize_set
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("tokenizers", reason="`make text` installs it")
pytest.importorskip("transformers", reason="`make text` installs it")

from soups import problems
from soups.data.prepared import PreparedSet
from soups.errors import UserError
from soups.models import checkpoints
from soups.models.pretrained import bring_in
from soups.text import preparation, tokenizing
from soups.text.augment import masked
from soups.text.batches import CHUNK, of_similar_length
from soups.text.sheet import LINES, sheet
from soups.text.tokens import Tokens, check_fit
from tests import texts


@pytest.fixture(scope="module")
def made():
    """The entries of a header, for texts of at most 12 tokens."""
    fast = texts.tokenizer("Bert")
    fast.backend_tokenizer.enable_truncation(12, strategy="longest_first")
    note = {"tokenizer": fast.backend_tokenizer.to_str(), "pad": 0, "max_length": 12}
    note |= {"config": {}, "pooling": "native"}
    return note, fast


def test_texts_are_encoded_as_transformers_does(made):
    note, fast = made
    given_texts = ["the film is dull", "a long plot is clever indeed"]
    rows = tokenizing.encode(note, given_texts)
    theirs = fast(given_texts, padding=True, return_tensors="np")
    assert rows.dtype == np.int32
    np.testing.assert_array_equal(rows[:, 2:], theirs["input_ids"])
    np.testing.assert_array_equal(rows[:, 0], theirs["attention_mask"].sum(1))
    np.testing.assert_array_equal(rows[:, 1], rows[:, 0])


@pytest.mark.parametrize("types", [0, 1])
def test_the_second_text_of_a_pair_begins_after_the_first(made, types):
    note, fast = made
    whole = json.loads(note["tokenizer"])
    for part in whole["post_processor"]["pair"][-2:]:
        for piece in part.values():
            piece["type_id"] = types  # RoBERTa gives both texts the same type
    note = note | {"tokenizer": json.dumps(whole)}
    row = tokenizing.encode(note, [("the film", "they left early")])[0]
    first = len(fast("the film")["input_ids"])
    assert (row[1], row[0]) == (first, len(row) - 2)
    assert row[1 + first] == fast.sep_token_id


def test_the_longer_text_of_a_pair_is_cut_and_cuts_are_reported(made):
    note, fast = made
    pairs = [("dull " * 30, "nobody liked it"), ("dull", "good")]
    found = tokenizing.encoded(note, pairs)
    assert found.cut.tolist() == [True, False]
    assert found.rows[0, 0] == 12
    second = fast("nobody liked it")["input_ids"][1:]
    assert found.rows[0, 2 + found.rows[0, 1] :].tolist() == second


def test_a_batch_is_padded_to_its_longest_text(made, tmp_path):
    note, _ = made
    rows = tokenizing.encode(note, ["dull", "the film is dull and slow", "good plot"])
    np.save(tmp_path / "set.npy", rows)
    tokens = Tokens(tmp_path / "set.npy")
    assert (len(tokens), tokens.shape, tokens.dtype) == (3, rows.shape, np.int32)
    np.testing.assert_array_equal(tokens.lengths, rows[:, 0])
    part = tokens[np.array([2, 0])]
    assert part.shape == (2, 2 + rows[[0, 2], 0].max())
    np.testing.assert_array_equal(part, rows[[2, 0], : part.shape[1]])
    assert part.flags.writeable
    again = pickle.loads(pickle.dumps(tokens))
    np.testing.assert_array_equal(again[np.arange(3)], rows)


def test_a_set_of_another_tokenizer_is_refused(tmp_path):
    np.save(tmp_path / "set.npy", np.array([[3, 3, 2, 99, 3], [2, 2, 2, 3, 0]], np.int32))
    tokens = Tokens(tmp_path / "set.npy")
    check_fit(tokens, SimpleNamespace(max_length=3, vocabulary=100))
    with pytest.raises(UserError, match="have up to 3 tokens, expected at most 2"):
        check_fit(tokens, SimpleNamespace(max_length=2, vocabulary=100))
    with pytest.raises(UserError, match="a token with the id 99, expected an id below 99"):
        check_fit(tokens, SimpleNamespace(max_length=3, vocabulary=99))


@given(
    lengths=st.lists(st.integers(1, 50), max_size=150),
    size=st.integers(1, 7),
    epoch=st.integers(0, 3),
    seed=st.integers(0, 3),
)
def test_every_text_is_in_one_batch_at_most(lengths, size, epoch, seed):
    lengths = np.array(lengths, int)
    batches = of_similar_length(lengths, size, epoch, seed)
    assert len(batches) == len(lengths) // size
    assert all(len(batch) == size for batch in batches)
    used = np.concatenate([*batches, np.empty(0, int)])
    assert len(np.unique(used)) == len(used) == len(batches) * size
    again = of_similar_length(lengths, size, epoch, seed)
    assert all(np.array_equal(one, two) for one, two in zip(batches, again, strict=True))


def test_batches_have_texts_of_similar_length_in_any_order():
    lengths = np.random.default_rng(0).integers(5, 200, 32 * 4 * CHUNK)
    batches = of_similar_length(lengths, 32, 0, 0)
    padded = sum(lengths[batch].max() * len(batch) for batch in batches)
    assert padded < 1.1 * lengths.sum()
    longest = [lengths[batch].max() for batch in batches]
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.3
    other = of_similar_length(lengths, 32, 1, 0)
    assert not np.array_equal(np.sort(batches[0]), np.sort(other[0]))


def test_masking_keeps_special_tokens_and_padding(made):
    note, fast = made
    rows = tokenizing.encode(note, ["the film is dull and slow"] * 400 + ["dull"])
    batch = torch.from_numpy(rows)
    generator = torch.Generator().manual_seed(0)
    changed = masked(batch, 2, 4, fast.all_special_ids, generator)
    assert torch.equal(changed[:, :2], batch[:, :2])
    different = changed != batch
    assert (changed[different] == 4).all()
    assert not different[:, 2].any()  # the start of each text
    assert not different[-1, 5:].any()  # padding
    words = rows[:-1, 0] - 2
    assert different[:-1].sum().item() / words.sum() == pytest.approx(0.2, abs=0.03)
    assert masked(batch, 0, 4, [], generator) is batch
    with pytest.raises(UserError, match=r"augment is 0.5, expected 0, because .* no mask token"):
        masked(batch, 0.5, None, [], generator)


@pytest.fixture
def run_script(made, tmp_path):
    """A function that tokenises records with the script of the rule, and returns the set."""
    note, _ = made
    checkpoints.save(tmp_path / "pretrained.safetensors", {}, note)

    def run(records: list[dict], name: str = "test", classes=texts.CLASSES) -> PreparedSet:
        job = SimpleNamespace(
            input=SimpleNamespace(
                texts=texts.write_jsonl(tmp_path / f"{name}.jsonl", records),
                pretrained=tmp_path / "pretrained.safetensors",
            ),
            output=[str(tmp_path / f"{name}.npy")],
            params=SimpleNamespace(set=name, classes=list(classes), derived=None),
        )
        tokenize_set.main(job)
        return PreparedSet(job.output[0])

    return run


def test_a_prepared_set_has_tokens_labels_and_examples(run_script):
    records = texts.reviews(6, pairs=True)
    data = run_script(records)
    assert data.labels.tolist() == [0, 1] * 3
    assert data.classes == ["bad", "good"]
    assert data.meta["paths"][0] == "films.csv:2"
    assert data.inputs[np.arange(6)].shape == data.inputs.shape
    assert data.problem.described(data) == {"problem": "text", "pad": 0}
    shown = data.meta["examples"]
    assert [each["label"] for each in shown] == ["bad", "good", "bad", "good"]
    assert shown[0]["text"] == records[0]["text"]
    assert shown[0]["second"] == records[0]["second"]
    assert data.meta["cut"] == int((data.inputs.lengths == 12).sum()) > 0
    part = next(data.problem.copied(data, np.array([1, 2]), 1))
    assert part.shape[0] == 2


def test_a_shift_may_lack_a_class_but_the_training_set_may_not(run_script):
    records = [record for record in texts.reviews(6) if record["label"] == "good"]
    data = run_script(records)
    assert data.meta["mapping"] == [["good", [1]]]
    assert data.labels.tolist() == [0, 0, 0]
    with pytest.raises(UserError, match="train: class 'bad' has no text, expected at least one"):
        run_script(records, "train")
    long = [record | {"text": "dull " * 100} for record in texts.reviews(2)]
    assert len(run_script(long).meta["examples"][0]["text"]) == 300


def test_a_text_without_a_token_is_refused_with_its_line(made, tmp_path, run_script):
    note, _ = made
    whole = json.loads(note["tokenizer"]) | {"post_processor": None}
    bare = note | {"tokenizer": json.dumps(whole)}
    checkpoints.save(tmp_path / "pretrained.safetensors", {}, bare)
    records = texts.reviews(4)
    records[2]["text"] = " \t"
    with pytest.raises(UserError, match=r"films\.csv:4 has a text without any token"):
        run_script(records)


def test_a_t5_of_its_own_pooling_takes_no_text_with_the_token_for_the_end(tmp_path):
    folder = texts.t5(tmp_path)
    records = texts.reviews(4)
    records[2]["text"] += " </s> indeed"
    for pooling in ("native", "decoder"):
        model = bring_in(
            f"transformers/{folder}", None, problem=problems.named("text"), pooling=pooling
        )
        preparation.tokenized(model.made_from, "train", records[:2])
        if pooling == "decoder":
            preparation.tokenized(model.made_from, "train", records)
            continue
        with pytest.raises(UserError, match=r"films\.csv:4 has a text that holds the token for"):
            preparation.tokenized(model.made_from, "train", records)


@pytest.mark.parametrize("pairs", [False, True])
def test_the_sheet_shows_a_short_text_of_each_class_and_set(pairs):
    def data(name: str, **more) -> SimpleNamespace:
        examples = [
            {"label": label, "text": f"{text} of {name} for $5"} | more
            for label in texts.CLASSES
            for text in ("the dull plot " * 60, "a review")
        ]
        return SimpleNamespace(name=name, meta={"examples": examples})

    more = {"second": "nobody liked it"} if pairs else {}
    figure = sheet([data("test"), data("other_domain", **more)], ["bad", "good", "unused"])
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert shown[:3] == ["set", "class", "first text" if pairs else "text"]
    assert [text for text in shown if text in ("test", "other domain")] == ["test", "other domain"]
    assert shown.count("bad") == shown.count("good") == 2
    assert shown.count(r"a review of test for \$5") == 2
    assert shown.count("nobody liked it") == (2 if pairs else 0)
    assert "unused" not in shown


def test_a_long_text_of_the_sheet_ends_with_an_ellipsis():
    examples = [{"label": "bad", "text": "the dull plot " * 60}]
    figure = sheet([SimpleNamespace(name="test", meta={"examples": examples})], ["bad"])
    lines = [text for text in figure.axes[0].texts if "dull" in text.get_text()]
    assert len(lines) == LINES
    assert lines[-1].get_text().endswith(" …")
