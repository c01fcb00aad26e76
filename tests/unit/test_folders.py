import numpy as np
import pytest
from PIL import Image

from soups.data import checks, decode, folders, layouts
from soups.data.prepared import PreparedSet, identity, write_set
from soups.data.splits import heldout_split
from soups.errors import UserError
from soups.images.originals import originals
from tests import layouts as trees


def test_class_folders_are_sorted_without_hidden_ones(tmp_path, write_images):
    write_images(tmp_path, {"dog": 1, "cat": 1, ".cache": 1})
    (tmp_path / "readme.txt").touch()
    assert layouts.class_folders(tmp_path) == ["cat", "dog"]


def test_a_listing_has_only_images_in_order(tmp_path, write_images):
    write_images(tmp_path, {"cat": 2, "dog": 1, "cat/more": 1})
    for name in ("notes.txt", ".hidden.png", "upper.JPG"):
        (tmp_path / "dog" / name).touch()
    found = layouts.listing(tmp_path.parent, layouts.complete(tmp_path.name), ["cat", "dog"])
    assert found.paths == [
        "cat/000.png", "cat/001.png", "cat/more/000.png", "dog/000.png", "dog/upper.JPG",
    ]  # fmt: skip
    assert found.labels.tolist() == [0, 0, 0, 1, 1]


def mapping(tmp_path, write_images, here, train, **spec):
    write_images(tmp_path / "shift", dict.fromkeys(here, 1))
    return layouts.mapping_of(tmp_path, layouts.complete({"folder": "shift"} | spec), train)


def test_a_shift_may_have_fewer_classes_and_merge_some(tmp_path, write_images):
    train = ["boot", "cat", "dog", "shoe"]
    given = {"footwear": ["boot", "shoe"]}
    made, passed_over = mapping(tmp_path, write_images, ["dog", "footwear"], train, mapping=given)
    assert (made, passed_over) == ([("dog", [2]), ("footwear", [0, 3])], [])


@pytest.mark.parametrize("given", [None, {"zebra": ["horse"]}])
def test_a_foreign_class_is_an_error_or_skipped(tmp_path, write_images, given):
    here, train = ["cat", "zebra"], ["cat", "dog"]
    foreign = given["zebra"][0] if given else "zebra"
    with pytest.raises(UserError, match=f"'{foreign}'.* is not among the 2 training"):
        mapping(tmp_path, write_images, here, train, mapping=given)
    spec = layouts.complete({"folder": "shift", "mapping": given, "skip_unknown": True})
    assert layouts.mapping_of(tmp_path, spec, train) == ([("cat", [0])], ["zebra"])
    with pytest.raises(UserError, match="none of its 2 classes stands for a training class"):
        layouts.mapping_of(tmp_path, spec, ["dog", "mouse"])


def test_training_share_is_disjoint_and_optional():
    labels, names = np.repeat([0, 1], 20), ["cat", "dog"]
    keep, pretrain = folders.training_share(labels, 0.25, 0, names)
    assert sorted([*keep, *pretrain]) == list(range(40))
    assert np.bincount(labels[pretrain]).tolist() == [5, 5]
    keep, pretrain = folders.training_share(labels, 0, 0, names)
    assert (keep.tolist(), pretrain.tolist()) == (list(range(40)), [])


def test_an_impossible_pretrain_fraction_is_reported_by_its_key():
    sentence = r"data\.folders\.pretrain_fraction is 0\.01 and takes 0 of the 20 training images"
    with pytest.raises(UserError, match=sentence):
        folders.training_share(np.zeros(20, int), 0.01, 0, ["cat"])


@pytest.mark.parametrize(("size", "middle"), [((48, 16), slice(16, 32)), ((16, 16), slice(None))])
def test_load_crops_the_centre(tmp_path, size, middle):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    # The short side has the right length, so that the image is not resized.
    np.testing.assert_array_equal(decode.load(tmp_path / "wide.png", 16), pixels[:, middle])


