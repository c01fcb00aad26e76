import numpy as np
import pytest
from PIL import Image

from soups.data import decode, folders, layouts
from soups.data.images import PreparedSet, identity, write_set
from soups.errors import UserError
from tests import layouts as trees


def test_classes_are_sorted_and_visible(tmp_path, write_images):
    write_images(tmp_path, {"dog": 1, "cat": 1, ".cache": 1})
    (tmp_path / "readme.txt").touch()
    assert layouts.class_folders(tmp_path) == ["cat", "dog"]


def test_listing_has_images_alone_in_order(tmp_path, write_images):
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


def test_a_shift_may_know_fewer_classes_and_merge_some(tmp_path, write_images):
    train = ["boot", "cat", "dog", "shoe"]
    given = {"footwear": ["boot", "shoe"]}
    made, passed_over = mapping(tmp_path, write_images, ["dog", "footwear"], train, mapping=given)
    assert (made, passed_over) == ([("dog", [2]), ("footwear", [0, 3])], [])


@pytest.mark.parametrize("given", [None, {"zebra": ["horse"]}])
def test_a_foreign_class_is_named_or_passed_over(tmp_path, write_images, given):
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


def test_training_share_names_its_own_key():
    with pytest.raises(UserError, match=r"data\.folders\.pretrain_fraction is 0\.01"):
        folders.training_share(np.zeros(20, int), 0.01, 0, ["cat"])


@pytest.mark.parametrize(("size", "middle"), [((48, 16), slice(16, 32)), ((16, 16), slice(None))])
def test_load_crops_the_centre(tmp_path, size, middle):
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    # No resizing: the short side has the right length, and pixels stay what they are.
    np.testing.assert_array_equal(decode.load(tmp_path / "wide.png", 16), pixels[:, middle])


@pytest.mark.parametrize("size", [(50, 31), (31, 50), (7, 9), (16, 1000)])
def test_load_gives_any_image_the_size(tmp_path, size):
    # Red left of or above the middle, blue on the other side, whatever the shape.
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
def test_load_gives_colour_whatever_the_file_has(tmp_path, mode):
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
def test_a_set_written_in_blocks_is_the_set_written_at_once(tmp_path, images, labels, size):
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
def test_a_set_without_array_reads_images_where_they_are(tmp_path, store):
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
    for name in ("train.npy", "train.labels.npy", "train.json"):  # either names the set
        read = PreparedSet(path.with_name(name))
        assert read.images.shape == (24, 32, 32, 3)
        np.testing.assert_array_equal(read.images[[5, 23]], files[[5, 23]])
        np.testing.assert_array_equal(read.originals[[5, 23]], files[[5, 23]])
        assert read.classes == trees.wnids()


@pytest.fixture
def imagenet(tmp_path) -> dict:
    """`data.folders` for all sets, small, and `data.heldout`."""
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
    """A copy with one key changed."""
    key, _, rest = path.partition(".")
    return data | {key: changed(data.get(key) or {}, rest, value) if rest else value}


def test_imagenets_sets_are_good_as_they_come(imagenet, tmp_path):
    folders.check(data=imagenet["folders"], heldout=imagenet["heldout"])
    settings = folders.settings_of(imagenet["folders"])
    counts = {n: len(folders.listing(settings, n).paths) for n in folders.sources(settings)}
    assert counts == {
        "train": 24, "test": 12, "v2": 12, "r": 6, "sketch": 12, "objectnet": 4, "a": 4,
    }  # fmt: skip
    assert folders.training_classes(settings) == trees.wnids()
    # A rule runs again when an image comes or goes, which is when a class folder changes.
    depends = folders.inputs(settings, "a")
    assert depends == [f"{tmp_path}/imagenet-a/{wnid}" for wnid in trees.wnids((10, 671))]


def test_all_folders_that_are_missing_are_named_at_once(imagenet, tmp_path):
    (tmp_path / "sketch").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="/sketch: no such folder, expected one subfolder"):
        folders.check(data=imagenet["folders"], heldout=imagenet["heldout"])
    (tmp_path / "imagenet" / "val").rename(tmp_path / "elsewhere" / "val")
    sentence = f"no folders {tmp_path}/imagenet/val, {tmp_path}/sketch, .* of test, sketch$"
    with pytest.raises(UserError, match=sentence):
        folders.check(data=imagenet["folders"], heldout=imagenet["heldout"])


