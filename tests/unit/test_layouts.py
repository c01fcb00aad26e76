import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from soups.data import decode, imagenet, layouts
from soups.errors import UserError
from soups.evaluation.metrics import correct
from tests import layouts as trees

TRAIN = trees.wnids()


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Small versions of all sets. Tests that change files use `copy`."""
    root = tmp_path_factory.mktemp("data")
    trees.imagenet(root, train=2, val=3)
    trees.shifts(root, 4)
    classes = trees.flatten(root / "imagenet" / "val", root / "imagenet" / "flat")
    for name, write in trees.LABELS.items():
        folder = root / f"labels-{name.split('.')[0]}"  # one folder per file of labels
        folder.mkdir()
        write(folder / name, classes)
    return root


@pytest.fixture
def copy(root, tmp_path) -> Path:
    shutil.copytree(root, tmp_path / "data")
    return tmp_path / "data"


def labels_of(name: str) -> str:
    return f"labels-{name.split('.')[0]}/{name}"


def listing(root, train=TRAIN, **spec):
    return layouts.listing(root, layouts.complete(spec), train)


def flat(root, name: str, train=TRAIN, **more):
    return listing(root, train, folder="imagenet/flat", labels=labels_of(name), **more)


def perfect(truth: list[int], classes: int) -> np.ndarray:
    """Return the logits of a classifier that is always right, by training class."""
    return np.eye(classes)[truth]


V2 = {"folder": "imagenetv2-matched-frequency-format-val", "layout": "imagenet_index"}
OBJECTNET = {
    "folder": "objectnet-1.0/images",
    "layout": "objectnet",
    "mappings": "objectnet-1.0/mappings",
}


def test_v2_folders_are_read_as_numbers(root):
    found = listing(root, **V2)
    assert found.names == ["10", "100", "2", "444", "671", "954"]
    truth = [trees.CLASSES.index(int(path.split("/")[0])) for path in found.paths]
    members = [members for _, members in found.mapping]
    logits = perfect(truth, len(TRAIN))
    assert correct(logits, found.labels, members).mean() == 1
    # If folders in text order were taken for classes by index, three of six would be wrong.
    assert (logits.argmax(1) == found.labels).mean() == 0.5


def test_all_folders_of_v2(tmp_path):
    known = imagenet.imagenet_classes()
    for index in range(1000):
        (tmp_path / V2["folder"] / str(index)).mkdir(parents=True)
        (tmp_path / V2["folder"] / str(index) / "x.jpeg").touch()
    found = listing(tmp_path, known, **V2)
    truth = np.array([int(path.split("/")[0]) for path in found.paths])
    members = [members for _, members in found.mapping]
    assert correct(perfect(truth, 1000), found.labels, members).all()
    assert (truth == found.labels).mean() < 0.1


@pytest.mark.parametrize("name", ["1000", "-1", "n01440764", "²"])
def test_a_v2_folder_must_be_named_by_an_index(tmp_path, name):
    (tmp_path / V2["folder"] / name).mkdir(parents=True)
    with pytest.raises(UserError, match=f"a class folder is named '{name}', expected 0 to 999"):
        listing(tmp_path, **V2)


@pytest.mark.parametrize(
    ("folder", "classes"),
    [("imagenet-r", (2, 100, 954)), ("sketch", trees.CLASSES), ("imagenet-a", (10, 671))],
)
def test_the_folders_determine_the_subset_of_classes(root, folder, classes):
    found = listing(root, folder=folder)
    at = [trees.CLASSES.index(c) for c in classes]
    assert found.mapping == [(TRAIN[i], [i]) for i in at]
    assert np.bincount(found.labels).tolist() == [4] * len(classes)
    assert [path.split("/")[0] for path in found.paths] == [found.names[c] for c in found.labels]
    assert found.missing == found.passed_over == []
    # Logits of classes outside the set are ignored.
    logits = perfect([at[c] for c in found.labels], len(TRAIN))
    logits[:, [i for i in range(len(TRAIN)) if i not in at]] = 9
    assert correct(logits, found.labels, [members for _, members in found.mapping]).all()


def test_objects_stand_for_one_several_or_no_class(root):
    found = listing(root, **OBJECTNET)
    banana, tandem, mountain = (trees.CLASSES.index(c) for c in (954, 444, 671))
    assert found.names == ["banana", "bike"]
    assert [sorted(members) for _, members in found.mapping] == [[banana], [tandem, mountain]]
    assert found.passed_over == ["air_freshener", "drinking_cup"]
    assert np.bincount(found.labels).tolist() == [4, 4]


@pytest.mark.parametrize("kind", [444, 671])
def test_an_object_is_right_if_any_of_its_classes_wins(root, kind):
    found = listing(root, **OBJECTNET)
    members = [members for _, members in found.mapping]
    banana = trees.CLASSES.index(954)
    logits = np.zeros((len(found.labels), len(TRAIN)))
    logits[:, banana] = 2
    logits[found.labels == found.names.index("bike"), trees.CLASSES.index(kind)] = 3
    logits[:, 0] = 9  # a class outside the set
    assert correct(logits, found.labels, members).all()
    # The largest logit counts, not the sum: two bicycles of 1.5 do not beat a banana of 2.
    logits[:, [trees.CLASSES.index(c) for c in (444, 671)]] = 1.5
    assert correct(logits, found.labels, members).tolist() == [True] * 4 + [False] * 4


def test_the_border_of_objectnet_is_cut_off(root):
    found = listing(root, **OBJECTNET)

    def red(border: int) -> np.ndarray:
        images = decode.ImageFiles(root / OBJECTNET["folder"], found.paths, 32, border)
        whole = [np.asarray(images._image(row)) for row in range(len(images))]
        return np.array([(image == trees.RED).all(-1).any() for image in whole])

    assert red(0).all()
    assert red(1).all()
    assert not red(2).any()


@pytest.mark.parametrize("file", trees.MAPPINGS)
def test_a_missing_mapping_file_is_reported(copy, file):
    (copy / OBJECTNET["mappings"] / file).unlink()
    with pytest.raises(UserError, match=rf"{file}: no such file, expected ObjectNet's own"):
        listing(copy, **OBJECTNET)


def test_a_broken_mapping_file_is_reported(copy):
    (copy / OBJECTNET["mappings"] / trees.MAPPINGS[0]).write_text("{")
    with pytest.raises(UserError, match=r"folder_to_objectnet_label\.json: not valid JSON"):
        listing(copy, **OBJECTNET)


def test_an_object_with_an_unknown_imagenet_name_is_reported(copy):
    file = copy / OBJECTNET["mappings"] / trees.MAPPINGS[1]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"Banana": "banana; plantain"}))
    with pytest.raises(
        UserError, match=r"'Banana' has the ImageNet name 'plantain', expected .*_v2"
    ):
        listing(copy, **OBJECTNET)


def test_folders_without_a_mapping_are_skipped(copy):
    for name in ("__MACOSX", "zebra"):
        (copy / OBJECTNET["folder"] / name).mkdir()
    found = listing(copy, **OBJECTNET)
    assert found.passed_over == ["air_freshener", "drinking_cup", "zebra"]
    assert found.aside.left_behind == {"__MACOSX": 1}


@pytest.mark.parametrize("folder", ["sketch", V2["folder"], OBJECTNET["folder"]])
def test_classes_outside_the_training_set_are_an_error_or_skipped(root, folder):
    spec = {"folder": folder}
    spec = next((s for s in (V2, OBJECTNET) if s["folder"] == folder), spec)
    few = [wnid for wnid in TRAIN if wnid != trees.wnids([954])[0]]
    with pytest.raises(UserError, match="class 'n07753592' is not among the 5 training classes"):
        listing(root, few, **spec)
    found = listing(root, few, **spec, skip_unknown=True)
    name = {"sketch": "n07753592", V2["folder"]: "954"}.get(folder, "banana")
    assert name in found.passed_over
    assert not any(path.startswith(f"{name}/") for path in found.paths)
    # One of the two bicycle classes is enough.
    few.remove(trees.wnids([444])[0])
    if spec is OBJECTNET:
        found = listing(root, few, **spec, skip_unknown=True)
        assert found.mapping == [("bike", [few.index(trees.wnids([671])[0])])]


@pytest.mark.parametrize("name", trees.LABELS)
def test_a_flat_folder_has_the_images_of_class_folders(root, name):
    apart, found = listing(root, folder="imagenet/val"), flat(root, name)
    assert found.paths == [Path(path).name for path in apart.paths]
    assert (found.names, found.mapping) == (apart.names, apart.mapping)
    np.testing.assert_array_equal(found.labels, apart.labels)
    assert found.labels.dtype == np.int64
    assert found.missing == found.passed_over == []


KAGGLE, SYNSETS, INDICES, KIT = trees.LABELS


def test_a_missing_image_is_listed(copy):
    gone = "ILSVRC2012_val_00000003.JPEG"
    (copy / "imagenet" / "flat" / gone).unlink()
    for name in (KAGGLE, INDICES):
        found = flat(copy, name)
        assert found.missing == [gone]
        assert gone not in found.paths
        assert len(found.paths) == len(found.labels) == 17


@pytest.mark.parametrize("name", [SYNSETS, KIT])
def test_labels_without_names_need_all_images(copy, name):
    (copy / "imagenet" / "flat" / "ILSVRC2012_val_00000003.JPEG").unlink()
    with pytest.raises(UserError, match="18 labels, expected one for each of the 17 images in"):
        flat(copy, name)


@pytest.mark.parametrize("name", [KAGGLE, INDICES])
def test_an_image_without_label_is_skipped(copy, name):
    file = copy / labels_of(name)
    lines = file.read_text().splitlines()
    gone = lines.pop(1).replace(",", " ").split()[0].removesuffix(".JPEG") + ".JPEG"
    file.write_text("\n".join(lines))
    found = flat(copy, name)
    assert found.passed_over == [gone]
    assert gone not in found.paths
    assert len(found.paths) == 17


@pytest.mark.parametrize("name", trees.LABELS)
def test_labels_outside_the_training_set_are_an_error_or_skipped(root, name):
    few = TRAIN[:-1]
    if name == INDICES:
        sentence = "label '954' is none of the 5 training classes"
    elif name == KIT:
        sentence = f"label '{trees.NUMBER_2012[954] + 1}' is none of the 5 training classes"
    else:
        sentence = f"label '{TRAIN[-1]}' is none of the 5 training classes"
    with pytest.raises(UserError, match=sentence):
        flat(root, name, few)
    found, whole = flat(root, name, few, skip_unknown=True), flat(root, name)
    assert found.paths == [p for p, c in zip(whole.paths, whole.labels, strict=True) if c < 5]
    np.testing.assert_array_equal(found.labels, whole.labels[whole.labels < 5])
    assert [label.strip("'") for label in found.passed_over] == [sentence.split("'")[1]]
    assert found.missing == []


def test_class_numbers_without_names_need_the_kits_meta(copy):
    kit = copy / Path(labels_of(KIT)).with_name("meta.mat")
    savemat(kit, {"something": [1, 2]})
    with pytest.raises(UserError, match=r"meta\.mat: .*expected the development kit's synsets"):
        flat(copy, KIT)
    kit.write_text("no MATLAB file")
    with pytest.raises(UserError, match=r"meta\.mat: .*expected the development kit's synsets"):
        flat(copy, KIT)
    kit.unlink()
    with pytest.raises(UserError, match=r"numbers without image names, expected .*meta\.mat of"):
        flat(copy, KIT)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a.JPEG n01484850\na.JPEG n01530575\n",
            "image 'a.JPEG' has two lines with different classes, 'n01484850' and 'n01530575', ",
        ),
        (
            "a.JPEG n01484850\nb.JPEG\n",
            "a line holds only 'b.JPEG', expected an image and",
        ),
        ("image,label\na.JPEG,n01484850\n", "none of its 1 images is in .*, such as 'a.JPEG'"),
        ("a.JPEG 6\n", "label '6' is none of the 6 training classes"),
        ("", "0 labels, expected one for each of the 18 images"),
        ("n01484850\n" * 17, "17 labels, expected one for each of the 18 images"),
    ],
)
def test_malformed_labels_are_reported(copy, text, sentence):
    (copy / labels_of(INDICES)).write_text(text)
    with pytest.raises(UserError, match=sentence):
        flat(copy, INDICES)


def test_folder_and_labels_must_exist(root):
    with pytest.raises(UserError, match=r"none: no such folder, expected the images of .*val\.txt"):
        listing(root, folder="none", labels=labels_of(INDICES))
    with pytest.raises(UserError, match=r"none\.csv: no such file, expected the labels of"):
        listing(root, folder="imagenet/flat", labels="none.csv")


def test_numeric_folder_names_take_precedence_over_indices(tmp_path, write_images):
    names = sorted(str(i) for i in range(12))  # 10 and 11 come before 2
    write_images(tmp_path, {"flat": 12})
    files = [f"{i:03d}.png" for i in range(12)]
    for text in (
        "".join(f"{f} {i}\n" for i, f in enumerate(files)),
        "\n".join(map(str, range(12))),
    ):
        (tmp_path / "labels.txt").write_text(text)
        found = listing(tmp_path, names, folder="flat", labels="labels.txt")
        said = dict(zip(found.paths, found.labels, strict=True))
        assert [names[said[f]] for f in files] == [str(i) for i in range(12)]


def test_labels_may_have_spaces_and_a_byte_order_mark(tmp_path, write_images):
    write_images(tmp_path, {"flat": 2})
    (tmp_path / "labels.csv").write_text("000.png,sea lion\n001.png,cat\n", encoding="utf-8-sig")
    found = listing(tmp_path, ["cat", "sea lion"], folder="flat", labels="labels.csv")
    assert (found.paths, found.labels.tolist()) == (["001.png", "000.png"], [0, 1])


def test_imagenets_classes_are_in_the_order_of_wordnet_ids():
    known = imagenet.imagenet_classes()
    assert len(set(known)) == 1000
    assert known == sorted(known)
    assert [known.index(w) for w in ("n01440764", "n02123045", "n15075141")] == [0, 281, 999]
