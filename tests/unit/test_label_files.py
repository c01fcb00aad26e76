"""Files of labels as people have them."""

import pytest

from soups.data import checks, folders, layouts
from soups.errors import UserError

CLASSES = ["cat", "sea lion"]
IMAGES = ["000.png", "001.png", "002.png"]
LABELS = [1, 0, 1]  # of the images


@pytest.fixture
def flat(tmp_path, write_images):
    """A function that writes a file of labels for three images, and lists them."""
    write_images(tmp_path, {"flat": 3})

    def listed(text: str | bytes, classes=CLASSES, name="labels.csv", **more):
        content = text.encode() if isinstance(text, str) else text
        (tmp_path / name).write_bytes(content)
        spec = layouts.complete({"folder": "flat", "labels": name} | more)
        return layouts.listing(tmp_path, spec, classes)

    return listed


def labels_of(found) -> list[int]:
    """Labels in the order of the images' names."""
    return [int(label) for _, label in sorted(zip(found.paths, found.labels, strict=True))]


ROWS = [("000.png", "sea lion"), ("001.png", "cat"), ("002.png", "sea lion")]


def lines(rows=ROWS, separator=",", header="", end="\n") -> str:
    return end.join([header] * bool(header) + [separator.join(map(str, row)) for row in rows])


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", ", " ; "])
@pytest.mark.parametrize("header", [("filename", "label"), ("image_id", "class"), ("a", "b"), ()])
def test_any_separator_with_or_without_header(flat, separator, header):
    found = flat(lines(separator=separator, header=separator.join(header)))
    assert labels_of(found) == LABELS
    assert found.missing == found.passed_over == []


def test_a_column_called_label_is_no_index_although_it_counts_the_lines(flat):
    text = lines([("000.png", 0, "x"), ("001.png", 1, "x")], header="image,label,part")
    found = flat(text)
    assert (found.paths, found.labels.tolist()) == (["000.png", "001.png"], [0, 1])


def test_a_file_that_changes_is_read_again(flat):
    assert labels_of(flat(lines())) == LABELS
    assert labels_of(flat(lines([(name, "cat") for name, _ in ROWS]))) == [0, 0, 0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends(flat, encoding, end):
    text = lines(header="image,label", end=end)
    mark = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}.get(encoding, b"")
    assert labels_of(flat(mark + text.encode(encoding))) == LABELS


@pytest.mark.parametrize(
    "text",
    [
        lines([(i, *row) for i, row in enumerate(ROWS)], header=",image,label"),
        lines([(i, *row) for i, row in enumerate(ROWS)], header="Unnamed: 0,file,species"),
        lines([(i, *row) for i, row in enumerate(ROWS)]),
        lines([(label, name) for name, label in ROWS], header="label,image"),
        lines([(name, i, label) for i, (name, label) in enumerate(ROWS)], header="id,n,label"),
        lines([(name, 7, label) for name, label in ROWS], header="id,class_id,class_name"),
        lines([(f'"{name}"', f'"{label}"') for name, label in ROWS]),
        lines([(name, label, "") for name, label in ROWS]),
        lines([(f"C:\\data\\flat\\{name}", label) for name, label in ROWS]),
        lines([(f"./images/flat/{name}", label) for name, label in ROWS], header="path,label"),
        lines([(name[:-4], label) for name, label in ROWS], header="id,label"),
        lines([(name[:-4], label) for name, label in ROWS]),
        lines([*ROWS, ROWS[0]]),  # a line twice
        lines([*ROWS, ("", "")]) + "\n\n\n",
        "ImageId,PredictionString\n000,1 2 3\n".replace("1 2 3", "cat 1 2"),
    ],
)  # fmt: skip
def test_columns_are_found(flat, text):
    found = flat(text)
    if "PredictionString" in text:
        assert (found.paths, found.labels.tolist()) == (["000.png"], [0])
    else:
        assert labels_of(found) == LABELS


@pytest.mark.parametrize("numbers", ["1 0 1", "1.0 0.0 1.0", "01 00 01"])
def test_classes_by_number(flat, numbers):
    rows = zip(IMAGES, numbers.split(), strict=True)
    assert labels_of(flat(lines(rows, header="image,target"))) == LABELS


def test_names_with_spaces_in_lines_of_words(flat, tmp_path):
    (tmp_path / "flat" / "000.png").rename(tmp_path / "flat" / "my photo 1.png")
    text = "my photo 1.png cat\n001.png cat\n002.png cat\n"
    assert labels_of(flat(text)) == [0, 0, 0]
    assert labels_of(flat(text.replace("my photo 1.png", '"my photo 1.png"'))) == [0, 0, 0]


