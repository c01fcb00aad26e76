"""Folders as people have them: what counts as an image, what is passed over, links."""

import os
import shutil

import pytest
from PIL import Image

from soups.data import checks, decode, folders, layouts, preparation, walking
from soups.errors import UserError

ODD = ["@eaDir", "__MACOSX", ".ipynb_checkpoints", ".thumbnails", "$RECYCLE.BIN", "#recycle",
       "@__thumb", "System Volume Information", ".AppleDouble", "lost+found"]  # fmt: skip
FILES = ["Thumbs.db", "desktop.ini", ".DS_Store", "ehthumbs.db", "Icon\r"]


@pytest.fixture
def own(tmp_path, write_images) -> dict:
    """`data.folders` of two classes with six training images each."""
    write_images(tmp_path, {"train/cat": 6, "train/dog": 6, "test/cat": 1, "test/dog": 1})
    return {"root": str(tmp_path), "train": "train", "test": "test", "shifts": {}, "image_size": 8}


HELDOUT = {"fraction": 0.5, "per_class": None, "indices": None, "seed": 0}


def checked(data: dict, name: str = "train") -> dict:
    """The report of the check of a set."""
    settings = folders.settings_of(data)
    found = folders.listing(settings, name)
    broken = decode.broken(preparation.image_files(settings, name, found.paths), 1)
    return preparation.report(settings, name, found, broken)


@pytest.mark.parametrize("name", ODD)
def test_folders_that_machines_leave_behind_are_no_classes_and_hold_no_images(own, tmp_path, name):
    before = folders.listing(folders.settings_of(own), "train").paths
    for place in ("train", "train/cat", "test/dog"):
        (tmp_path / place / name / "000.png").mkdir(parents=True)
        copy = tmp_path / place / name / "000.png" / "SYNOPHOTO_THUMB_M.jpg"
        shutil.copy(tmp_path / "train" / "cat" / "000.png", copy)
    checks.check_folders(own, HELDOUT)
    assert folders.listing(folders.settings_of(own), "train").paths == before
    report = checked(own)
    assert (report["images"], report["left_behind"]) == (12, {name: 2})
    remarks = preparation.remarks({"train.json": report}, {})
    assert remarks == [
        "train: 2 hidden files and folders, or those of file managers and archives, were passed "
        f"over (2 {name})."
    ]


def test_files_that_machines_leave_behind_are_counted(own, tmp_path):
    for name in [*FILES, "._000.png", "._001.png"]:
        (tmp_path / "train" / "dog" / name).write_bytes(b"x")
    report = checked(own)
    assert (report["images"], report["other_files"]) == (12, {})
    assert report["left_behind"] == dict(sorted(dict.fromkeys(FILES, 1).items())) | {"._*": 2}


@pytest.mark.parametrize("name", ["thumbs", "Thumbnails", "_thumbs"])
def test_small_copies_within_a_class_are_passed_over_but_a_class_may_have_their_name(
    own, tmp_path, name
):
    shutil.copytree(tmp_path / "train" / "cat", tmp_path / "train" / "dog" / name)
    assert checked(own)["images"] == 12
    shutil.copytree(tmp_path / "train" / "cat", tmp_path / "train" / name)
    assert name in layouts.class_folders(tmp_path / "train")
    assert len(list(walking.walk(tmp_path / "train", name))) == 6


@pytest.mark.parametrize("level", ["images", "data"])
def test_one_level_too_many_is_refused_with_what_the_folder_holds(tmp_path, write_images, level):
    write_images(tmp_path, {f"{s}/{level}/{c}": 3 for s in ("train", "test") for c in "ab"})
    data = {"root": str(tmp_path), "train": "train", "test": "test", "shifts": {}}
    with pytest.raises(UserError) as error:
        checks.check_folders(data, HELDOUT)
    assert str(error.value) == (
        f"{tmp_path}/train: there is a single class, '{level}', expected at least two; its "
        f"subfolders 'a', 'b' look like classes, and then data.folders.train is 'train/{level}'"
    )
    checks.check_folders(data | {"train": f"train/{level}", "test": f"test/{level}"}, HELDOUT)


def test_a_single_class_is_refused(tmp_path, write_images):
    write_images(tmp_path, {"train/cat": 3, "test/cat": 1, "train/.hidden": 1})
    data = {"root": str(tmp_path), "train": "train", "test": "test", "shifts": {}}
    with pytest.raises(UserError, match=r"single class, 'cat', expected at least two$"):
        checks.check_folders(data, HELDOUT)


def test_images_without_class_folders_are_named(tmp_path, write_images):
    write_images(tmp_path, {"train": 3})
    with pytest.raises(UserError, match="no subfolder, expected one per class, or a file of labe"):
        layouts.class_folders(tmp_path / "train")


