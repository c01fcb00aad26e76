"""Image classifiers of timm and torchvision: the same logits as the library's own model."""

import re
import subprocess
import sys

import pytest
import timm
import torch
from torch import nn

from soups.errors import UserError
from soups.models import checkpoints
from soups.models.classifier import Classifier
from soups.models.fitting import layouts
from soups.models.foreign import reading
from soups.models.pretrained import Pretrained, bring_in

CLASSES = 5


def converted(model: Pretrained, classes: int = CLASSES) -> tuple[Classifier, nn.Module]:
    """A library's own model with random weights, and the classifier with the same weights."""
    own = model.native_model(classes)
    for name, tensor in own.state_dict().items():
        if tensor.is_floating_point():  # heads of some models begin with zeros
            scale = 0.05 if tensor.ndim > 1 else 0.5
            tensor.copy_(torch.rand_like(tensor) * scale + ("running_var" in name))
    state, made = model.native_state(own), model.classifier(classes).eval()
    names, want = model.native(classes), made.state_dict()
    assert names.keys() == want.keys()
    assert {there for there in names.values() if there} == state.keys()
    made.load_state_dict(
        {
            ours: torch.zeros_like(want[ours])
            if there is None
            else state[there].view_as(want[ours])
            for ours, there in names.items()
        }
    )
    return made, own


def check_logits(model: Pretrained) -> None:
    """Check that the classifier and the library's own model agree on random images."""
    made, own = converted(model)
    images = torch.randn(2, 3, model.image_size, model.image_size)
    with torch.inference_mode():
        want = own(images)
        want = getattr(want, "logits", want)
        assert want.std() > 1e-3
        torch.testing.assert_close(made(images), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["test_vit", "test_efficientnet", "test_resnet", "test_convnext", "test_byobnet", "test_nfnet",
     "test_mambaout", "test_vit2", "test_vit3", "resnetv2_18d"],
)  # fmt: skip
def test_a_model_of_timm_and_its_classifier_give_the_same_logits(name):
    torch.manual_seed(0)
    check_logits(bring_in(f"timm/{name}", None))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5"])
def test_a_model_of_torchvision_and_its_classifier_give_the_same_logits(name):
    torch.manual_seed(0)
    model = bring_in(f"torchvision/{name}", None)
    assert (model.image_size, model.mean) == (224, (0.485, 0.456, 0.406))
    assert model.text_head(["cat"], ["a {}"]) is None
    check_logits(model)


def test_a_head_that_is_a_convolution_has_two_more_sides_of_length_1_in_the_file():
    model = bring_in("timm/resnetv2_18", None)
    assert model.native_model(3).state_dict()["head.fc.weight"].shape[2:] == (1, 1)
    assert model.native(3)["head.weight"] == "head.fc.weight"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("torchvision/googlenet", r"layers aux1\.fc2, aux2\.fc2, fc depend on the number of class"),
        ("torchvision/inception_v3", r"layers AuxLogits\.fc, fc depend on the number of classes"),
        ("torchvision/squeezenet1_1", r"layers classifier\.1 depend on the number of classes"),
        (
            "torchvision/resnet19",
            "which is no image classifier of torchvision; did you mean resnet",
        ),
        ("torchvision/fcn_resnet50", "which is no image classifier of torchvision"),
    ],
)
def test_a_model_of_torchvision_without_one_linear_head_is_refused(name, reason):
    with pytest.raises(UserError, match=f"model.architecture is '{name}', whose {reason}|{reason}"):
        bring_in(name, None)


@pytest.mark.parametrize("name", ["deit_tiny_distilled_patch16_224", "levit_128s"])
def test_a_model_of_timm_with_two_heads_has_no_checkpoints_of_its_own(name):
    with pytest.raises(
        UserError, match=r"whose own model has 2 heads \(head.*, head_dist.*\), exp"
    ):
        bring_in(f"timm/{name}", None).native(3)


def test_an_unknown_tag_of_torchvision_is_named():
    with pytest.raises(
        UserError, match=r"'V9', expected .* torchvision/resnet50 \(IMAGENET1K_V1, "
    ):
        bring_in("torchvision/resnet50", "V9")


@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/shufflenet_v2_x0_5"])
def test_a_model_survives_saving(tmp_path, name):
    torch.manual_seed(3)
    model = bring_in(name, None)
    model.save(tmp_path / "model.safetensors", {"source": "test"})
    again = Pretrained.load(tmp_path / "model.safetensors")
    assert type(again) is type(model)
    assert (again.architecture, again.image_size) == (model.architecture, model.image_size)
    state = again.whole.state_dict()
    assert all(torch.equal(state[n], value) for n, value in model.whole.state_dict().items())