def test_images_in_subfolders_are_found_by_path_or_by_name(flat, tmp_path, write_images):
    write_images(tmp_path / "flat", {"a": 1, "b": 2})
    (tmp_path / "flat" / "b" / "001.png").rename(tmp_path / "flat" / "b" / "only.png")
    found = flat("image,label\na\\000.png,cat\nb/000.png,sea lion\nonly,cat\n")
    assert dict(zip(found.paths, found.labels.tolist(), strict=True)) == {
        "a/000.png": 0, "b/000.png": 1, "b/only.png": 0,
    }  # fmt: skip
    assert found.passed_over == IMAGES


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            lines([*ROWS, ("000.png", "cat")]),
            "image '000.png' has two lines with different classes, 'sea lion' and 'cat', expected",
        ),
        (
            lines([(n, 1, 0) for n in IMAGES], header="image,cat,sea lion"),
            "the columns 'cat' and 'sealion' hold 0 and 1 alone as in a one-hot table",
        ),
        (
            lines([(n, 5, 6) for n in IMAGES], header="image,width,height"),
            "the columns are 'image', 'width', 'height', expected one of them to be called label",
        ),
        (lines([(n, "cats") for n in IMAGES]), "label 'cats' is none of .*did you mean cat"),
        (lines([(f"x{n}", "cat") for n in IMAGES]), "none of its 3 images is in .*'x000.png'"),
        (b"\xff\xd8\xff\xe0 no text", "the file is not text, expected one label per line, in UTF"),
        (b"000.png\0cat\n", "the file is not text"),
    ],
)
def test_what_a_file_does_not_say_is_refused_in_one_sentence(flat, text, sentence):
    with pytest.raises(UserError, match=sentence):
        flat(text)


def test_an_image_without_label_is_left_out(flat):
    found = flat("image,label\n000.png,cat\n001.png,\n")
    assert (found.paths, found.passed_over) == (["000.png"], ["001.png", "002.png"])


def test_labels_in_another_unicode_form_match(flat):
    found = flat(lines([(n, "cafe\u0301") for n in IMAGES]), ["bar", "caf\u00e9"])
    assert labels_of(found) == [1, 1, 1]


@pytest.fixture
def csv_sets(tmp_path, write_images) -> dict:
    """`data.folders` of one flat folder with a training and a test file of labels."""
    write_images(tmp_path, {"flat": 24})
    names = [f"{i:03d}.png" for i in range(24)]
    for file, part in (("train.csv", names[:20]), ("test.csv", names[20:])):
        rows = [(name, ["10", "9"][i % 2]) for i, name in enumerate(part)]
        (tmp_path / file).write_text(lines(rows, header="image,label"))
    sets = {s: {"folder": "flat", "labels": f"{s}.csv"} for s in ("train", "test")}
    return {"root": str(tmp_path), "shifts": {}, "image_size": 8} | sets


HELDOUT = {"fraction": 0.5, "per_class": None, "indices": None, "seed": 0}


def test_a_training_set_may_be_a_flat_folder_with_labels(csv_sets, tmp_path):
    checks.check_folders(csv_sets, HELDOUT)
    settings = folders.settings_of(csv_sets)
    assert folders.training_classes(settings) == ["9", "10"]  # numbers in their order
    found = folders.listing(settings, "train")
    assert (len(found.paths), found.names, found.labels.tolist()) == (
        20, ["9", "10"], [0] * 10 + [1] * 10,
    )  # fmt: skip
    assert len(found.passed_over) == 4  # the test images
    assert folders.inputs(settings, "train") == (f"{tmp_path}/flat", [f"{tmp_path}/train.csv"])
    with pytest.raises(UserError, match=r"heldout\.fraction is 0\.01 and takes 0 of the 10 train"):
        checks.check_folders(csv_sets, HELDOUT | {"fraction": 0.01})


def test_files_of_labels_that_share_images_are_refused(csv_sets, tmp_path):
    with open(tmp_path / "test.csv", "a") as file:
        file.write("\n000.png,10\n001.png,9\n")
    with pytest.raises(
        UserError, match=r"'train\.csv' and 'test\.csv' share 2 images such as '000"
    ):
        checks.check_folders(csv_sets, HELDOUT)
    again = csv_sets | {"test": csv_sets["train"]}
    with pytest.raises(UserError, match="share 20 images"):
        checks.check_folders(again, HELDOUT)


def test_a_training_file_of_one_class_is_refused(csv_sets, tmp_path):
    text = (tmp_path / "train.csv").read_text().replace(",9", ",10")
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(UserError, match=r"train\.csv: every label is '10', expected at least two"):
        checks.check_folders(csv_sets, HELDOUT)
