import numpy as np
import pytest
from PIL import Image

from soups import folders
from soups.errors import UserError


def test_classes_are_sorted_and_visible(tmp_path, write_images):
    write_images(tmp_path, {"dog": 1, "cat": 1, ".cache": 1})
    (tmp_path / "readme.txt").touch()
    assert folders.classes(tmp_path) == ["cat", "dog"]


def test_listing_has_images_alone_in_order(tmp_path, write_images):
    write_images(tmp_path, {"cat": 2, "dog": 1, "cat/more": 1})
    for name in ("notes.txt", ".hidden.png", "upper.JPG"):
        (tmp_path / "dog" / name).touch()
    paths, labels = folders.listing(tmp_path, ["cat", "dog"])
    assert paths == [
        "cat/000.png", "cat/001.png", "cat/more/000.png", "dog/000.png", "dog/upper.JPG",
    ]  # fmt: skip
    assert labels.tolist() == [0, 0, 0, 1, 1]


def test_display_names():
    spoken = {"n01440764": "tench"}
    assert folders.display_names(["n01440764", "sea_lion"], spoken) == ["tench", "sea lion"]
    assert folders.display_names(["sea_lion"], None) == ["sea lion"]


def test_a_shift_may_know_fewer_classes_and_merge_some():
    train = ["boot", "cat", "dog", "shoe"]
    mapping = folders.shift_mapping(train, ["dog", "footwear"], {"footwear": ["boot", "shoe"]}, "s")
    assert mapping == [("dog", [2]), ("footwear", [0, 3])]


@pytest.mark.parametrize("mapping", [None, {"zebra": ["horse"]}])
def test_a_foreign_class_is_named(mapping):
    foreign = mapping["zebra"][0] if mapping else "zebra"
    with pytest.raises(UserError, match=f"shift s: class '{foreign}' is not among the 2 training"):
        folders.shift_mapping(["cat", "dog"], ["cat", "zebra"], mapping, "shift s")


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
    np.testing.assert_array_equal(folders.load(tmp_path / "wide.png", 16), pixels[:, middle])


@pytest.mark.parametrize("size", [(50, 31), (31, 50), (7, 9), (16, 1000)])
def test_load_gives_any_image_the_size(tmp_path, size):
    # Red left of or above the middle, blue on the other side, whatever the shape.
    x, y = np.meshgrid(np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]))
    first = (x if size[0] <= size[1] else y) < 0
    pixels = np.where(first[..., None], [255, 0, 0], [0, 0, 255]).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    image = folders.load(tmp_path / "image.png", 16)
    assert image.shape == (16, 16, 3)
    image = image if size[0] <= size[1] else image.swapaxes(0, 1)
    assert (image[:, :5, 0] > 200).all()
    assert (image[:, -5:, 2] > 200).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_load_gives_colour_whatever_the_file_has(tmp_path, mode):
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    Image.new("RGB", (8, 8), "white").convert(mode).save(path)
    assert (folders.load(path, 8) > 250).all()


def test_unreadable_images_are_named(tmp_path, write_images):
    write_images(tmp_path, {"cat": 1}, (64, 64))
    (tmp_path / "text.png").write_text("no image")
    whole = (tmp_path / "cat" / "000.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    for name in ("text.png", "half.png", "none.png"):
        with pytest.raises(UserError, match=rf"{name}: not a readable image"):
            folders.load(tmp_path / name, 8)


def test_prepare_keeps_the_order(tmp_path, write_images):
    write_images(tmp_path, {"cat": 2})
    first, second = "cat/000.png", "cat/001.png"
    pixels = folders.prepare(tmp_path, [second, first], 8)
    np.testing.assert_array_equal(pixels[0], folders.load(tmp_path / second, 8))
    np.testing.assert_array_equal(pixels[1], folders.load(tmp_path / first, 8))
