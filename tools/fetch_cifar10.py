"""Fetch CIFAR-10 through torchvision and write it as image folders.

python tools/fetch_cifar10.py data/cifar10
"""

import sys
import tempfile
from pathlib import Path

from torchvision.datasets import CIFAR10


def main(target: str) -> None:
    """Write files ``<target>/{train,test}/<class>/<index>.png``, but no file that exists."""
    with tempfile.TemporaryDirectory() as cache:
        for name in ("train", "test"):
            data = CIFAR10(cache, train=name == "train", download=True)
            for i, (image, label) in enumerate(data):
                path = Path(target) / name / data.classes[label] / f"{i:05d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    image.save(path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python tools/fetch_cifar10.py <folder>")
    main(sys.argv[1])
