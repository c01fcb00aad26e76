"""Files of texts in every format, and the sentence about each kind of bad input."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import read_texts
import split

from soups.data.prepared import identity, write_set
from soups.errors import UserError
from soups.text import formats, reading
from soups.text.source import Texts

PAIRS = [
    ("good, really", "pos"),
    ('a "bad" film', "neg"),
    ("fine\u2028indeed", "pos"),
    ("no", "neg"),
]


@pytest.fixture
def source(tmp_path):
    """A function that returns the texts of a configuration in a temporary folder."""

    def made(train="train.tsv", test="test.tsv", **text) -> Texts:
        section = {"root": str(tmp_path), "train": train, "test": test} | text
        return Texts.of({"text": section})

    return made


@pytest.fixture
def write(tmp_path):
    """A function that writes a file, as bytes or as text."""

    def written(name: str, content: str | bytes) -> None:
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / name).write_bytes(content)

    return written


def texts_of(source: Texts, name: str = "train") -> list[tuple]:
    records, found = reading.read(source.origin(name), name)
    assert found >= len(records)
    return [tuple(record[key] for key in ("text", "label", "from")) for record in records]


def refusal(source: Texts, name: str = "train") -> str:
    """The error of a set, which has to be one sentence that names the file."""
    with pytest.raises(UserError) as error:
        reading.read(source.origin(name), name)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert name in sentence
    assert len(sentence) < 400
    return sentence


def table(rows=PAIRS, delimiter="\t", header=True) -> str:
    lines = [delimiter.join(["text", "label"])] if header else []
    return "\n".join([*lines, *(delimiter.join(row) for row in rows)]) + "\n"


def csv_table(rows=PAIRS) -> str:
    cells = ['"{}",{}'.format(text.replace('"', '""'), label) for text, label in rows]
    return "\n".join(["text,label", *cells]) + "\n"


def lines_of(rows=PAIRS) -> str:
    return "".join(json.dumps({"id": 1, "text": a, "label": b}) + "\n" for a, b in rows)


@pytest.mark.parametrize("ending", ["tsv", "txt", "csv", "jsonl", "json"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_format_gives_the_same_texts(write, source, ending, line_end, mark):
    kind = {"tsv": table, "txt": table, "csv": csv_table}.get(ending, lines_of)
    write(f"train.{ending}", mark + kind().replace("\n", line_end))
    first = 1 if ending.startswith("json") else 2
    wanted = [(*pair, f"train.{ending}:{i}") for i, pair in enumerate(PAIRS, first)]
    assert texts_of(source(f"train.{ending}")) == wanted


def test_the_rows_of_parquet_files_are_read_in_their_order(tmp_path, source):
    arrow = pytest.importorskip("pyarrow", reason="needs envs/requirements-parquet.txt")
    from pyarrow import parquet

    columns = {"label": [b for _, b in PAIRS], "more": [[1]] * 4, "text": [a for a, _ in PAIRS]}
    parquet.write_table(arrow.table(columns), tmp_path / "train.parquet", row_group_size=3)
    wanted = [(*pair, f"train.parquet[{i}]") for i, pair in enumerate(PAIRS)]
    assert texts_of(source("train.parquet")) == wanted
    numbers = {"text": ["a", "b"], "label": [1.0, float("nan")]}
    parquet.write_table(arrow.table(numbers), tmp_path / "train.parquet")
    sentence = refusal(source("train.parquet", classes={"1.0": "one", "2.0": "two"}))
    assert sentence.endswith("train.parquet, row 1: the label is '', expected one of 1.0, 2.0, the "
         "classes of the training set by name or number")  # fmt: skip
    (tmp_path / "train.parquet").write_bytes(b"PAR1")
    assert "train.parquet: not a readable Parquet file" in refusal(
        source("train.parquet", classes=["a", "b"])
    )


def test_a_set_may_have_several_files_and_cells_with_line_breaks(write, source):
    write("a.csv", 'label,text\npos,"two\nlines"\nneg,b\n')
    write("b.csv", "label,text\npos,c\n\nneg, d \n")
    found = texts_of(source(["a.csv", "b.csv"]))
    assert found == [
        ("two\nlines", "pos", "a.csv:2"), ("b", "neg", "a.csv:4"), ("c", "pos", "b.csv:2"),
        ("d", "neg", "b.csv:4"),
    ]  # fmt: skip
    lines = reading.write_lines([{"text": "two\nlines\u2028"}, {"text": "b"}])
    write("lines.jsonl", lines)
    assert lines.count("\n") == 2
    folder = source("a.csv").settings["root"]
    assert reading.read_lines(f"{folder}/lines.jsonl")[0] == {"text": "two\nlines\u2028"}


def test_numbers_and_truth_values_become_their_text(write, source):
    write("train.jsonl", '{"text": 5, "label": true}\n{"text": "b", "label": false}\n')
    made = source("train.jsonl")
    assert made.classes == ["false", "true"]
    assert [row[:2] for row in texts_of(made)] == [("5", "true"), ("b", "false")]


@pytest.mark.parametrize(
    ("classes", "labels", "names"),
    [
        (["neg", "pos"], ["1", "neg"], ["pos", "neg"]),
        ({"4": "pos", "5": "pos", "1": "neg"}, ["5", "1"], ["pos", "neg"]),
        (["10", "2"], ["2", "10"], ["2", "10"]),
    ],
)
def test_labels_are_names_or_numbers(write, source, classes, labels, names):
    write("train.tsv", table([("a", labels[0]), ("b", labels[1])]))
    assert [row[1] for row in texts_of(source(classes=classes))] == names


def test_the_order_of_classes_without_names_is_that_of_numbers_or_of_the_alphabet(write, source):
    write("train.tsv", table([("a", "10"), ("b", "9"), ("c", "-1")]))
    assert source().classes == ["-1", "9", "10"]
    write("train.tsv", table([("a", "x"), ("b", "9"), ("c", "10")]))
    assert source().classes == ["10", "9", "x"]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "train.tsv",
            b"text\tlabel\nok\tpos\n\xffx\tneg\n",
            "line 3: byte 18 is 0xff, which is not",
        ),
        ("train.tsv", b"\xef\xbb\xbftext\tlabel\n\xe9\tneg\n", "line 2: byte 14 is 0xe9, which is"),
        (
            "train.tsv",
            table([("a\tb", "pos"), ("c", "neg")]),
            "line 2: there are 3 columns, expected 2 as in the first line, and quotes: true if "
            "cells stand in quotation marks",
        ),
        (
            "train.csv",
            "text,label\na,pos,x\n",
            "line 2: there are 3 columns, expected 2 as in the first line",
        ),
        (
            "train.csv",
            'text,label\na,pos\n"b,neg\nc,pos\n',
            "line 3: the quotation marks do not fit (unexpected end of data), expected cells in "
            "closed",
        ),
        ("train.csv", 'text,label\n"a"b,pos\n', "line 2: the quotation marks do not fit (',' exp"),
        (
            "train.tsv",
            table([("a", "pos"), (" ", "neg")]),
            "line 3: the text in column 'text' is emp",
        ),
        (
            "train.tsv",
            table([("a", "pos"), ("b", "ngé")]),
            "line 3: the label is 'ngé', expected one of neg, pos, 0, 1, the classes of the "
            "training set",
        ),
        ("train.tsv", table([("a", "pos"), ("b", "")]), "line 3: the label is '', expected one of"),
        (
            "train.tsv",
            table([("a", "pos"), ("b", "pos")]),
            "train (train.tsv) has texts of class 'pos' alone, expected at least two classes",
        ),
        ("train.tsv", "text\tlabel\n", "train (train.tsv) has no text, expected texts of at least"),
        ("train.jsonl", '{"text": "a", "label": 1}\n{"text": "a"\n', "line 2: not valid JSON"),
        (
            "train.jsonl",
            '{"text": "a", "label": 1}\n[1]\n',
            "line 2: the line holds no JSON object",
        ),
        (
            "train.jsonl",
            '{"text": "a", "label": 1}\n{"text": "a", "labl": 0}\n',
            "line 2: there is no column 'label', expected one of text, labl; did you mean labl?",
        ),
        (
            "train.jsonl",
            '{"text": null, "label": 1}\n',
            "line 1: the text in column 'text' is empty",
        ),
        (
            "train.jsonl",
            '{"text": ["a"], "label": 1}\n',
            "line 1: column 'text' holds list, expected text or a number",
        ),
        (
            "train.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b \\ud83d", "label": 0}\n',
            "line 2: column 'text' holds '\\ud83d', half of a character, expected text that UTF-8",
        ),
        ("train.jsonl", "[" * 100_000, "line 1: not valid JSON (maximum recursion depth"),
        ("train.jsonl", '{"label": ' + "1" * 5000, "line 1: not valid JSON (Exceeds the limit"),
        ("train.json", '[\n{"text": "a", "label": 1}\n]', "expected one object per line"),
    ],
)
def test_bad_input_is_one_sentence_with_its_line(write, source, name, content, sentence):
    write(name, content)
    assert sentence in refusal(source(name, classes=["neg", "pos"]))


def test_a_test_label_that_training_lacks_is_an_error(write, source):
    write("train.tsv", table())
    write("test.tsv", table([("a", "pos"), ("b", "mixed")]))
    sentence = "line 3: the label is 'mixed', expected one of neg, pos, the classes of the training"
    assert sentence in refusal(source(), "test")
    write("train.tsv", table([("a", "x"), ("b", "x")]))
    with pytest.raises(UserError, match=r"train.tsv: every label is 'x', expected at least two"):
        source()
    write("train.tsv", table([]))
    with pytest.raises(UserError, match=r"train.tsv: there is no label, expected at least two cla"):
        source()


def test_training_texts_need_all_named_classes_and_a_test_set_at_least_two(write, source):
    write("train.tsv", table([("a", "b"), ("b", "c")]))
    write("test.tsv", table([("a", "b"), ("b", "c")]))
    made = source(classes=["a", "b", "c"])
    assert "train (train.tsv) has no text of class 'a', expected texts of all" in refusal(made)
    assert len(texts_of(made, "test")) == 2


def test_a_limit_keeps_a_seeded_random_subset_in_order(write, source):
    rows = [(f"text {i}", "ab"[i % 2]) for i in range(40)]
    write("train.tsv", table(rows))
    write("test.tsv", table(rows))
    made = [source(limit={"train": 10, "test": n}, seed=s) for n, s in ((10, 0), (90, 0), (10, 1))]
    first, second, other = (texts_of(each) for each in made)
    assert first == second
    assert len(first) == 10
    assert sorted(first, key=lambda row: int(row[0][5:])) == first
    assert other != first
    assert len(texts_of(made[0], "test")) == 10
    assert texts_of(made[0], "test") != first
    assert len(texts_of(made[1], "test")) == 40
    origin = made[0].origin("train")
    report = reading.report(origin, "train", *reading.read(origin, "train"))
    assert (report["texts"], report["in_files"], report["texts_each"]) == (10, 40, 1)
    assert report["longest"] == 7
    assert report["files"] == ["train.tsv"]
    assert sum(report["classes"].values()) == 10
    assert "chosen by data.text.limit" in refusal(source(limit={"train": 2}, classes=list("abc")))


def test_the_script_writes_texts_and_a_report(write, source, tmp_path):
    columns = {"text": "a", "second": "b"}
    write("train.tsv", "a\tb\tlabel\nx\ty\tneg\nz\tw\tpos\n")
    made = source(columns=columns)
    output = SimpleNamespace(texts=tmp_path / "out.jsonl", report=tmp_path / "out.json")
    params = SimpleNamespace(origin=made.origin("train"), set="train")
    read_texts.main(SimpleNamespace(params=params, output=output))
    first = {"text": "x", "second": "y", "label": "neg", "from": "train.tsv:2"}
    assert reading.read_lines(output.texts)[0] == first
    assert json.loads(output.report.read_text())["texts_each"] == 2


def test_the_state_of_a_set_changes_with_its_files(write, source):
    write("train.tsv", table())
    made = source()
    before = made.state("train")
    assert made.state("train") == before
    write("train.tsv", table(PAIRS[:2]))
    assert made.state("train") != before
    with pytest.raises(
        SystemExit, match=r"test.tsv: No such file or directory, expected the texts"
    ):
        made.state("test")


def test_the_origin_of_a_set_does_not_depend_on_other_sets(write, source):
    write("train.tsv", table())
    one, other = source(shifts={"b": "b.tsv"}, limit={"test": 3}), source(seed=0)
    assert one.origin("train") == other.origin("train")
    assert one.inputs("train") == [f"{one.settings['root']}/train.tsv"]


def test_a_set_of_the_hub_is_read_from_a_local_folder(write, source, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="needs the package datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "set").mkdir()
    write("set/train.jsonl", lines_of())
    spec = {"hub": str(tmp_path / "set")}
    made = source(spec, spec, classes=["neg", "pos"])
    name = f"{tmp_path}/set/train"
    assert texts_of(made) == [(*pair, f"{name}[{i}]") for i, pair in enumerate(PAIRS)]
    assert made.inputs("train") == []
    before = made.state("train")
    write("set/train.jsonl", lines_of(PAIRS[:2]))
    assert made.state("train") != before
    origin = made.origin("train")
    wrong = origin | {"columns": {"text": "texts", "second": None, "label": "label"}}
    with pytest.raises(UserError, match=r"has no column 'texts', expected one of id, text, label;"):
        reading.read(wrong, "train")
    with pytest.raises(UserError, match=r"set/dev cannot be loaded \(.*\), expected a data set"):
        reading.read(origin | {"split": "dev"}, "train")
    with pytest.raises(UserError, match=r"data.text.classes is null, expected the names of the cl"):
        source(spec, spec)


def test_missing_packages_are_named(write, source, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    write("train.parquet", b"")
    made = source("train.parquet", classes=["a", "b"])
    assert refusal(made).endswith("python -m pip install -r envs/requirements-text.txt)")
    monkeypatch.setitem(sys.modules, "datasets", None)
    made = source({"hub": "x/train"}, classes=["a", "b"])
    assert refusal(made).endswith("python -m pip install -r envs/requirements-text.txt)")


def test_large_training_files_need_the_names_of_classes(write, source, monkeypatch):
    monkeypatch.setattr("soups.text.source.LARGEST", 0)
    write("train.tsv", table())
    with pytest.raises(UserError, match=r"classes because the training texts are in 0 MB of files"):
        source()
    assert source(classes=["neg", "pos"]).classes == ["neg", "pos"]


def test_long_cells_are_read_and_the_limit_of_the_csv_module_stays(write, source):
    import csv

    write("train.csv", csv_table([("x" * 200_000, "pos"), ("b", "neg")]))
    limit = csv.field_size_limit()
    assert len(texts_of(source("train.csv"))[0][0]) == 200_000
    assert csv.field_size_limit() == limit


def test_the_split_takes_any_training_set_of_two_classes(tmp_path):
    labels = np.arange(20) % 2
    rows = np.ones((20, 4), np.int32)
    paths = [f"train.tsv:{i}" for i in range(20)]
    write_set(tmp_path / "train.npy", rows, labels, identity(["a", "b"]), paths, problem="text")
    heldout = {"fraction": 0.2, "per_class": None, "indices": None, "seed": 0}
    output = SimpleNamespace(**{key: tmp_path / f"{key}.npy" for key in ("train", "heldout")})
    output.manifest = tmp_path / "manifest.json"
    given = [tmp_path / "train.npy"]
    split.main(SimpleNamespace(input=given, output=output, params=SimpleNamespace(heldout=heldout)))
    chosen = np.load(output.heldout)
    assert len(chosen) == 4
    manifest = json.loads(output.manifest.read_text())
    assert manifest["paths"] == [paths[i] for i in chosen]
    few = heldout | {"fraction": 0.01}
    with pytest.raises(UserError, match="takes 0 of the 10 training texts of class 'a', expected"):
        split.main(SimpleNamespace(input=given, output=output, params=SimpleNamespace(heldout=few)))


def test_reading_imports_neither_torch_nor_pandas(root):
    code = (
        "import sys; from soups.text import reading, checks, source; print({'torch', 'pandas', "
        "'pyarrow', 'datasets', 'transformers'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root / "scripts",
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert found == "set()\n"


def test_the_first_line_is_enough_for_the_check(tmp_path, write):
    write("a.csv", 'text,label\n"two\nlines",pos\n"open')
    formats.check(tmp_path / "a.csv", ["text", "label"], None, True)
    write("b.csv", '"two\nlines",pos\n')
    formats.check(tmp_path / "b.csv", [1, 2], None, False)
    write("c.jsonl", '{"text": "a", "label": 1}\nno')
    formats.check(tmp_path / "c.jsonl", ["text", "label"], None, True)
