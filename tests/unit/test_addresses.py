"""Addresses of models as libraries and web pages write them."""

import json
import subprocess
import sys

import pytest

from soups.errors import UserError
from soups.models import addresses, architectures
from soups.models.addresses import normalised

DEFAULT = "results/recorded/pretrained/world0.safetensors"  # model.pretrained in config.yaml
VIT = "timm/vit_base_patch16_224"
GOOGLE = "google/vit-base-patch16-224"
LAION = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"
SITE = "https://huggingface.co/"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ((f"{VIT}.augreg_in21k", DEFAULT), (VIT, "augreg_in21k")),
        ((f"{VIT}.augreg_in21k", None), (VIT, "augreg_in21k")),
        ((f"{VIT}.augreg_in21k", "augreg_in21k"), (VIT, "augreg_in21k")),
        ((f"{VIT}.augreg_in21k", f"{VIT}.augreg_in21k"), (VIT, "augreg_in21k")),
        ((VIT, "vit_base_patch16_224.augreg_in21k"), (VIT, "augreg_in21k")),
        ((f"{VIT}.augreg_in21k", "mine.pt"), (f"{VIT}.augreg_in21k", "mine.pt")),
        ((VIT, "mine.pth.tar"), (VIT, "mine.pth.tar")),
        ((f"hf-hub:{VIT}.augreg_in21k", DEFAULT), (VIT, "augreg_in21k")),
        ((f"hf_hub:{VIT}.augreg_in21k", DEFAULT), (VIT, "augreg_in21k")),
        ((f"timm/hf_hub:{VIT}.augreg_in21k", DEFAULT), (VIT, "augreg_in21k")),
        ((f"{SITE}{VIT}.augreg_in21k", DEFAULT), (VIT, "augreg_in21k")),
        ((f"{SITE}{VIT}.augreg_in21k/tree/main?x=1", DEFAULT), (VIT, "augreg_in21k")),
        (("torchvision/vgg11.IMAGENET1K_V1", DEFAULT), ("torchvision/vgg11", "IMAGENET1K_V1")),
        (("torchvision/resnet50", "IMAGENET1K_V2"), ("torchvision/resnet50", "IMAGENET1K_V2")),
        (("ViT-B/32", "openai"), ("ViT-B-32-quickgelu", "openai")),
        (("ViT-L/14@336px", DEFAULT), ("ViT-L-14-336-quickgelu", "openai")),
        (("ViT-B/32", "laion2b_s34b_b79k"), ("ViT-B-32", "laion2b_s34b_b79k")),
        (("ViT-B/32", "clip.pt"), ("ViT-B-32-quickgelu", "clip.pt")),
        (("openai/clip-vit-large-patch14", DEFAULT), ("ViT-L-14-quickgelu", "openai")),
        (("ViT-B-32-quickgelu", "openai/clip-vit-base-patch32"), ("ViT-B-32-quickgelu", "openai")),
        ((LAION, DEFAULT), ("ViT-B-32", "laion2b_s34b_b79k")),
        ((f"hf-hub:{LAION}", DEFAULT), ("ViT-B-32", "laion2b_s34b_b79k")),
        (("ViT-B-32", LAION), ("ViT-B-32", "laion2b_s34b_b79k")),
        (("timm/ViT-B-16-SigLIP", DEFAULT), ("ViT-B-16-SigLIP", "webli")),
        (("hf-hub:me/clip", DEFAULT), ("hf-hub:me/clip", "hf-hub:me/clip")),
        ((GOOGLE, DEFAULT), (f"transformers/{GOOGLE}", GOOGLE)),
        ((f"{SITE}{GOOGLE}", DEFAULT), (f"transformers/{GOOGLE}", GOOGLE)),
        ((f"transformers/{GOOGLE}", f"{SITE}{GOOGLE}"), (f"transformers/{GOOGLE}", GOOGLE)),
        ((GOOGLE, f"hf-hub:{GOOGLE}"), (f"transformers/{GOOGLE}", GOOGLE)),
        ((GOOGLE, "mine/model.safetensors"), (f"transformers/{GOOGLE}", "mine/model.safetensors")),
        (("ViT-B-32-quickgelu", "openai"), ("ViT-B-32-quickgelu", "openai")),
        (("ViT-B-32", None), ("ViT-B-32", None)),
        ((VIT, DEFAULT), (VIT, DEFAULT)),
    ],
)  # fmt: skip
def test_an_address_becomes_a_name_and_its_weights(written, meant):
    found = normalised(*written, fill=True)
    assert found == meant
    assert normalised(*found, fill=True) == meant


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ((f"{VIT}.a", "b"), rf"'{VIT}\.a' and model.pretrained is 'b', expected the same weights"),
        ((VIT, "timm/resnet50.a1_in1k"), "whose model is 'timm/resnet50', expected weights of mo"),
        ((GOOGLE, "google/other"), "'google/other', expected the same weights in both"),
        ((f"{SITE}{GOOGLE}/tree/v2", None), "expected the address of a repository with its newest"),
        (("timm/hf-hub:me/mine", None), "expected a model that timm lists by name, or local-dir:"),
        (("local-dir:nowhere", None), "'nowhere', a folder without a config.json of transformers"),
    ],
)
def test_an_address_without_a_clear_meaning_is_refused_in_one_sentence(written, message):
    with pytest.raises(UserError, match=message):
        normalised(*written, fill=True)


