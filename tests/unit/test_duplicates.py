"""Images that occur in several sets."""

import shutil
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageDraw

from soups.data import decode, duplicates, folders, hashes, preparation


def photo(seed: int, width: int = 120, height: int = 90) -> Image.Image:
    """A smooth image, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def data(tmp_path) -> dict:
    """`data.folders` of three sets, each with six different images of two classes."""
    for s, name in enumerate(("train", "test", "art")):
        for i in range(12):
            folder = tmp_path / name / ("cat" if i < 6 else "dog")
            folder.mkdir(parents=True, exist_ok=True)
            photo(100 * s + i).save(folder / f"{i:02d}.jpg", quality=92)
    sets = {"train": "train", "test": "test", "shifts": {"art": {"folder": "art"}}}
    return {"root": str(tmp_path), "image_size": 32, **sets}


def rows_of(data: dict, folder) -> list[tuple]:
    """What is found, as the rules check_set and check_data find it."""
    settings, sets = folders.settings_of(data), {}
    for name in folders.sources(settings):
        found = folders.listing(settings, name)
        images = preparation.image_files(settings, name, found.paths)
        path = folder / f"{name}.images.csv"
        path.write_text(duplicates.listed(found, decode.examine(images, 1)[1]), encoding="utf-8")
        sets[name] = duplicates.Images.read(path, preparation.location(settings, name))
    return [tuple(row.values()) for row in duplicates.found(sets)]


def test_different_images_give_no_row(data, tmp_path):
    assert rows_of(data, tmp_path) == []


def test_the_same_files_in_two_sets_are_listed(data, tmp_path):
    shutil.copy(tmp_path / "train/cat/03.jpg", tmp_path / "test/cat/x, y.jpg")
    shutil.copy(tmp_path / "test/dog/07.jpg", tmp_path / "art/dog/z.jpg")
    rows = rows_of(data, tmp_path)
    assert rows == [
        ("test", "cat/x, y.jpg", "train", "cat/03.jpg", "same file"),
        ("art", "dog/z.jpg", "test", "dog/07.jpg", "same file"),
    ]
    made = [dict(zip(("set", "image", "of_set", "of_image", "kind"), r, strict=True)) for r in rows]
    assert duplicates.remarks(made, "d.csv") == [
        "1 image of test is a copy of an image of train, byte for byte, which d.csv lists. "
        "The accuracy on test includes it.",
        "1 image of art is a copy of an image of test, byte for byte, which d.csv lists. "
        "The accuracies on both sets include it.",
    ]


@pytest.mark.parametrize(
    ("ending", "scale", "quality"),
    [("png", 1, 0), ("jpg", 1, 60), ("webp", 1, 80), ("jpg", 0.5, 90)],
)
def test_the_same_picture_in_another_format_or_size_is_listed(
    data, tmp_path, ending, scale, quality
):
    with Image.open(tmp_path / "train/dog/08.jpg") as image:
        small = image.resize([int(side * scale) for side in image.size])
        small.save(tmp_path / f"test/dog/v.{ending}", quality=quality)
    assert rows_of(data, tmp_path) == [
        ("test", f"dog/v.{ending}", "train", "dog/08.jpg", "same picture")
    ]


def test_a_copy_is_found_behind_another_picture_with_a_similar_hash(data, tmp_path):
    """A darker version has the same differences of neighbours, and is another picture."""
    copied = photo(8)
    copied.point(lambda value: value // 2).save(tmp_path / "train/dog/00 dark.png")
    copied.save(tmp_path / "test/dog/v.png")
    assert rows_of(data, tmp_path) == [("test", "dog/v.png", "train", "dog/08.jpg", "same picture")]


@pytest.mark.parametrize("paper", ["white", "red"])
def test_different_drawings_on_the_same_paper_are_not_the_same_picture(paper):
    """Paper has a small mean difference to every other drawing on the same paper."""
    drawings = []
    for lines in ([(10, 10, 80, 90), (80, 90, 90, 20)], [(20, 80, 50, 15), (50, 15, 60, 85)]):
        drawings.append(Image.new("RGB", (100, 100), paper))
        for line in lines:
            ImageDraw.Draw(drawings[-1]).line(line, "black")
    one, other = (np.asarray(d.resize((32, 32), Image.Resampling.BOX), float) for d in drawings)
    assert np.abs(one - other).mean() < hashes.ALIKE
    assert not hashes.alike(*drawings)
    content = BytesIO()
    drawings[0].resize((70, 70)).save(content, "JPEG", quality=60)
    assert hashes.alike(drawings[0], Image.open(content))


def test_each_image_is_compared_once_before_any_is_compared_again(monkeypatch):
    pairs = np.array([[0, 5], [1, 5], [2, 5], [3, 6], [4, 6], [7, 9]])
    assert duplicates._opened(pairs)[:, 0].tolist() == [0, 3, 7, 1, 4, 2]
    monkeypatch.setattr(duplicates, "COMPARED", 4)
    assert duplicates._opened(pairs)[:, 0].tolist() == [0, 3, 7, 1]
    monkeypatch.setattr(duplicates, "COMPARED", 2)
    assert duplicates._opened(pairs)[:, 0].tolist() == [0, 7]


def test_copies_within_the_training_set_are_listed_also_in_two_classes(data, tmp_path):
    shutil.copy(tmp_path / "train/cat/00.jpg", tmp_path / "train/cat/00 (copy).jpg")
    shutil.copy(tmp_path / "train/cat/01.jpg", tmp_path / "train/dog/01.jpg")
    photo(2, 60, 45).save(tmp_path / "train/cat/02_thumb.jpg", quality=90)
    assert sorted(row[1:] for row in rows_of(data, tmp_path)) == [
        ("cat/00.jpg", "train", "cat/00 (copy).jpg", "same file"),
        ("cat/02_thumb.jpg", "train", "cat/02.jpg", "same picture"),
        ("dog/01.jpg", "train", "cat/01.jpg", "same file in two classes"),
    ]


def test_pictures_without_structure_are_not_taken_for_the_same(data, tmp_path):
    for i, name in enumerate(("train", "test")):
        Image.new("RGB", (40, 40), (200, 30 + i, 40)).save(tmp_path / name / "cat" / "flat.png")
    (tmp_path / "test" / "cat" / "broken.png").write_text("x")
    (tmp_path / "train" / "cat" / "broken.png").write_text("x")
    assert rows_of(data, tmp_path) == []


def test_pairs_by_bands_are_those_of_all_comparisons():
    rng = np.random.default_rng(0)
    first = rng.integers(1, 2**63, 300).astype(np.uint64)
    second = np.concatenate([first[:100], rng.integers(1, 2**63, 50).astype(np.uint64)])
    for row in range(100):
        for _ in range(row % 5):
            second[row] ^= np.uint64(1) << np.uint64(rng.integers(64))
    distance = np.bitwise_count(first[:, None] ^ second[None])
    expected = np.argwhere(distance <= hashes.NEAR)
    np.testing.assert_array_equal(hashes.similar(first, second), expected)
    own = hashes.similar(second, second, within=True)
    assert all(i < j for i, j in own.tolist())


def test_a_band_that_many_images_share_costs_no_time_and_hides_no_equal_pictures():
    rng = np.random.default_rng(0)
    values = rng.integers(1, 2**63, 40_000).astype(np.uint64)
    values[:20_000] &= ~np.uint64(0xFFFF)  # pictures with the same flat background
    values[7] = values[5]
    values[12] = values[10] ^ np.uint64(1 << 40)  # other bands are equal
    pairs = hashes.similar(values, values, within=True).tolist()
    assert [5, 7] in pairs
    assert [10, 12] in pairs
    assert len(pairs) < 10
    assert sum(map(len, hashes._candidates(values, values))) < 1_000_000


def test_hashes_do_not_depend_on_memory_layout():
    image = photo(1)
    content = BytesIO()
    image.save(content, "PNG")
    assert hashes.of(content.getvalue(), image) == hashes.of(content.getvalue(), image.copy())


def test_few_pairs_of_large_sets_are_compared():
    values = np.random.default_rng(0).integers(1, 2**63, 50_000).astype(np.uint64)
    assert len(hashes.similar(values, values[:10_000])) == 10_000
    compared = sum(map(len, hashes._candidates(values, values[:10_000])))
    assert 10_000 <= compared < 100_000  # of 500 million pairs