SAVED = {"gif": "GIF", "jfif": "JPEG", "jpe": "JPEG", "avif": "AVIF", "webp": "WEBP", "PNG": "PNG",
         "jp2": "JPEG2000", "tga": "TGA", "qoi": "QOI", "pgm": "PPM", "ico": "ICO",
         "apng": "PNG"}  # fmt: skip


@pytest.mark.parametrize("ending", SAVED)
def test_every_ending_that_pillow_reads_is_an_image(own, tmp_path, ending):
    image = Image.new("RGB", (16, 16), (200, 30, 40))
    image = image.convert("L") if ending == "pgm" else image
    image.save(tmp_path / "train" / "dog" / f"x.{ending}", SAVED[ending])
    report = checked(own)
    assert (report["images"], report["corrupt"], report["other_files"]) == (13, [], {})


def test_the_first_frame_of_an_animation_is_read(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for name in ("x.gif", "x.webp", "x.apng"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:], lossless=True)
        pixels = decode.load(tmp_path / name, 8)
        assert (pixels == [[[254, 0, 0]]]).all() or (pixels == [[[255, 0, 0]]]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
def test_files_without_ending_are_recognised_by_their_content(own, tmp_path, kind):
    Image.new("RGB", (16, 16)).save(tmp_path / "train" / "dog" / "0001", kind)
    (tmp_path / "train" / "dog" / "README").write_text("no image")
    report = checked(own)
    assert (report["images"], report["other_files"]) == (13, {"": 1})


def test_other_endings_are_counted_and_listed(own, tmp_path):
    for name in ("a.heic", "b.HEIC", "c.txt", "d.jpg~", "e"):
        (tmp_path / "train" / "dog" / name).write_text("x")
    remarks = preparation.remarks({"train.json": checked(own)}, {})
    assert remarks == [
        "train: 5 files were passed over because their endings are not those of images that can be "
        "read (2 .heic, 1 without ending, 1 .jpg~, 1 .txt). Convert HEIC photographs to JPEG, for "
        "instance with pillow-heif."
    ]


def test_an_empty_class_differs_from_one_with_other_files(own, tmp_path):
    for path in (tmp_path / "test" / "dog").iterdir():
        path.unlink()
    with pytest.raises(UserError, match=r"test/dog: the folder has no image, expected at least"):
        checks.check_folders(own, HELDOUT)
    (tmp_path / "test" / "dog" / "@eaDir").mkdir()
    with pytest.raises(UserError, match=r"has no image \(passed over: @eaDir\), expected at least"):
        checks.check_folders(own, HELDOUT)
    for i in range(3):
        (tmp_path / "test" / "dog" / f"{i}.heic").write_text("x")
    with pytest.raises(UserError) as error:
        checks.check_folders(own, HELDOUT)
    assert str(error.value) == (
        f"{tmp_path}/test/dog: none of its 3 files is an image that can be read (3 .heic), expected"
        " at least one such as .jpg, .png or .webp per class. Convert HEIC photographs to JPEG."
    )


@pytest.mark.parametrize("target", [".", "..", "../..", "../cat"])
def test_a_link_to_a_folder_above_is_named(own, tmp_path, target):
    link = tmp_path / "train" / "cat" / "zz"
    link.symlink_to(target)
    with pytest.raises(UserError, match=f"{link}: the link leads to .*, in which it lies itself"):
        checks.check_folders(own, HELDOUT)


def test_a_link_to_itself_and_links_to_each_other_are_named(own, tmp_path):
    link = tmp_path / "train" / "cat" / "self"
    link.symlink_to("self")
    with pytest.raises(UserError, match=f"{link}: the link leads to itself"):
        checks.check_folders(own, HELDOUT)
    link.unlink()
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "back").symlink_to(tmp_path / "train" / "cat")
    (tmp_path / "train" / "cat" / "a").symlink_to(tmp_path / "a")
    with pytest.raises(UserError, match=r"cat/a/back: the link leads to .*/train/cat, in which"):
        checks.check_folders(own, HELDOUT)


def test_links_to_folders_and_images_elsewhere_work_and_broken_ones_are_listed(own, tmp_path):
    (tmp_path / "train" / "dog").rename(tmp_path / "elsewhere")
    (tmp_path / "train" / "dog").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "cat" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "cat" / "l.png").symlink_to(tmp_path / "elsewhere" / "000.png")
    (tmp_path / "train" / "cat" / "gone.png").symlink_to("/nowhere/x.png")
    checks.check_folders(own, HELDOUT)
    report = checked(own)
    assert (report["images"], report["corrupt"]) == (19, ["cat/gone.png"])
    assert "it is a link to /nowhere/x.png, which does not exist" in report["reasons"][0]


