"""Architectures of checkpoints, from real models of the three libraries in real layouts."""

import argparse

import open_clip
import pytest
import timm
import torch
import torchvision

from soups.models.fitting import identify
from soups.models.foreign import reading


def shapes(module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def built(library: str, name: str):
    """A model with 7 classes and without memory for weights."""
    with torch.device("meta"):
        if library == "timm":
            return timm.create_model(name, num_classes=7)
        return torchvision.models.get_model(name, num_classes=7)


@pytest.mark.parametrize(
    ("library", "name", "expected"),
    [
        ("timm", "test_vit", ["timm/test_vit"]),
        ("timm", "test_convnext", ["timm/test_convnext"]),
        ("timm", "test_efficientnet", ["timm/test_efficientnet"]),
        ("timm", "vit_small_patch14_dinov2", ["timm/vit_small_patch14_dinov2"]),
        ("timm", "deit_tiny_distilled_patch16_224", ["timm/deit_tiny_distilled_patch16_224"]),
        # The two differ in the statistics of their pixels alone.
        ("timm", "vit_base_patch16_224",
         ["timm/deit_base_patch16_224", "timm/vit_base_patch16_224"]),
        ("torchvision", "resnet18", ["timm/resnet18", "timm/resnetblur18", "torchvision/resnet18"]),
        ("torchvision", "mobilenet_v3_small", ["torchvision/mobilenet_v3_small"]),
        ("torchvision", "squeezenet1_1", ["torchvision/squeezenet1_1"]),
    ],
)  # fmt: skip
def test_an_architecture_is_found_by_names_and_shapes(library, name, expected):
    found = shapes(built(library, name))
    assert identify.search(found) == expected
    assert all(identify.fits(found, each) for each in expected)
    if name != "squeezenet1_1":  # its head is a convolution within `classifier`
        assert identify.classes_in(found) == 7


def test_a_model_that_differs_in_one_tensor_is_not_taken_for_another():
    found = shapes(built("timm", "test_vit"))
    name = next(name for name in found if name.endswith("qkv.weight"))
    assert identify.search({**found, name: (1, 1)}) == []
    assert identify.search({**found, "extra": (1,)}) == []
    assert not identify.fits(found, "timm/test_vit2")
    assert not identify.fits(found, "timm/no_such_model")


def test_the_image_tower_of_a_clip_is_found_with_and_without_its_text_side():
    with torch.device("meta"):
        settings = open_clip.get_model_config("ViT-B-32")
        clip = open_clip.model.CLIP(
            settings["embed_dim"],
            open_clip.model.CLIPVisionCfg(**settings["vision_cfg"]),
            open_clip.model.CLIPTextCfg(**settings["text_cfg"]),
        )
    found = shapes(clip)
    # The activation cannot be seen in the weights.
    assert identify.search(found) == ["ViT-B-32", "ViT-B-32-quickgelu"]
    fine_tuned = {f"model.{n}": shape for n, shape in found.items() if n.startswith("visual.")}
    fine_tuned["classification_head.weight"] = (7, 512)
    assert identify.search(fine_tuned) == ["ViT-B-32", "ViT-B-32-quickgelu"]


def test_a_name_in_the_file_comes_first(tmp_path):
    state = torchvision.models.resnet18(num_classes=7).state_dict()
    path = tmp_path / "model_1.pth"
    # The layout of torchvision's reference training.
    torch.save({"model": state, "epoch": 1, "args": argparse.Namespace(model="resnet18")}, path)
    found = identify.architectures(reading.read(path))
    assert found == identify.Found(["torchvision/resnet18"], "name in the file", 7)
    # The same model and name in the layout of timm's training.
    torch.save({"epoch": 1, "arch": "resnet18", "state_dict": state}, path)
    found = identify.architectures(reading.read(path))
    assert found == identify.Found(["timm/resnet18"], "name in the file", 7)
    state = timm.create_model("test_vit", num_classes=7).state_dict()
    torch.save({"epoch": 3, "arch": "test_vit", "state_dict": state, "version": 2}, path)
    found = identify.architectures(reading.read(path))
    assert found == identify.Found(["timm/test_vit"], "name in the file", 7)
    # A wrong name does not mislead.
    torch.save({"arch": "resnet18", "state_dict": state}, path)
    assert identify.architectures(reading.read(path)).names == ["timm/test_vit"]


def test_the_index_is_of_the_installed_libraries():
    """`python tools/index_architectures.py` writes it again after an update."""
    from soups.files import read_json

    versions = read_json(identify.INDEX)["versions"]
    assert versions == {
        each.__name__: each.__version__.split("+")[0] for each in (timm, torchvision, open_clip)
    }