@pytest.mark.parametrize("size", [(50, 31), (31, 50), (7, 9), (16, 1000)])
def test_load_gives_every_image_the_given_size(tmp_path, size):
    # One half of the long side is red and the other half blue.
    x, y = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]))
    first = (x if size[0] <= size[1] else y) < 0
    pixels = np.where(first[..., None], [255, 0, 0], [0, 0, 255]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    image = decode.load(tmp_path / "image.png", 16)
    assert image.shape == (16, 16, 3)
    image = image if size[0] <= size[1] else image.swapaxes(0, 1)
    assert (image[:, :5, 0] > 200).all()
    assert (image[:, -5:, 2] > 200).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_load_returns_colour_for_every_mode(tmp_path, mode):
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new("RGB", (8, 8), "white").convert(mode).save(path)
    assert (decode.load(path, 8) > 250).all()


def test_unreadable_images_are_named(tmp_path, write_images):
    write_images(tmp_path, {"cat": 1}, (64, 64))
    (tmp_path / "text.png").write_text("no image")
    whole = (tmp_path / "cat" / "000.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    for name in ("text.png", "half.png", "none.png"):
        with pytest.raises(UserError, match=rf"{name}: not a readable image"):
            decode.load(tmp_path / name, 8)


@pytest.mark.parametrize("size", [1, 4, 60, 100])
def test_a_set_written_in_blocks_equals_one_written_at_once(tmp_path, images, labels, size):
    mapping, paths = identity(["a", "b", "c", "d"]), [f"{i}.png" for i in range(60)]
    write_set(tmp_path / "whole" / "x.npy", images, labels, mapping, paths)
    blocks = (images[i : i + size] for i in range(0, 60, size))
    write_set(tmp_path / "parts" / "x.npy", blocks, labels, mapping, paths)
    for name in ("x.npy", "x.labels.npy", "x.json"):
        whole, parts = tmp_path / "whole" / name, tmp_path / "parts" / name
        assert parts.read_bytes() == whole.read_bytes()
    np.testing.assert_array_equal(np.load(tmp_path / "parts" / "x.npy"), images)


def test_too_few_blocks_leave_no_set(tmp_path, images, labels):
    with pytest.raises(ValueError, match="40 rows, expected 60"):
        write_set(tmp_path / "x.npy", iter([images[:40]]), labels, identity(list("abcd")))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("store", ["packed", "folder"])
def test_a_set_without_array_reads_the_original_images(tmp_path, store):
    trees.imagenet(tmp_path, train=4, val=1)
    folder = tmp_path / "imagenet" / "train"
    found = layouts.listing(tmp_path, layouts.complete("imagenet/train"), trees.wnids())
    files = decode.ImageFiles(folder, found.paths, 32)
    where = {"folder": str(folder), "size": 32, "border": 0, "upright": True}
    if store == "packed":
        ends = decode.pack(files, tmp_path / "set" / "train.jpegs", 256, 2)
        np.save(tmp_path / "set" / "train.ends.npy", ends)
        where |= {"packed": "train.jpegs", "ends": "train.ends.npy"}
    path = tmp_path / "set" / "train.npy"
    write_set(path, None, found.labels, found.mapping, found.paths, decode=where)
    assert not path.exists()
    for name in ("train.npy", "train.labels.npy", "train.json"):  # each of them names the set
        read = PreparedSet(path.with_name(name))
        assert read.inputs.shape == (24, 32, 32, 3)
        np.testing.assert_array_equal(read.inputs[[5, 23]], files[[5, 23]])
        np.testing.assert_array_equal(originals(read)[[5, 23]], files[[5, 23]])
        assert read.classes == trees.wnids()


@pytest.fixture
def imagenet(tmp_path) -> dict:
    """The sections `data.folders`, with small versions of all sets, and `data.heldout`."""
    trees.imagenet(tmp_path, train=4, val=2)
    trees.shifts(tmp_path, 2)
    shifts = {
        "v2": {"folder": "imagenetv2-matched-frequency-format-val", "layout": "imagenet_index"},
        "r": {"folder": "imagenet-r"},
        "sketch": {"folder": "sketch"},
        "objectnet": {
            "folder": "objectnet-1.0/images", "layout": "objectnet",
            "mappings": "objectnet-1.0/mappings", "border": 2,
        },
        "a": {"folder": "imagenet-a"},
    }  # fmt: skip
    folders_ = {
        "root": str(tmp_path), "train": "imagenet/train", "test": "imagenet/val",
        "image_size": 32, "names": "imagenet", "shifts": shifts,
    }  # fmt: skip
    heldout = {"fraction": 0.02, "per_class": 2, "indices": None, "seed": 0}
    return {"folders": folders_, "heldout": heldout}


def changed(data: dict, path: str, value) -> dict:
    """Return a copy with one key changed."""
    key, _, rest = path.partition(".")
    return data | {key: changed(data.get(key) or {}, rest, value) if rest else value}


def test_imagenets_sets_pass_the_check_as_released(imagenet, tmp_path):
    checks.check_folders(data=imagenet["folders"], heldout=imagenet["heldout"])
    settings = folders.settings_of(imagenet["folders"])
    counts = {n: len(folders.listing(settings, n).paths) for n in folders.sources(settings)}
    assert counts == {
        "train": 24, "test": 12, "v2": 12, "r": 6, "sketch": 12, "objectnet": 4, "a": 4,
    }  # fmt: skip
    assert folders.training_classes(settings) == trees.wnids()
    assert folders.inputs(settings, "a") == (f"{tmp_path}/imagenet-a", [])
    mappings = [f"{tmp_path}/objectnet-1.0/mappings/{name}" for name in trees.MAPPINGS]
    objects = f"{tmp_path}/objectnet-1.0/images"
    assert folders.inputs(settings, "objectnet") == (objects, mappings)


def test_all_missing_folders_are_named_at_once(imagenet, tmp_path):
    (tmp_path / "sketch").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="/sketch: no such folder, expected one subfolder"):
        checks.check_folders(data=imagenet["folders"], heldout=imagenet["heldout"])
    (tmp_path / "imagenet" / "val").rename(tmp_path / "elsewhere" / "val")
    sentence = f"are no folders {tmp_path}/imagenet/val, {tmp_path}/sketch, .* of test, sketch$"
    with pytest.raises(UserError, match=sentence):
        checks.check_folders(data=imagenet["folders"], heldout=imagenet["heldout"])


def test_a_flat_test_set_passes_the_check_as_released(imagenet, tmp_path):
    classes = trees.flatten(tmp_path / "imagenet" / "val", tmp_path / "imagenet" / "flat")
    trees.kaggle_labels(tmp_path / "imagenet" / "LOC_val_solution.csv", classes)
    spec = {"folder": "imagenet/flat", "labels": "imagenet/LOC_val_solution.csv"}
    data = changed(imagenet["folders"], "test", spec) | {"real": "imagenet/real.json"}
    val, real = tmp_path / "imagenet" / "val", tmp_path / "imagenet" / "real.json"
    assert len(trees.real_labels(real, val)) == 12
    checks.check_folders(data, imagenet["heldout"])
    settings = folders.settings_of(data)
    assert len(folders.listing(settings, "test").paths) == 12
    labels = f"{tmp_path}/imagenet/LOC_val_solution.csv"
    assert folders.inputs(settings, "test") == (f"{tmp_path}/imagenet/flat", [labels])


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("shifts.v2.layout", "classes", "class '10' is not among the 6 training classes"),
        (
            "shifts.r.layout",
            "imagenet_index",
            "folder is named 'n01484850', expected 0 to 999",
        ),
        ("shifts.objectnet.layout", "classes", "shifts.objectnet has layout 'classes' and mapp"),
        ("shifts.objectnet.mappings", None, "has layout 'objectnet' and mappings None, expected"),
        ("shifts.objectnet.mappings", "imagenet", "folder_to_objectnet_label.json: no such file"),
        ("shifts.r.labels", "x.csv", "x.csv: no such file, expected the labels of the images"),
        (
            "shifts.v2.labels",
            "x.csv",
            "shifts.v2 has labels 'x.csv' and layout or mapping",
        ),
        (
            "train",
            {"folder": "imagenet/train", "labels": "x"},
            "x: no such file, expected the labels of the images in",
        ),
        (
            "train",
            {"folder": "imagenet/train", "layout": "imagenet_index"},
            "train has layout 'imagenet_index', expected one subfolder per class, or a flat folder",
        ),
        (
            "test",
            {"folder": "imagenetv2-matched-frequency-format-val", "layout": "imagenet_index"},
            "only the test folder has '10', '100', '2', '444', '671', '954' and only the training "
            "folder has 'n01484850', 'n01530575', 'n01860187', ",
        ),
        ("real", "real.json", "real.json: no such file, expected ReaL's labels"),
        ("names", {"n0": "tench"}, "data.folders.names has 'n0', expected class folders of"),
        ("shifts.more", {"folder": "imagenet/val/n01484850"}, "has no subfolder, expected one"),
        ("shifts.more", {"folder": "sketch"}, "'sketch' and 'sketch' share images"),
    ],
)
def test_impossible_settings_of_a_set(imagenet, key, value, sentence):
    data = changed(imagenet["folders"], key, value)
    with pytest.raises(UserError) as error:
        checks.check_folders(data, imagenet["heldout"])
    assert sentence in str(error.value)


