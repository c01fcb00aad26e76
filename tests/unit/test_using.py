"""The code on the page docs/using.md, which uses a soup without this project."""

import re

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from soups.data.decode import ORIENTATION, load
from soups.models.classifier import load_classifier
from soups.models.pretrained import Pretrained, bring_in
from tests.unit.cooked import NAMES, cooked

MARK = r"<!-- run by tests/unit/test_using\.py -->\n```python\n(.*?)```"


@pytest.fixture
def blocks(root) -> list[str]:
    """The marked blocks of Python: for open_clip and for timm."""
    found = re.findall(MARK, (root / "docs" / "using.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(found) == 2
    return found


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A photograph that its EXIF data turns, in the folder in which the code runs."""
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (12, 17, 3), np.uint8)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.fromarray(pixels).resize((340, 240)).save("photo.jpg", exif=exif)
    return tmp_path / "photo.jpg"


def model_of(name: str, root) -> Pretrained:
    """A model with random weights: that of the miniature, or one with a name."""
    torch.manual_seed(0)
    if name != "miniature":
        return bring_in(name, None)
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    return Pretrained(config["model"]["architecture"], ["cat", "dog"])


@pytest.mark.parametrize(
    ("name", "block"),
    [("miniature", 0), ("ViT-S-32-alt", 0), ("timm/test_vit", 1), ("timm/test_efficientnet", 1)],
)
def test_plain_pytorch_gives_the_logits_of_the_workflow(
    root, tmp_path, photo, blocks, name, block, capsys
):
    model = model_of(name, root)
    model.mean, model.std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    path = cooked(tmp_path / "results" / "miniature", model)
    path.rename(path.with_name("greedy.safetensors"))
    assert "soups" not in re.findall(r"(?m)^(?:from|import) (.*)$", blocks[block])
    given: dict = {}
    exec(compile(blocks[block], "docs/using.md", "exec"), given)

    classifier = load_classifier(path.with_name("greedy.safetensors"))
    pixels = torch.from_numpy(load(photo, model.image_size)[None].copy())
    with torch.inference_mode():
        want = classifier(pixels)
    torch.testing.assert_close(given["logits"], want, rtol=1e-5, atol=1e-5)
    assert capsys.readouterr().out.split()[0] == NAMES[want.argmax()]
