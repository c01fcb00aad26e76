"""The tool that writes CIFAR-10 as image folders. The download is replaced, because it is large."""

from urllib.error import URLError

import fetch_cifar10
import pytest
from PIL import Image

from soups.errors import UserError


class Few(list):
    """Three images with labels, in the place of torchvision's data set."""

    classes = ("airplane", "automobile")

    def __init__(self, cache, train, download):
        images = [Image.new("RGB", (32, 32), (shade, 0, 255 * train)) for shade in (10, 20, 30)]
        super().__init__(zip(images, (0, 1, 1), strict=True))


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(fetch_cifar10, "CIFAR10", Few)
    monkeypatch.setattr(fetch_cifar10, "IMAGES", 6)


def test_images_are_written_into_folders_of_their_classes(few, tmp_path, capsys):
    target = tmp_path / "data" / "cifar10"
    fetch_cifar10.main(target)
    found = sorted(str(path.relative_to(target)) for path in target.rglob("*.png"))
    names = ["airplane/00000.png", "automobile/00001.png", "automobile/00002.png"]
    assert found == [f"{split}/{name}" for split in ("test", "train") for name in names]
    with Image.open(target / "train" / names[1]) as image:
        assert image.getpixel((0, 0)) == (20, 0, 255)
    # A stopped call goes on, and a finished one is not repeated.
    (target / "train" / names[2]).unlink()
    fetch_cifar10.main(target)
    assert (target / "train" / names[2]).is_file()
    capsys.readouterr()
    fetch_cifar10.main(target)
    assert capsys.readouterr().out.endswith("is there already. Nothing was fetched.\n")


def test_a_killed_call_leaves_no_part_of_an_image(few, tmp_path, monkeypatch):
    def stopped(self, path):
        path.write_bytes(b"\x89PNG")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        fetch_cifar10.main(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_failed_download_and_a_file_as_the_target_are_one_sentence(tmp_path, monkeypatch):
    def fails(cache, train, download):
        raise URLError("no route to host")

    monkeypatch.setattr(fetch_cifar10, "CIFAR10", fails)
    with pytest.raises(
        UserError, match=r"^CIFAR-10 could not be downloaded .*, expected a network and 500 MB"
    ):
        fetch_cifar10.main(tmp_path / "cifar10")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file is a file, expected the name of a folder"):
        fetch_cifar10.main(tmp_path / "file")
