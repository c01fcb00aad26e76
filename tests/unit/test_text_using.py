"""Predictions for texts, exports and facts of text soups, from the file of a soup alone."""

import csv
import io
import json
import os
import re

import numpy as np
import predict as tool
import pytest
import torch

pytest.importorskip("transformers", reason="`make text` installs it")

import verify as verify_tool
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from soups.errors import UserError
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.pretrained import bring_in
from soups.problems import named
from soups.text.tokenizing import encode
from soups.usage import verify
from soups.usage.export import export
from tests.unit.cooked import NAMES, cooked
from tests.unit.text_folders import KINDS, SECONDS, TEXTS, folder_of, logits_of


@pytest.fixture
def soup_of(tmp_path):
    """A function that writes a soup of an architecture, and returns its file."""

    def made(kind="Bert", pair=False, **more):
        folder_of(kind, tmp_path / "start")
        model = bring_in(f"transformers/{tmp_path / 'start'}", None, problem=named("text"), **more)
        texts = list(zip(TEXTS, SECONDS, strict=True)) if pair else TEXTS
        meta = {"problem": "text", "pad": model.made_from["pad"]}
        examples = encode(model.made_from, texts), meta
        return cooked(tmp_path / "results", model, examples=examples)

    return made


@pytest.fixture
def run(configured):
    """A function that calls the tool on the CPU."""
    return lambda *given: tool.main(
        tool.parsed([*map(str, given), "--threads", "1", "--device", "cpu"])
    )


def card_of(path) -> dict:
    return Checkpoint(path).note["model"]


@torch.inference_mode()
def logits(path, texts) -> torch.Tensor:
    """The workflow's own logits of texts."""
    return load_classifier(path)(torch.from_numpy(encode(card_of(path), texts)))


