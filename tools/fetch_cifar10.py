"""Fetch CIFAR-10 through torchvision and write it as image folders.

python tools/fetch_cifar10.py data/cifar10

A call that was stopped can be made again. It writes the images that are missing.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from torchvision.datasets import CIFAR10

import _library  # noqa: F401
from soups.errors import UserError

IMAGES = 60_000


def fetch(target: Path) -> None:
    """Write files ``<target>/{train,test}/<class>/<index>.png``, but no file that exists.

    Raises:
        UserError: if the images cannot be downloaded.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target, prefix=".download-") as cache:
        part = Path(cache) / "part.png"  # renamed when it is complete
        for name in ("train", "test"):
            try:
                data = CIFAR10(cache, train=name == "train", download=True)
            except (OSError, RuntimeError) as error:
                raise UserError(
                    f"CIFAR-10 could not be downloaded ({error}), expected a network and 500 MB of "
                    f"disk in {target}"
                ) from error
            for i, (image, label) in enumerate(data):
                path = target / name / data.classes[label] / f"{i:05d}.png"
                if not path.exists():
                    path.parent.mkdir(parents=True, exist_ok=True)
                    image.save(part)
                    part.rename(path)


def main(target: Path) -> None:
    """Fetch the images, unless all are there.

    Raises:
        UserError: see `fetch`, and if the target is no folder.
    """
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file, expected the name of a folder")
    if sum(1 for _ in target.glob("*/*/[0-9]*.png")) == IMAGES:
        print(f"{target} is there already. Nothing was fetched.")
        return
    fetch(target)
    print(f"{target} holds CIFAR-10 (no licence is stated, for research).")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("target", type=Path, help="folder for the images, such as data/cifar10")
    try:
        main(parser.parse_args().target)
    except UserError as error:
        sys.exit(f"error: {error}")