@pytest.mark.parametrize("key", ["names", "real"])
def test_imagenets_names_and_labels_need_wordnet_ids(imagenet, tmp_path, write_images, key):
    (tmp_path / "real.json").write_text("[]")
    sets = {"train": 3, "test": 1, "shift": 1}
    write_images(tmp_path / "own", {f"{s}/{c}": n for s, n in sets.items() for c in ("cat", "dog")})
    data = imagenet["folders"] | {"train": "own/train", "test": "own/test", "names": None}
    data |= {"shifts": {"x": {"folder": "own/shift"}}}
    data |= {key: "imagenet" if key == "names" else "real.json"}
    with pytest.raises(UserError, match=f"{key} is '.*', but training class 'cat' is none of"):
        checks.check_folders(data, imagenet["heldout"])


def test_two_folders_may_not_stand_for_the_same_class(imagenet, tmp_path, write_images):
    write_images(tmp_path / "imagenetv2-matched-frequency-format-val", {"0954": 1})
    with pytest.raises(UserError, match="two classes stand for training class 'n07753592'"):
        checks.check_folders(imagenet["folders"], imagenet["heldout"])


def test_an_empty_class_folder_is_reported(imagenet, tmp_path):
    for path in (tmp_path / "imagenet-a" / trees.wnids()[1]).iterdir():
        path.unlink()
    with pytest.raises(UserError, match="imagenet-a/n01530575: the folder has no image, expected"):
        checks.check_folders(imagenet["folders"], imagenet["heldout"])