@pytest.mark.parametrize("wrap", ["plain", "training", "lightning", "compiled"])
@pytest.mark.parametrize("name", ["timm/test_resnet", "torchvision/shufflenet_v2_x0_5"])
def test_the_tower_is_read_from_a_training_file_whatever_its_head(tmp_path, name, wrap):
    torch.manual_seed(1)
    model = bring_in(name, None)
    own = model.native_model(9)
    state = own.state_dict()
    files = {
        "plain": ("weights", state),
        "training": ("model_best.pth.tar", {"epoch": 3, "state_dict": state, "arch": "mine"}),
        "lightning": ("epoch=3.ckpt", {"state_dict": {f"model.{n}": v for n, v in state.items()}}),
        "compiled": ("last.pt", {"model": {f"_orig_mod.module.{n}": v for n, v in state.items()}}),
    }
    ending, content = files[wrap]
    torch.save(content, tmp_path / ending)
    read = bring_in(name, str(tmp_path / ending)).visual.state_dict()
    assert len(read) > 50
    assert all(torch.equal(value, state[name]) for name, value in read.items())


def test_the_average_of_a_training_file_is_read_on_request(tmp_path):
    model = bring_in("timm/test_vit", None)
    plain, average = (model.native_model(4).state_dict() for _ in range(2))
    torch.save({"state_dict": plain, "state_dict_ema": average}, tmp_path / "last.pth.tar")
    for weights, state in (("plain", plain), ("ema", average)):
        read = bring_in("timm/test_vit", str(tmp_path / "last.pth.tar"), weights)
        assert torch.equal(read.visual.state_dict()["norm.weight"], state["norm.weight"])
        assert torch.equal(read.visual.state_dict()["pos_embed"], state["pos_embed"])


def test_a_soup_can_be_the_start_of_another_run(tmp_path):
    model = bring_in("timm/test_resnet", None)
    state = model.classifier(3).state_dict()
    checkpoints.save(tmp_path / "soup.safetensors", state, {"recipe": {}})
    read = bring_in("timm/test_resnet", str(tmp_path / "soup.safetensors")).visual.state_dict()
    assert all(torch.equal(value, state[f"visual.{name}"]) for name, value in read.items())


def test_a_tensor_of_another_shape_is_named(tmp_path):
    state = timm.create_model("test_vit").state_dict()
    torch.save(state | {"pos_embed": torch.zeros(1, 5, 64)}, tmp_path / "w.pt")
    with pytest.raises(UserError, match=r"w\.pt', where 'pos_embed' has shape \(1, 5, 64\), expec"):
        bring_in("timm/test_vit", str(tmp_path / "w.pt"))


def test_a_folder_of_timm_has_its_own_pixel_statistics(tmp_path):
    from safetensors.torch import save_file

    save_file(timm.create_model("test_vit").state_dict(), tmp_path / "model.safetensors")
    settings = '{"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 160, 160]}'
    (tmp_path / "config.json").write_text(
        f'{{"architecture": "test_vit", "num_classes": 1000, "pretrained_cfg": {settings}}}'
    )
    model = bring_in("timm/test_vit", str(tmp_path))
    assert (model.mean, model.std, model.image_size) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 160)


def test_a_tag_in_the_name_decides_the_pixel_statistics():
    assert bring_in("timm/vit_tiny_patch16_224", None).mean == (0.5, 0.5, 0.5)
    model = bring_in("timm/resnet18.a1_in1k", None)
    assert model.architecture == "timm/resnet18"
    with pytest.raises(UserError, match=r"'a9', expected .* tag of timm/resnet18 \(a1_in1k, "):
        bring_in("timm/resnet18.a9", None)


def test_everything_but_transformers_runs_without_the_optional_package(root):
    pinned = (root / "envs" / "requirements.txt").read_text(encoding="utf-8")
    assert "\ntransformers==" not in pinned
    optional = (root / "envs" / "requirements-transformers.txt").read_text(encoding="utf-8")
    assert "\ntransformers==" in optional
    code = """
import sys
sys.modules["transformers"] = sys.modules["tokenizers"] = None  # an import of them is an error
import soups.models.classifier
from soups.models.pretrained import bring_in
bring_in("timm/test_vit", None)
try:
    bring_in("transformers/google/vit-base-patch16-224", None)
except ValueError as error:
    print(error)
"""
    command = [sys.executable, "-W", "ignore", "-c", code]
    found = subprocess.run(
        command, cwd=root / "scripts", check=True, capture_output=True, text=True
    ).stdout
    assert re.fullmatch(r"model\.architecture begins with .*`make transformers` inst.*\n", found)


def test_a_model_with_two_heads_that_was_fine_tuned_here_is_read_again(tmp_path):
    model = bring_in("timm/deit_tiny_distilled_patch16_224", None)
    state = model.classifier(3).state_dict()
    checkpoints.save(tmp_path / "m.safetensors", state, {"pretrained": "x"})
    fit = layouts.fit(reading.read(tmp_path / "m.safetensors"), model, ["a", "b", "c"])
    assert all(torch.equal(value, state[name]) for name, value in fit.state.items())
