"""Image sets in Parquet files, written as Hugging Face's `datasets` writes them."""

import json
import sys
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from soups.data import checks, decode, folders, layouts, parquet, preparation
from soups.errors import UserError

HELDOUT = {"fraction": 0.5, "per_class": None, "indices": None, "seed": 0}
NAMES = ["dog", "cat"]  # not in the order of the alphabet


def colour(label: int, row: int) -> tuple[int, int, int]:
    return (40 + 150 * label, row, 90)


def content(label: int, row: int) -> bytes:
    out = BytesIO()
    Image.new("RGB", (12, 10), colour(label, row)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def write(tmp_path):
    """A function that writes a file of a split. Row i has class i % 2."""
    arrow = pytest.importorskip("pyarrow", reason="needs envs/requirements-parquet.txt")
    from pyarrow import parquet as library

    def written(name: str, count: int, names=NAMES, first: int = 0, labels=None, **columns):
        rows = range(first, first + count)
        labels = [i % 2 for i in rows] if labels is None else labels
        images = [{"bytes": content(i % 2, i), "path": f"{i}.png"} for i in rows]
        table = arrow.table({"image": images, "label": labels} | columns)
        features = {"image": {"_type": "Image"}, "label": {"_type": "Value", "dtype": "int64"}}
        if names:
            features["label"] = {"_type": "ClassLabel", "names": names}
        for column, of in (("fine", 4), ("coarse", 2)):
            if column in columns:
                features.pop("label", None)
                features[column] = {"_type": "ClassLabel", "names": list("abcd")[:of]}
        meta = {"huggingface": json.dumps({"info": {"features": features}})}
        path = tmp_path / "hf" / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        library.write_table(table.replace_schema_metadata(meta), path, row_group_size=3)

    return written


@pytest.fixture
def data(write, tmp_path) -> dict:
    """`data.folders` of a set in two training files and one test file."""
    write("train-00000-of-00002.parquet", 7)
    write("train-00001-of-00002.parquet", 9, first=7)
    write("validation-00000-of-00001.parquet", 4, NAMES[::-1], first=40)
    spec = {"folder": "hf", "layout": "parquet"}
    sets = {"train": spec, "test": spec | {"split": "validation"}, "shifts": {}}
    return {"root": str(tmp_path), "image_size": 8, **sets}


def test_a_set_has_the_images_and_the_class_names_of_its_files(data, tmp_path):
    checks.check_folders(data, HELDOUT)
    settings = folders.settings_of(data)
    assert folders.training_classes(settings) == NAMES
    found = folders.listing(settings, "train")
    assert np.bincount(found.labels).tolist() == [8, 8]
    assert found.paths[0] == "data/train-00000-of-00002.parquet[0]"
    images = preparation.image_files(settings, "train", found.paths)
    expected = [colour(row % 2, row) for row in range(16)]
    np.testing.assert_array_equal(images[:][:, 0, 0], expected)
    np.testing.assert_array_equal([images.decode(i)[:, 0, 0].tolist() for i in range(16)], expected)
    assert decode.broken(images, 2) == []
    ends = decode.pack(images, tmp_path / "packed.jpegs", 64, 1)
    packed = decode.PackedImages(tmp_path / "packed.jpegs", ends, 8)
    assert np.abs(packed[:].astype(int) - images[:]).max() < 8


def test_classes_of_two_sets_are_matched_by_name(data):
    settings = folders.settings_of(data)
    found = folders.listing(settings, "test")
    assert found.mapping == [("cat", [1]), ("dog", [0])]
    # Label 0 of the test set is the cat.
    images = preparation.image_files(settings, "test", found.paths)
    assert images[:][:, 0, 0, 0].tolist() == [40, 190, 40, 190]
    assert [name for name, _ in preparation.mapping(settings, "test", found)] == ["cat", "dog"]


def test_the_state_and_the_inputs_of_a_set_are_its_files(data, write, tmp_path):
    settings = folders.settings_of(data)
    folder, files = folders.inputs(settings, "train")
    assert (folder, len(files)) == (f"{tmp_path}/hf", 2)
    before = folders.state(settings, "train")
    (tmp_path / "hf" / "data" / ".DS_Store").write_text("x")
    assert folders.state(settings, "train") == before
    write("train-00001-of-00002.parquet", 10, first=7)
    assert folders.state(settings, "train") != before


def test_numbers_and_words_without_names_are_classes(write, tmp_path):
    write("a-0.parquet", 4, names=None)
    write("b-0.parquet", 4, names=None, labels=["x", "y", "x", "y"])
    assert parquet.classes(tmp_path / "hf", "a") == ["0", "1"]
    names, _, labels = parquet.labelled(tmp_path / "hf", "b")
    assert (names, labels.tolist()) == (["x", "y"], [0, 1, 0, 1])


def test_of_fine_and_coarse_labels_the_fine_ones_are_taken(write, tmp_path):
    write("train-0.parquet", 4, coarse=[0, 0, 1, 1], fine=[0, 1, 2, 3])
    assert parquet.classes(tmp_path / "hf", "train") == list("abcd")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"training_images": "folder"},
            "training_images is 'folder', expected 'array' or 'packed'",
        ),
        (
            {"test": {"folder": "hf", "layout": "parquet"}},
            "there is no file test-*.parquet, but files such as 'data/train-00000-of-00002.par",
        ),
        (
            {"test": {"folder": "hf", "layout": "parquet", "split": "train"}},
            "the folders 'hf' and 'hf' share images",
        ),
    ],
)
def test_impossible_settings(data, change, sentence):
    with pytest.raises(UserError) as error:
        checks.check_folders(data | change, HELDOUT)
    assert sentence in str(error.value)