def test_a_class_of_corrupt_images_alone_is_reported(imagenet):
    settings = folders.settings_of(imagenet["folders"])
    corrupt = [p for p in folders.listing(settings, "a").paths if p.startswith("n01530575")]
    kept = folders.listing(settings, "a", corrupt[:1])
    assert len(kept.paths) == len(kept.labels) == 3
    with pytest.raises(UserError, match="imagenet-a/n01530575: none of its 2 images can be read"):
        folders.listing(settings, "a", corrupt)


def test_the_file_of_held_out_marks_must_exist(imagenet, tmp_path):
    given = imagenet["heldout"] | {"indices": str(tmp_path / "marks.npy")}
    with pytest.raises(UserError, match=r"marks\.npy': no such file, expected an array that marks"):
        checks.check_folders(imagenet["folders"], given)
    np.save(tmp_path / "marks.npy", np.zeros(24))
    checks.check_folders(imagenet["folders"], given | {"per_class": None})


def test_every_class_must_have_more_images_than_it_holds_out(imagenet):
    sentence = "per_class is 4, but there are 4 training images of class 'n01484850', expected"
    with pytest.raises(UserError, match=sentence):
        checks.check_folders(imagenet["folders"], imagenet["heldout"] | {"per_class": 4})


@pytest.fixture
def own(tmp_path, write_images) -> dict:
    """`data.folders` of two classes with 30 training images each."""
    write_images(tmp_path, {"train/cat": 30, "train/dog": 30, "test/cat": 1, "test/dog": 1})
    return {"root": str(tmp_path), "train": "train", "test": "test", "shifts": {}}


HELDOUT = {"fraction": 0.5, "per_class": None, "indices": None, "seed": 0}


def test_all_differences_of_training_and_test_classes_are_named_at_once(tmp_path, write_images):
    write_images(tmp_path, {f"train/{name}": 2 for name in ("T-Shirt", "bag", "cap", "coat")})
    write_images(tmp_path, {f"test/{name}": 1 for name in ("bags", "cap", "t-shirt", "x")})
    data = {"root": str(tmp_path), "train": "train", "test": "test", "shifts": {}}
    with pytest.raises(UserError) as error:
        checks.check_folders(data, HELDOUT)
    assert str(error.value) == (
        f"{tmp_path}/test: only the test folder has 'bags', 't-shirt', 'x' and only the training "
        f"folder has 'T-Shirt', 'bag', 'coat', expected the same classes as in {tmp_path}/train; "
        "did the test folder mean 'bag' by 'bags', 'T-Shirt' by 't-shirt'?"
    )


def test_a_missing_test_class_is_named_without_a_suggestion(own, tmp_path, write_images):
    write_images(tmp_path, {"train/fish": 30})
    with pytest.raises(UserError) as error:
        checks.check_folders(own, HELDOUT)
    assert str(error.value) == (
        f"{tmp_path}/test: only the training folder has 'fish', "
        f"expected the same classes as in {tmp_path}/train"
    )


def test_a_message_lists_twenty_classes_and_counts_the_rest(own, tmp_path):
    for i in range(25):
        (tmp_path / "test" / f"{i:02d}").mkdir()
    with pytest.raises(UserError, match="'18', '19', and 5 more, expected the same classes"):
        checks.check_folders(own, HELDOUT)


