import subprocess
import sys

import pytest
import torch

from soups.models import plain
from soups.models.checkpoints import Checkpoint
from soups.models.pretrained import Pretrained

VISION = {"image_size": 16, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16}
ARCHITECTURE = {
    "embed_dim": 24,
    "vision_cfg": VISION,
    "text_cfg": {"context_length": 4, "width": 16, "heads": 2, "layers": 1},
}
NOTE = {"architecture": ARCHITECTURE, "mean": [0.5, 0.4, 0.3], "std": [0.5, 0.6, 0.7]}


@pytest.fixture
def both():
    """The plain classifier, and one with the tower of open_clip and the same weights."""
    model = Pretrained(ARCHITECTURE, ["a"])
    model.mean, model.std = NOTE["mean"], NOTE["std"]
    ours, theirs = plain.classifier(NOTE, 5), model.classifier(5)
    torch.nn.init.normal_(theirs.head.weight)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def images(n=6):
    return torch.randint(0, 256, (n, 16, 16, 3), dtype=torch.uint8)


def test_the_plain_tower_has_the_tensors_of_open_clip_in_the_same_order(both):
    ours, theirs = both
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert ours.tower.image_size == theirs.tower.image_size


def test_the_plain_tower_computes_the_same_bits_as_open_clip(both):
    ours, theirs = (model.eval() for model in both)
    batch = images()
    with torch.inference_mode():
        assert torch.equal(ours(batch), theirs(batch))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(ours(batch), theirs(batch))


@pytest.mark.parametrize("again", [False, True])
def test_the_plain_tower_has_the_same_gradients_as_open_clip(both, again):
    batch = images()
    for model in both:
        model.train().tower.set_grad_checkpointing(again)
        model(batch).square().mean().backward()
    for (name, ours), theirs in zip(both[0].named_parameters(), both[1].parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad), name


@pytest.mark.parametrize(
    "changed",
    [
        {"vision_cfg": VISION | {"pool_type": "avg"}},
        {"vision_cfg": VISION | {"layers": [1, 1, 1, 1]}},
        {"quick_gelu": True},
    ],
)
def test_a_tower_with_other_options_is_left_to_open_clip(changed):
    assert plain.classifier(NOTE | {"architecture": ARCHITECTURE | changed}, 5) is None
    assert plain.classifier({"architecture": "ViT-B-32"}, 5) is None


def test_the_recorded_pretrained_model_of_the_miniature_has_a_plain_tower(root):
    path = root / "results" / "recorded" / "pretrained" / "world0.safetensors"
    ours = plain.classifier(Checkpoint(path).note, 5)
    theirs = Pretrained.described(path).classifier(5)
    assert torch.equal(ours.mean, theirs.mean)
    assert torch.equal(ours.std, theirs.std)


def test_jobs_with_a_plain_model_do_not_import_open_clip(root):
    code = (
        "import sys, evaluate, finetune, cook, recipe, evaluate_curve, evaluate_pairs; "
        "print({'open_clip', 'timm', 'torchvision', 'transformers'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, cwd=root / "scripts", check=True, capture_output=True, text=True
    ).stdout
    assert found == "set()\n"