def test_the_state_of_a_set_changes_with_its_images_alone(own, tmp_path):
    settings = folders.settings_of(own)

    def state() -> str:
        return folders.state(settings, "train")

    before, cat = state(), tmp_path / "train" / "cat"
    for name in [*FILES, "notes.txt", "._x.png"]:
        (cat / name).write_bytes(b"x")
        (tmp_path / "train" / name).write_bytes(b"x")
    (cat / "@eaDir").mkdir()
    os.utime(cat, (0, 0))
    assert state() == before
    shutil.copy(cat / "000.png", cat / "new.png")
    assert state() != before
    (cat / "new.png").unlink()
    assert state() == before
    (cat / "000.png").rename(cat / "zzz.png")
    assert state() != before
    (cat / "zzz.png").rename(cat / "000.png")
    then = (cat / "000.png").stat()
    (cat / "000.png").write_bytes((cat / "000.png").read_bytes())
    os.utime(cat / "000.png", ns=(then.st_atime_ns, then.st_mtime_ns + 2_000_000_000))
    assert state() != before
    assert folders.state(settings, "test") == folders.state(settings, "test")


def test_beyond_a_number_of_images_names_alone_count(own, tmp_path, monkeypatch):
    monkeypatch.setattr(walking, "LARGE", 3)
    settings = folders.settings_of(own)
    before = folders.state(settings, "train")
    os.utime(tmp_path / "train" / "dog" / "000.png", (0, 0))
    assert folders.state(settings, "train") == before
    (tmp_path / "train" / "dog" / "000.png").unlink()
    assert folders.state(settings, "train") != before


def test_names_in_two_unicode_forms_match_between_sets(tmp_path, write_images):
    composed, apart = "caf\u00e9", "cafe\u0301"
    write_images(tmp_path, {f"train/{composed}": 6, "train/bar": 6})
    write_images(tmp_path, {f"{s}/{c}": 1 for s in ("test", "art") for c in (apart, "bar")})
    shifts = {"art": {"folder": "art", "mapping": {composed: [apart]}}}
    data = {"root": str(tmp_path), "train": "train", "test": "test", "shifts": shifts}
    data["names"] = {apart: "coffee house"}
    checks.check_folders(data, HELDOUT)
    settings = folders.settings_of(data | {"image_size": 8})
    for name in ("test", "art"):
        found = folders.listing(settings, name)
        mapping = preparation.mapping(settings, name, found)
        assert mapping == [("bar", [0]), ("coffee house", [1])]
    write_images(tmp_path, {f"train/{apart}": 6})
    with pytest.raises(UserError, match=r"'cafe\\u0301' and 'caf\\xe9' have the same name in two"):
        checks.check_folders(data, HELDOUT)


def test_names_that_differ_in_case_are_two_classes_and_a_mixed_up_one_is_named(
    tmp_path, write_images
):
    write_images(tmp_path, {f"{s}/{c}": 4 for s in ("train", "test") for c in ("Cat", "cat")})
    data = {"root": str(tmp_path), "train": "train", "test": "test", "shifts": {}}
    checks.check_folders(data, HELDOUT)
    (tmp_path / "test" / "Cat").rename(tmp_path / "test" / "CAT")
    with pytest.raises(UserError, match=r"only the test folder has 'CAT' and only the training fo"):
        checks.check_folders(data, HELDOUT)


@pytest.mark.parametrize("name", ["a\nb", "tab\there", "bad\udcff"])
def test_names_with_control_characters_or_other_encodings_are_refused(tmp_path, name):
    os.makedirs(os.path.join(tmp_path, name))
    with pytest.raises(UserError, match="expected a name in UTF-8 without control characters"):
        layouts.class_folders(tmp_path)


@pytest.mark.parametrize(
    "name", ["a{0}", "shirt{red}", "$5_$10", "猫", "🐱", " lead", "trail ", "it's", '"q"', "%#,;"]
)
def test_class_names_may_have_any_other_characters(tmp_path, write_images, name):
    write_images(tmp_path, {f"{s}/{c}": 4 for s in ("train", "test") for c in (name, "other")})
    data = {"root": str(tmp_path), "train": "train", "test": "test", "shifts": {}, "image_size": 8}
    checks.check_folders(data, HELDOUT)
    settings = folders.settings_of(data)
    found = folders.listing(settings, "test")
    title = name.replace("_", " ")
    assert dict(preparation.mapping(settings, "test", found)).keys() == {title, "other"}
    assert preparation.image_files(settings, "test", found.paths)[:].shape == (8, 8, 8, 3)


def test_a_named_pipe_is_no_image_and_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (entry,) = walking.scan(tmp_path)
    assert not walking.is_image(entry)