def test_too_few_images_are_reported_with_the_share_of_pretraining(own):
    with pytest.raises(UserError) as error:
        checks.check_folders(own | {"pretrain_fraction": 0.5}, HELDOUT | {"fraction": 0.02})
    assert str(error.value) == (
        "data.heldout.fraction is 0.02 and takes 0 of the 15 training images of class 'dog' "
        "(data.folders.pretrain_fraction took 15 of the 30 in its folder), expected at least 1 "
        "taken and 1 left; 0.067 to 0.933 would split every class"
    )
    for fraction in (0.067, 0.933):
        checks.check_folders(own | {"pretrain_fraction": 0.5}, HELDOUT | {"fraction": fraction})


def test_too_few_images_without_pretraining_are_reported(own):
    with pytest.raises(UserError) as error:
        checks.check_folders(own, HELDOUT | {"fraction": 0.01})
    assert str(error.value) == (
        "data.heldout.fraction is 0.01 and takes 0 of the 30 training images of class 'dog', "
        "expected at least 1 taken and 1 left; 0.034 to 0.966 would split every class"
    )


@pytest.mark.parametrize(("share", "possible"), [(0, 29), (0.5, 14)])
def test_too_few_images_for_a_number_per_class_are_reported(own, share, possible):
    data = own | {"pretrain_fraction": share}
    sentence = f"per_class is {possible + 1}, but there are {possible + 1} training images of class"
    with pytest.raises(UserError, match=rf"{sentence}.*; 1 to {possible} would split every class"):
        checks.check_folders(data, HELDOUT | {"per_class": possible + 1})
    checks.check_folders(data, HELDOUT | {"per_class": possible})


@pytest.mark.parametrize("share", [0, 0.5])
def test_random_held_out_sets_are_not_larger_than_the_held_out_set(own, share):
    data = own | {"pretrain_fraction": share}
    most = {0: 6, 0.5: 3}[share]  # a fifth of the 30 or 15 images of a class
    checks.check_folders(data, HELDOUT | {"fraction": 0.2}, most)
    with pytest.raises(UserError, match=rf"heldout_size.per_class has 50, but {most} images of cl"):
        checks.check_folders(data, HELDOUT | {"fraction": 0.2}, 50)


def test_all_images_can_be_held_out_and_random_sets_drawn_from_them(own):
    whole = HELDOUT | {"fraction": 1}
    checks.check_folders(own, whole, 30)
    with pytest.raises(UserError, match=r"has 31, but 30 images of class '\w+' are held"):
        checks.check_folders(own, whole, 31)
    checks.check_folders(own, whole | {"per_class": 5}, 5)


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5, 0.9, 0.95])
@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9])
def test_counting_some_images_is_as_good_as_counting_all(own, monkeypatch, fraction, share):
    """Large classes pass the check, although it does not count all of their images."""
    monkeypatch.setattr(checks, "walk", lambda folder, name: iter(["x"] * 100_000))
    data = own | {"pretrain_fraction": share}
    for per_class in (None, 26, 400):
        checks.check_folders(data, HELDOUT | {"fraction": fraction, "per_class": per_class})
    held = int(100_000 * (1 - share) * fraction)
    checks.check_folders(data, HELDOUT | {"fraction": fraction}, held - 2)


@pytest.mark.parametrize("seed", range(8))
def test_a_small_set_passes_the_check_only_if_it_can_be_split(tmp_path, monkeypatch, seed):
    """How a share is rounded in one class depends on the images of all classes."""
    rng = np.random.default_rng(seed)
    counts = dict(zip("abcdefg", [*rng.integers(60, 200, 6).tolist(), 3], strict=True))
    monkeypatch.setattr(checks, "walk", lambda folder, name: iter(["x"] * counts[name]))
    share, fraction, names = 0.4, 0.2, list(counts)
    labels = np.repeat(np.arange(len(names)), list(counts.values()))
    rest, _ = folders.training_share(labels, share, 0, names)
    try:
        heldout_split(labels[rest], fraction, 0, names)
        expected = None
    except UserError as error:
        expected = str(error).split(",")[0].split(" (")[0]
    train = {"folder": "train"}
    settings = {"root": str(tmp_path), "train": train, "pretrain_fraction": share, "seed": 0}
    try:
        checks._check_counts(settings, names, HELDOUT | {"fraction": fraction})
        found = None
    except UserError as error:
        found = str(error).split(",")[0].split(" (")[0]
    assert found == expected
