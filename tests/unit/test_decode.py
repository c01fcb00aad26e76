import pickle
import subprocess
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import v2

from soups.data import decode
from soups.data.decode import ImageFiles, PackedImages
from soups.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SIZES = [(40, 30), (31, 47), (33, 33), (20, 24), (16, 90), (25, 16)]


def smooth(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return enlarged coarse noise, an image that JPEG and resizing change little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def files(tmp_path) -> ImageFiles:
    """Six JPEGs of different sizes."""
    for i, size in enumerate(SIZES):
        smooth(*size, seed=i).save(tmp_path / f"{i}.jpg", quality=95)
    return ImageFiles(tmp_path, [f"{i}.jpg" for i in range(len(SIZES))], 16)


@pytest.fixture
def packed(files, tmp_path) -> PackedImages:
    """The same six JPEGs in one packed file, none of them shrunk."""
    ends = decode.pack(files, tmp_path / "images.jpegs", side=64, threads=2)
    return PackedImages(tmp_path / "images.jpegs", ends, 16)


@given(st.integers(1, 70), st.integers(1, 70), st.integers(1, 40))
def test_square_equals_clips_preprocessing(width, height, size):
    noise = np.random.default_rng([width, height]).integers(0, 256, (height, width, 3), np.uint8)
    image = Image.fromarray(noise)
    bicubic = v2.InterpolationMode.BICUBIC
    clip = v2.Compose([v2.Resize(size, interpolation=bicubic), v2.CenterCrop(size)])
    np.testing.assert_array_equal(decode.square(image, size), np.asarray(clip(image)))


def test_square_equals_clips_preprocessing_at_full_size():
    image = smooth(501, 375)
    bicubic = v2.InterpolationMode.BICUBIC
    clip = v2.Compose([v2.Resize(224, interpolation=bicubic), v2.CenterCrop(224)])
    np.testing.assert_array_equal(decode.square(image, 224), np.asarray(clip(image)))


@pytest.mark.parametrize("shape", [(16, 1000), (3, 200), (700, 5), (300, 2), (1, 90), (90, 1)])
@pytest.mark.parametrize("size", [8, 33])
def test_a_thin_image_has_the_same_pixels_if_only_its_centre_is_enlarged(shape, size, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (*shape[::-1], 3), np.uint8)
    image = Image.fromarray(noise)
    monkeypatch.setattr(decode, "THIN", np.inf)
    whole = decode.square(image, size)
    monkeypatch.setattr(decode, "THIN", 0)
    difference = decode.square(image, size).astype(int) - whole
    assert np.abs(difference).max() <= (1 if size < min(shape) else 0)


@pytest.mark.parametrize("shape", [(2, 20_000), (1, 40_000), (40_000, 1)])
def test_a_thin_image_takes_little_memory(tmp_path, shape):
    """Enlarging all of 1 × 40,000 pixels took 8 GB. A process with less memory would fail."""
    Image.new("RGB", shape, "red").save(tmp_path / "x.png")
    code = (
        "import resource, sys; from soups.data import decode; "
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; "
        "assert decode.load(sys.argv[1], 224).shape == (224, 224, 3); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "x.png")]
    done = subprocess.run(command, cwd=ROOT / "scripts", check=True, capture_output=True, text=True)
    assert int(done.stdout) < 50_000  # kilobytes


def test_an_image_of_too_many_pixels_is_reported(tmp_path, monkeypatch):
    smooth(20, 30).save(tmp_path / "x.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"x\.png: not a readable image \(it has more than 200 pix"):
        decode.load(tmp_path / "x.png", 8)
    assert decode.broken(ImageFiles(tmp_path, ["x.png"], 8), 1)[0][0] == 0


@pytest.mark.parametrize("rows", [[0, 5, 2, 2], np.array([4, 1]), slice(1, 5, 2), [-1, 0], []])
@pytest.mark.parametrize("kind", ["files", "packed"])
def test_images_are_indexed_like_an_array(kind, rows, request):
    images = request.getfixturevalue(kind)
    every = np.stack([decode.load(f"{images.path(0).parent}/{i}.jpg", 16) for i in range(6)])
    assert images.shape == every.shape
    assert len(images) == len(every)
    rows = np.array(rows, int) if isinstance(rows, list) else rows
    np.testing.assert_array_equal(images[rows], every[rows])
    np.testing.assert_array_equal(images[4], every[4])
    mask = np.array([True, False, False, True, False, False])
    np.testing.assert_array_equal(images[mask], every[mask])
    with pytest.raises(IndexError):
        images[np.array([6])]


@pytest.mark.parametrize("kind", ["files", "packed"])
def test_pickled_images_hold_no_pixels_and_read_the_same(kind, request):
    images = request.getfixturevalue(kind)
    before = images[np.arange(6)]
    sent = pickle.dumps(images)
    assert len(sent) < 1000  # the file of JPEGs alone is larger
    np.testing.assert_array_equal(pickle.loads(sent)[np.arange(6)], before)


@pytest.mark.parametrize("kind", ["files", "packed"])
def test_decoded_tensors_equal_what_pillow_reads(kind, request):
    images = request.getfixturevalue(kind)
    for row in range(6):
        tensor = images.decode(row)
        ours = np.asarray(images._image(row)).astype(int)
        assert tensor.dtype == torch.uint8
        assert tensor.shape == (3, *SIZES[row][::-1])
        # Two JPEG libraries may round the inverse transform differently.
        assert np.abs(tensor.permute(1, 2, 0).numpy() - ours).max() <= 2


MODES = ["L", "P", "RGBA", "LA", "1", "CMYK", "I;16", "JPEG", "WEBP", "TIFF", "BMP", "PPM"]
ENDING = {"CMYK": "jpg", "JPEG": "jpg", "WEBP": "webp", "TIFF": "tif", "BMP": "bmp", "PPM": "ppm"}


@pytest.mark.parametrize("mode", MODES)
def test_both_readers_agree_on_every_format(tmp_path, mode):
    image, name = smooth(21, 14), f"image.{ENDING.get(mode, 'png')}"
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257)
    elif name.endswith("png") or mode == "CMYK":
        image = image.convert(mode)
    image.save(tmp_path / name)
    images = ImageFiles(tmp_path, [name], 14)
    read = np.asarray(images._image(0)).astype(int)
    assert np.abs(images.decode(0).permute(1, 2, 0).numpy() - read).max() <= 2
    # Pillow alone would clip 16-bit grey to a white image.
    assert read.std() > 20


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_upright(tmp_path, ending, orientation):
    # The upright image is red above and blue below.
    upright = np.zeros((24, 16, 3), np.uint8)
    upright[:12], upright[12:] = (250, 0, 0), (0, 0, 250)
    stored = {2: np.fliplr, 3: lambda x: x[::-1, ::-1], 4: np.flipud}
    stored |= {5: lambda x: x.swapaxes(0, 1), 6: np.rot90}
    stored |= {7: lambda x: x[::-1, ::-1].swapaxes(0, 1), 8: lambda x: np.rot90(x, 3)}
    pixels = np.ascontiguousarray(stored.get(orientation, lambda x: x)(upright))
    exif = Image.Exif()
    exif[decode.ORIENTATION] = orientation
    Image.fromarray(pixels).save(tmp_path / f"x.{ending}", exif=exif, quality=100)
    images = ImageFiles(tmp_path, [f"x.{ending}"], 16)
    for read in (np.asarray(images._image(0)), images.decode(0).permute(1, 2, 0).numpy()):
        assert read.shape == (24, 16, 3)
        assert (read[:10, :, 0] > 200).all()
        assert (read[14:, :, 2] > 200).all()


def test_broken_exif_data_does_not_affect_the_pixels(tmp_path):
    smooth(30, 20).save(tmp_path / "x.jpg", exif=b"Exif\0\0no TIFF header at all")
    images = ImageFiles(tmp_path, ["x.jpg"], 16)
    assert decode.broken(images, 1) == []
    assert images[0].std() > 20
    assert images.decode(0).shape == (3, 20, 30)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Pillow, on broken metadata
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif", "bmp", "ppm"])
@given(st.data())
def test_a_damaged_file_is_decoded_or_reported_in_one_sentence(tmp_path, ending, data):
    exif = Image.Exif()
    exif[decode.ORIENTATION] = 6
    more = {} if ending in ("bmp", "ppm") else {"exif": exif}
    smooth(20, 12).save(tmp_path / f"x.{ending}", **more)
    content = bytearray((tmp_path / f"x.{ending}").read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(
            st.integers(0, 255)
        )
    content = content[: data.draw(st.integers(1, len(content)))]
    (tmp_path / f"x.{ending}").write_bytes(content)
    images = ImageFiles(tmp_path, [f"x.{ending}"], 8)
    found = decode.broken(images, 1)
    if found:
        assert found[0][0] == 0
        assert f"x.{ending}: not a readable image" in found[0][1]
    else:
        assert images[0].shape == (8, 8, 3)


def test_a_border_is_cut_off(tmp_path):
    pixels = np.full((24, 20, 3), (255, 0, 0), np.uint8)
    pixels[2:-2, 2:-2] = np.random.default_rng(0).integers(0, 100, (20, 16, 3))
    Image.fromarray(pixels).save(tmp_path / "x.png")
    images = ImageFiles(tmp_path, ["x.png"], 16, border=2)
    np.testing.assert_array_equal(images._image(0), pixels[2:-2, 2:-2])
    np.testing.assert_array_equal(images.decode(0).permute(1, 2, 0), pixels[2:-2, 2:-2])
    np.testing.assert_array_equal(decode.load(tmp_path / "x.png", 16, border=2), images[0])
    with pytest.raises(UserError, match=r"x.png: the image has 20 × 24 pixels, expected more"):
        decode.load(tmp_path / "x.png", 16, border=10)


def test_small_jpegs_are_packed_unchanged(files, packed):
    for row in range(6):
        assert packed.read(row) == files.path(row).read_bytes()
        assert packed.path(row).name == f"images.jpegs[{row}]"
    assert packed.ends.dtype == np.int64
    assert packed.ends[-1] == packed.folder.stat().st_size


def test_large_images_are_packed_with_the_given_short_side(files, tmp_path):
    ends = decode.pack(files, tmp_path / "small.jpegs", side=20, threads=2)
    small = PackedImages(tmp_path / "small.jpegs", ends, 16)
    for row, size in enumerate(SIZES):
        if min(size) <= 20:
            assert small.read(row) == files.read(row)
        else:
            packed = Image.open(BytesIO(small.read(row)))
            assert (packed.format, min(packed.size)) == ("JPEG", 20)
            assert packed.width / packed.height == pytest.approx(size[0] / size[1], abs=0.05)
    # Shrinking a smooth image twice gives nearly the same pixels.
    assert np.abs(small[:].astype(int) - files[:]).mean() < 6


def test_other_formats_are_packed_as_jpegs(tmp_path):
    smooth(20, 30).save(tmp_path / "x.png")
    smooth(20, 30).convert("CMYK").save(tmp_path / "y.jpg", quality=95)
    exif = Image.Exif()
    exif[decode.ORIENTATION] = 6
    smooth(40, 60).save(tmp_path / "z.jpg", exif=exif, quality=95)
    images = ImageFiles(tmp_path, ["x.png", "y.jpg", "z.jpg"], 16)
    ends = decode.pack(images, tmp_path / "p.jpegs", side=32, threads=1)
    packed = PackedImages(tmp_path / "p.jpegs", ends, 16)
    assert all(packed.read(row).startswith(b"\xff\xd8") for row in range(3))
    assert [packed.decode(row).shape[1:] for row in range(3)] == [(30, 20), (30, 20), (32, 48)]
    assert np.abs(packed[:].astype(int) - images[:]).mean() < 2


def test_a_border_is_cut_off_before_packing(tmp_path):
    pixels = np.full((24, 20, 3), (255, 0, 0), np.uint8)
    pixels[2:-2, 2:-2] = 90
    Image.fromarray(pixels).save(tmp_path / "x.jpg", quality=95)
    images = ImageFiles(tmp_path, ["x.jpg"], 16, border=2)
    ends = decode.pack(images, tmp_path / "p.jpegs", side=32, threads=1)
    assert PackedImages(tmp_path / "p.jpegs", ends, 16).decode(0).shape == (3, 20, 16)


def test_packing_does_not_depend_on_the_number_of_threads(files, tmp_path):
    first = decode.pack(files, tmp_path / "a.jpegs", side=20, threads=1)
    second = decode.pack(files, tmp_path / "b.jpegs", side=20, threads=3)
    np.testing.assert_array_equal(first, second)
    assert (tmp_path / "a.jpegs").read_bytes() == (tmp_path / "b.jpegs").read_bytes()


def test_blocks_yield_images_in_order(files, monkeypatch):
    monkeypatch.setattr(decode, "BLOCK", 4)
    parts = list(decode.blocks(files, 2))
    assert [len(part) for part in parts] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(parts), files[:])
    rows = np.array([5, 0, 3, 1, 2])
    for images in (files, files[:]):  # files, and an array of pixels
        parts = list(decode.blocks(images, 2, rows))
        assert [len(part) for part in parts] == [4, 1]
        np.testing.assert_array_equal(np.concatenate(parts), files[rows])


def test_broken_files_are_listed(files, packed, tmp_path):
    whole = files.path(1).read_bytes()
    files.path(1).write_bytes(whole[: len(whole) // 2])
    files.path(3).write_text("no image")
    files.path(4).unlink()
    found = decode.broken(files, 2)
    assert [row for row, _ in found] == [1, 3, 4]
    for row, reason in found:
        assert f"{row}.jpg: not a readable image" in reason
    assert found[1][1].endswith("3.jpg: not a readable image (no known format)")
    assert decode.broken(packed, 2) == []
    for read in (files.__getitem__, files.decode):
        with pytest.raises(UserError, match=r"4\.jpg: not a readable image"):
            read(4)


def test_a_truncated_packed_file_is_reported(packed):
    content = packed.folder.read_bytes()
    packed.folder.write_bytes(content[: packed.ends[2] + 50])
    assert [row for row, _ in decode.broken(packed, 1)] == [3, 4, 5]
    with pytest.raises(UserError, match=r"images.jpegs\[5\]: not a readable image"):
        packed[5]


@pytest.mark.parametrize("upright", [True, False])
def test_turning_by_exif_data_can_be_switched_off(tmp_path, upright):
    """The reference code reads ImageNet without turning images."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(pixels).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    images = decode.ImageFiles(tmp_path, ["turned.jpg"], 16, 0, upright)
    size = (24, 16) if upright else (16, 24)
    assert tuple(images.decode(0).shape) == (3, *size)
    np.testing.assert_array_equal(
        images[0], decode.load(tmp_path / "turned.jpg", 16, upright=upright)
    )
    # The stored image is white above. The turned image is white on the right.
    white = images[0].mean(2) > 128
    assert white[:8].all() == (not upright)
    assert white[:, 8:].all() == upright
    ends = decode.pack(images, tmp_path / "packed", 64, 1)
    packed = decode.PackedImages(tmp_path / "packed", ends, 16, upright)
    np.testing.assert_array_equal(packed[0], images[0])