def read(path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def classes(path, texts) -> list[str]:
    return [NAMES[i] for i in logits(path, texts).argmax(1)]


# Predictions


def test_lines_of_a_file_are_classified(soup_of, run, tmp_path):
    soup, file, out = soup_of(), tmp_path / "texts.txt", tmp_path / "out.csv"
    file.write_text("a good film\n\nbad, bad\tmusic\n", encoding="utf-8-sig")
    run(soup, file, "--out", out, "--top", 2)
    rows = read(out)
    assert [row["from"] for row in rows] == [f"{file}:1", f"{file}:3"]
    assert [row["text"] for row in rows] == ["a good film", "bad, bad\tmusic"]
    assert [row["class"] for row in rows] == classes(soup, ["a good film", "bad, bad\tmusic"])
    want = logits(soup, ["a good film"]).double().softmax(1).topk(2).values[0]
    found = [float(rows[0]["probability"]), float(rows[0]["probability_2"])]
    np.testing.assert_allclose(found, want, rtol=1e-4)
    assert list(rows[0]) == ["from", "text", "class", "probability", "class_2", "probability_2",
                             "error"]  # fmt: skip


@pytest.mark.parametrize("ending", [".tsv", ".csv", ".jsonl"])
def test_columns_of_a_table_are_classified(soup_of, run, tmp_path, ending):
    soup, file = soup_of(pair=True), tmp_path / f"pairs{ending}"
    if ending == ".jsonl":
        lines = [json.dumps({"b": two, "a": one}) for one, two in zip(TEXTS, SECONDS, strict=True)]
    else:
        between = "," if ending == ".csv" else "\t"
        pairs = zip(["a", *TEXTS], ["b", *SECONDS], strict=True)
        lines = [f"{two}{between}{one}" for one, two in pairs]
    file.write_text("\n".join(lines), encoding="utf-8")
    run(soup, file, "--columns", "a,b", "--out", tmp_path / "out.csv")
    rows = read(tmp_path / "out.csv")
    assert [(row["text"], row["second"]) for row in rows] == list(zip(TEXTS, SECONDS, strict=True))
    assert [row["class"] for row in rows] == classes(soup, list(zip(TEXTS, SECONDS, strict=True)))


def test_parquet_files_numbers_of_columns_and_the_standard_input(
    soup_of, run, tmp_path, monkeypatch
):
    soup = soup_of()
    want = classes(soup, TEXTS[:3])
    (tmp_path / "bare.tsv").write_text("".join(f"0\t{text}\n" for text in TEXTS[:3]))
    run(soup, tmp_path / "bare.tsv", "--columns", "2", "--out", tmp_path / "out.csv")
    assert [row["class"] for row in read(tmp_path / "out.csv")] == want

    def type_in(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    type_in("\n".join(TEXTS[:3]).encode())
    run(soup, "-", "--out", tmp_path / "out.csv")
    assert [(row["from"], row["class"]) for row in read(tmp_path / "out.csv")] == list(
        zip(["-:1", "-:2", "-:3"], want, strict=True)
    )
    type_in(b"a\ncaf\xe9\n")
    with pytest.raises(UserError, match="standard input, line 2: byte 5 is 0xe9, which is not UTF"):
        run(soup, "-", "--out", tmp_path / "out.csv")
    arrow = pytest.importorskip("pyarrow", reason="`make parquet` installs it")
    from pyarrow import parquet

    parquet.write_table(arrow.table({"text": TEXTS[:3]}), tmp_path / "texts.parquet")
    run(soup, tmp_path / "texts.parquet", "--out", tmp_path / "out.csv")
    assert [row["class"] for row in read(tmp_path / "out.csv")] == want


def test_empty_texts_stand_in_the_table_and_long_ones_are_cut(soup_of, run, tmp_path, capsys):
    (tmp_path / "texts.csv").write_text(f"text,label\n,1\n{'good ' * 60},2\n")
    run(soup_of(), tmp_path / "texts.csv", "--out", tmp_path / "out.csv")
    empty, long = read(tmp_path / "out.csv")
    assert empty["error"].endswith("texts.csv:2: the column 'text' is empty, expected a text")
    assert (empty["class"], long["error"]) == ("", "")
    assert "2 texts, 1 of them unreadable (see the column error), 1 text was cut to 40 tokens" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("pair", "name", "content", "options", "reason"),
    [
        (False, "x.csv", "sentence\na\n", [], r"no column 'text'.* \(--columns names the column\)"),
        (False, "x.tsv", "a\tb\n", ["--columns", "a,b"], "expected one column, because the model"),
        (True, "x.tsv", "a\tb\n", ["--columns", "a"], "expected two columns with a comma between"),
        (False, "x.tsv", "a\n", ["--columns", "0"], "expected names, or numbers from 1"),
        (True, "x.txt", "a\n", [], "x.txt, line 1: there are 1 texts, expected two texts"),
        (False, "x.pdf", "a\n", [], r"the ending is '\.pdf', expected one of"),
        (False, "x.txt", "\n", [], r"there is no text in \S+x\.txt, expected files of texts"),
        (False, "x.txt", "a\n", ["--list", "y"], "--list is 'y', expected no such option for text"),
        (False, None, "", [], "no such file, expected a file of texts"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(
    soup_of, run, tmp_path, pair, name, content, options, reason
):
    if name:
        (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=reason):
        run(soup_of(pair=pair), tmp_path / (name or "none.txt"), *options)


def test_images_have_no_columns(tmp_path):
    with pytest.raises(UserError, match="--columns is 'text', expected no such option for images"):
        named("images").given({}, ["x.png"], None, "text")


# Exports


@pytest.mark.parametrize("pair", [False, True], ids=["one", "two"])
@pytest.mark.parametrize("kind", KINDS)
def test_transformers_loads_its_export_by_itself(soup_of, tmp_path, kind, pair):
    soup = soup_of(kind, pair)
    export(soup, "huggingface", tmp_path / "out")
    model = AutoModelForSequenceClassification.from_pretrained(tmp_path / "out").eval()
    seconds = SECONDS if pair else None
    found = logits_of(model, TEXTS, seconds, tmp_path / "out")
    want = logits(soup, list(zip(TEXTS, SECONDS, strict=True)) if pair else TEXTS)
    torch.testing.assert_close(found, want, rtol=1e-5, atol=1e-5)
    assert model.config.id2label == dict(enumerate(NAMES))
    assert type(model).__name__ == f"{kind}ForSequenceClassification"
    length = AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length
    assert length == card_of(soup)["max_length"]
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
            "card.json"} <= set(os.listdir(tmp_path / "out"))  # fmt: skip


def test_an_export_can_be_read_again_as_a_ready_made_model(soup_of, tmp_path):
    from soups.models.fitting import layouts
    from soups.models.foreign import reading

    soup = soup_of("DistilBert")
    export(soup, "huggingface", tmp_path / "out")
    model = bring_in(f"transformers/{tmp_path / 'out'}", None, problem=named("text"))
    again = layouts.fit(reading.read(tmp_path / "out"), model, NAMES).state
    assert all(torch.equal(again[name], tensor) for name, tensor in Checkpoint(soup).items())


@pytest.mark.parametrize(("kind", "pooling"), [("Bert", "mean"), ("Bert", "first"),
                                               ("T5", "decoder")])  # fmt: skip
def test_another_pooling_has_no_classifier_in_transformers(soup_of, tmp_path, kind, pooling):
    soup = soup_of(kind, pooling=pooling)
    with pytest.raises(UserError, match=f"has the pooling '{pooling}', which no classifier of"):
        export(soup, "huggingface", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_another_library_has_no_text_classifiers(soup_of, tmp_path):
    with pytest.raises(UserError, match="which timm cannot compute, expected --to huggingface"):
        export(soup_of(), "timm", tmp_path / "out")


# Provenance


def test_a_text_soup_is_mixed_again_to_the_byte(soup_of, capsys):
    soup = soup_of(pair=True)
    assert verify_tool.main(str(soup), None, False) == 0
    text = capsys.readouterr().out
    assert "texts: an example is two texts, cut to 40 tokens" in text
    assert "features: pooling native" in text
    labels = [label for label, _ in verify.provenance(Checkpoint(soup).note)]
    assert labels[4:8] == ["architecture", "texts", "features", "4 classes"]


# The page docs/using.md

MARK = r"<!-- run by tests/unit/test_text_using\.py -->\n```python\n(.*?)```"


@pytest.fixture
def ran(root, tmp_path, monkeypatch, capsys):
    """A function that runs a block of Python of the page, and returns the logits it computes."""
    page = (root / "docs" / "using.md").read_text(encoding="utf-8")
    blocks = re.findall(MARK, page, re.DOTALL)
    monkeypatch.chdir(tmp_path)

    def run(number: int):
        given: dict = {}
        exec(compile(blocks[number], "docs/using.md", "exec"), given)
        assert re.fullmatch(r"(cat|dog|bird|fish) [\d.]+", capsys.readouterr().out.splitlines()[-1])
        return given["logits"]

    return run


def test_an_export_needs_nothing_of_this_project(soup_of, tmp_path, ran):
    soup = soup_of()
    export(soup, "huggingface", tmp_path / "exported")
    torch.testing.assert_close(ran(0), logits(soup, ["a good film"]))


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_another_pooling_is_computed_without_this_project(soup_of, tmp_path, ran, pooling):
    soup = soup_of(pooling=pooling)
    (tmp_path / "results" / "mine" / "soups").mkdir(parents=True)
    soup.rename(moved := tmp_path / "results" / "mine" / "soups" / "greedy.safetensors")
    torch.testing.assert_close(ran(1), logits(moved, ["a good film"])[0])