def test_without_training_null_keeps_meaning_the_architecture_alone():
    assert normalised(GOOGLE, None, fill=False) == (f"transformers/{GOOGLE}", None)
    # The tag stays, because it decides the pixel statistics.
    assert normalised(f"{VIT}.augreg_in21k", None, fill=False) == (f"{VIT}.augreg_in21k", None)


@pytest.mark.parametrize(
    ("name", "settings", "meant"),
    [
        ("config.json", {"model_type": "vit"}, ("transformers/{}", "{}")),
        ("config.json", {"architecture": "resnet18.mine"}, ("timm/resnet18", "{}")),
        ("open_clip_config.json", {"model_cfg": {}}, ("local-dir:{}", "{}")),
    ],
)
@pytest.mark.parametrize("prefix", ["", "local-dir:"])
def test_a_folder_tells_its_library(tmp_path, prefix, name, settings, meant):
    (tmp_path / name).write_text(json.dumps(settings))
    found = normalised(f"{prefix}{tmp_path}", None, fill=True)
    assert found == tuple(text.format(tmp_path) for text in meant)
    assert normalised(*found, fill=True) == found


def test_a_folder_of_weights_is_listed_file_by_file(tmp_path):
    names = ("config.json", "model.safetensors", "vocab.txt")  # the last is of a tokenizer
    for name in (*names, "README.md", ".DS_Store", "notes.txt"):
        (tmp_path / name).write_text("{}")
    model = {"architecture": f"transformers/{tmp_path}", "pretrained": str(tmp_path)}
    wanted = [str(tmp_path / name) for name in names]
    assert sorted(architectures.files_of(model)) == wanted
    other = {"architecture": "timm/resnet18", "pretrained": "a1_in1k"}
    assert architectures.files_of(other) == []
    assert architectures.files_of(other | {"pretrained": "runs/a/best.pth.tar"}) == [
        "runs/a/best.pth.tar"
    ]


def test_the_text_tower_of_a_folder_is_seen_in_its_configuration(tmp_path):
    for kind in ("CLIPModel", "CLIPForImageClassification"):
        (tmp_path / "config.json").write_text(json.dumps({"architectures": [kind]}))
        found = architectures.has_text({"architecture": f"transformers/{tmp_path}"})
        assert found is (kind == "CLIPModel")
    assert architectures.has_text({"architecture": "hf-hub:me/clip"})
    assert not architectures.has_text({"architecture": "torchvision/resnet50"})


def test_open_clips_table_is_that_of_the_library():
    from open_clip.pretrained import _PRETRAINED

    found = addresses.tags()
    assert {name: set(tags) for name, tags in found.items()} == {
        name: set(tags) for name, tags in _PRETRAINED.items()
    }
    for name, tags in _PRETRAINED.items():
        for tag, settings in tags.items():
            assert found[name][tag].get("hf_hub", "") == settings["hf_hub"]
            assert found[name][tag].get("quick_gelu", False) == settings.get("quick_gelu", False)


def test_addresses_are_read_without_a_model_library(root):
    code = f"""
import sys
from soups.models.addresses import normalised
normalised({LAION!r}, None, True)
libraries = {{"torch", "open_clip", "timm", "torchvision", "transformers", "huggingface_hub"}}
print(libraries & set(sys.modules))
"""
    found = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root / "scripts",
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert found == "set()\n"