def test_a_flat_test_set_is_good_as_it_comes(imagenet, tmp_path):
    classes = trees.flatten(tmp_path / "imagenet" / "val", tmp_path / "imagenet" / "flat")
    trees.kaggle_labels(tmp_path / "imagenet" / "LOC_val_solution.csv", classes)
    spec = {"folder": "imagenet/flat", "labels": "imagenet/LOC_val_solution.csv"}
    data = changed(imagenet["folders"], "test", spec) | {"real": "imagenet/real.json"}
    val, real = tmp_path / "imagenet" / "val", tmp_path / "imagenet" / "real.json"
    assert len(trees.real_labels(real, val)) == 12
    folders.check(data, imagenet["heldout"])
    settings = folders.settings_of(data)
    assert len(folders.listing(settings, "test").paths) == 12
    labels = f"{tmp_path}/imagenet/LOC_val_solution.csv"
    assert folders.inputs(settings, "test") == [f"{tmp_path}/imagenet/flat", labels]


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("shifts.v2.layout", "classes", "class '10' is not among the 6 training classes"),
        ("shifts.r.layout", "imagenet_index", "class folder 'n01484850', expected 0 to 999"),
        ("shifts.objectnet.layout", "classes", "shifts.objectnet has layout 'classes' and mapp"),
        ("shifts.objectnet.mappings", None, "has layout 'objectnet' and mappings None, expected"),
        ("shifts.objectnet.mappings", "imagenet", "folder_to_objectnet_label.json: no such file"),
        ("shifts.r.labels", "x.csv", "x.csv: no such file, expected the labels of the images"),
        ("shifts.v2.labels", "x.csv", "shifts.v2 has labels, expected neither layout nor mapping"),
        ("train", {"folder": "imagenet/train", "labels": "x"}, "train: expected one subfolder per"),
        (
            "test",
            {"folder": "imagenetv2-matched-frequency-format-val", "layout": "imagenet_index"},
            "class '10' is only in one of the training and test folders",
        ),
        ("real", "real.json", "real.json: no such file, expected ReaL's labels"),
        ("names", {"n0": "tench"}, "data.folders.names: 'n0' is no class folder of"),
        ("shifts.more", {"folder": "imagenet/val/n01484850"}, "has no subfolder, expected one"),
        ("shifts.more", {"folder": "sketch"}, "'sketch' and 'sketch' share images"),
    ],
)
def test_what_cannot_be_said_of_a_set(imagenet, key, value, sentence):
    data = changed(imagenet["folders"], key, value)
    with pytest.raises(UserError) as error:
        folders.check(data, imagenet["heldout"])
    assert sentence in str(error.value)


@pytest.mark.parametrize("key", ["names", "real"])
def test_imagenets_names_and_labels_want_wordnet_ids(imagenet, tmp_path, write_images, key):
    (tmp_path / "real.json").write_text("[]")
    write_images(tmp_path / "own", {"train/cat": 3, "test/cat": 1, "shift/cat": 1})
    data = imagenet["folders"] | {"train": "own/train", "test": "own/test", "names": None}
    data |= {"shifts": {"x": {"folder": "own/shift"}}}
    data |= {key: "imagenet" if key == "names" else "real.json"}
    with pytest.raises(UserError, match=f"{key} is '.*', but training class 'cat' is none of"):
        folders.check(data, imagenet["heldout"])


def test_two_folders_may_not_be_the_same_class(imagenet, tmp_path, write_images):
    write_images(tmp_path / "imagenetv2-matched-frequency-format-val", {"0954": 1})
    with pytest.raises(UserError, match="'n07753592' is stood for by two classes"):
        folders.check(imagenet["folders"], imagenet["heldout"])


def test_an_empty_class_folder_is_found_before_any_job(imagenet, tmp_path):
    for path in (tmp_path / "imagenet-a" / trees.wnids()[1]).iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"imagenet-a/n01530575: no image, expected at least one"):
        folders.check(imagenet["folders"], imagenet["heldout"])


def test_a_class_that_is_left_without_image_is_named(imagenet):
    settings = folders.settings_of(imagenet["folders"])
    corrupt = [p for p in folders.listing(settings, "a").paths if p.startswith("n01530575")]
    kept = folders.listing(settings, "a", corrupt[:1])
    assert len(kept.paths) == len(kept.labels) == 3
    with pytest.raises(UserError, match=r"imagenet-a/n01530575: no image, expected at least one"):
        folders.listing(settings, "a", corrupt)


def test_marks_of_held_out_images_must_be_there(imagenet, tmp_path):
    given = imagenet["heldout"] | {"indices": str(tmp_path / "marks.npy")}
    with pytest.raises(UserError, match=r"marks\.npy': no such file, expected an array that marks"):
        folders.check(imagenet["folders"], given)
    np.save(tmp_path / "marks.npy", np.zeros(24))
    folders.check(imagenet["folders"], given | {"per_class": None})


def test_every_class_has_to_give_its_images_before_any_job(imagenet):
    with pytest.raises(UserError, match="per_class is 4: of the 4 training images of class 'n0148"):
        folders.check(imagenet["folders"], imagenet["heldout"] | {"per_class": 4})