def test_a_split_needs_parquet_files():
    spec = layouts.complete({"folder": "x", "split": "train"})
    with pytest.raises(UserError, match="has split 'train' and layout 'classes', expected layout"):
        checks._check_spec(spec, "data.folders.test")


def test_broken_files_and_rows_are_reported(data, write, tmp_path):
    (tmp_path / "hf" / "data" / "bad-0.parquet").write_bytes(b"PAR1 no parquet")
    with pytest.raises(UserError, match=r"bad-0\.parquet: not a readable Parquet file"):
        parquet.classes(tmp_path / "hf", "bad")
    write("none-0.parquet", 3, labels=[0, None, 1])
    with pytest.raises(UserError, match=r"none-0\.parquet\[1\]: the image has no class"):
        parquet.labelled(tmp_path / "hf", "none")
    file = "data/train-00000-of-00002.parquet"
    with pytest.raises(UserError, match=r"\[7\]: not a readable image \(the file has 7 rows\)"):
        parquet.read(tmp_path / "hf", f"{file}[7]")
    assert parquet.read(tmp_path / "hf", f"{file}[6]") == content(0, 6)


def test_files_that_disagree_about_classes_are_refused(write, tmp_path):
    write("a-0.parquet", 4)
    write("a-1.parquet", 4, NAMES[::-1])
    write("b-0.parquet", 4, names=None)
    write("b-1.parquet", 4, names=None, labels=["x", "y", "x", "y"])
    for split in "ab":
        with pytest.raises(UserError, match=rf"{split}-1\.parquet: the column or the names of its"):
            parquet.labelled(tmp_path / "hf", split)
    write("c-0.parquet", 3, labels=[0, 2, 1])
    with pytest.raises(UserError, match="column 'label' has class 2, expected a number"):
        parquet.labelled(tmp_path / "hf", "c")
    write("d-0.parquet", 0, names=None)
    with pytest.raises(UserError, match=r"d-0\.parquet: the split has no image"):
        parquet.classes(tmp_path / "hf", "d")


def test_each_row_group_is_read_once(data):
    settings = folders.settings_of(data)
    images = preparation.image_files(settings, "train", folders.listing(settings, "train").paths)
    parquet._group.cache_clear()
    assert len(next(decode.blocks(images, 1))) == 16
    assert parquet._group.cache_info().misses == 3 + 3  # groups of three rows in two files


def test_packed_jpegs_of_a_parquet_file_are_copied(data, write, tmp_path, monkeypatch):
    out = BytesIO()
    Image.new("RGB", (12, 10), "red").save(out, "JPEG")
    monkeypatch.setattr(sys.modules[__name__], "content", lambda *_: out.getvalue())
    write("train-0.parquet", 2)
    images = decode.ImageFiles(tmp_path / "hf", ["data/train-0.parquet[0]"], 8)
    decode.pack(images, tmp_path / "packed.jpegs", 64, 1)
    assert (tmp_path / "packed.jpegs").read_bytes() == out.getvalue()


def test_without_pyarrow_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "train-0.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"need the package pyarrow: pip install -r envs/requireme"):
        parquet.classes(tmp_path, "train")


@pytest.mark.parametrize("path", ["cat/x.jpg", "x[1].jpg", "x.parquet", "a.parquet[x]", "b[3]"])
def test_other_paths_are_no_rows(path):
    assert not parquet.is_row(path)
    assert parquet.is_row("data/x.parquet[12]")
