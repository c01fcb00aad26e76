"""Whether the disk has space for a run's results."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from soups import problems
from soups.cost import space
from soups.errors import UserError

SIDE = 32
IMAGES = problems.named("images")


@pytest.fixture
def free(monkeypatch):
    """A function that sets the free bytes of every disk."""

    def free(count: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=int(count)))

    return free


def made(folder: Path, models: int) -> list[Path]:
    weights = [folder / "models" / f"m{i:02d}.safetensors" for i in range(models)]
    return [*weights, folder / "logits" / "m00" / "test.npy", folder / "prepared" / "test.npy"]


def test_a_run_that_clearly_does_not_fit_is_refused_with_both_numbers(config, tmp_path, free):
    images = IMAGES.known_numbers(config, ["v2"])
    each = space._size(config, IMAGES, ["x"] * 36)
    n = config["data"]["world"]["test"]
    needed = 10 * each + 4 * 36 * n + 3 * SIDE**2 * n
    free(needed + 1)
    space.enough(made(tmp_path, 10), config, tmp_path, images)
    free(needed / 2)
    sentence = r"needs about (\d+) MB more, of which 10 files of weights take (\d+) MB, but its "
    with pytest.raises(UserError, match=rf"^{re.escape(str(tmp_path))} {sentence}disk has") as told:
        space.enough(made(tmp_path, 10), config, tmp_path, images)
    more, weights = re.search(sentence, str(told.value)).groups()
    assert int(more) == pytest.approx(needed / 1e6, rel=0.05)
    assert int(weights) == pytest.approx(10 * each / 1e6, rel=0.05)


def test_files_that_exist_need_no_more_space(config, tmp_path, free):
    free(1000)
    for path in made(tmp_path, 10):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    space.enough(made(tmp_path, 10), config, tmp_path, IMAGES.known_numbers(config, ["v2"]))


@pytest.mark.parametrize("architecture", ["ViT-B-32", "timm/test_vit"])
def test_models_of_libraries_are_measured_without_memory(architecture, free, config, tmp_path):
    size = space._size({"model": {"architecture": architecture}}, IMAGES, ["x"] * 10)
    assert 1e6 < size < 4e8
    config["model"] |= {"architecture": architecture, "pretrained": "a_tag"}
    assert size < space._largest(config["model"])
    free(8e9)  # less than the largest possible files, and more than these
    space.enough(made(tmp_path, 10), config, tmp_path, {})
    free(9 * size)
    with pytest.raises(UserError, match="expected more free space or a smaller experiment"):
        space.enough(made(tmp_path, 10), config, tmp_path, {})


def test_weights_on_the_disk_bound_the_size_without_building_the_model(tmp_path):
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(bytes(10**6))
    model = {"architecture": "timm/test_vit", "pretrained": str(weights)}
    assert 2e6 < space._largest(model) < 1e8 < space._largest(model | {"pretrained": "a_tag"})


def test_a_model_that_cannot_be_built_is_not_counted(config, tmp_path, free):
    config["model"]["architecture"] = "no such model"
    free(1000)
    space.enough(made(tmp_path, 1), config, tmp_path, {})
