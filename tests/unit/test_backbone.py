"""Named models of open_clip and timm, with random weights and with weights from files."""

import pytest
import timm
import torch

from soups.errors import UserError
from soups.models import checkpoints
from soups.models.classifier import load_classifier
from soups.models.families.backbone import Backbone
from soups.models.pretrained import Pretrained, bring_in

TIMM = "timm/test_efficientnet"


@pytest.fixture
def weights(tmp_path):
    """A file with the weights of a timm classifier and its head, and the classifier."""
    torch.manual_seed(0)
    model = timm.create_model("test_efficientnet")
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth", model.eval()


def test_a_backbone_gives_timms_features_as_they_are(weights):
    path, model = weights
    backbone = bring_in(TIMM, str(path))
    classifier = backbone.classifier(7).eval()
    images = torch.randint(0, 256, (3, 160, 160, 3), dtype=torch.uint8)
    with torch.inference_mode():
        want = model.forward_head(
            model.forward_features(classifier.pixels(images)), pre_logits=True
        )
        torch.testing.assert_close(classifier.features(images), want)
        assert classifier(images).shape == (3, 7)
    assert backbone.image_size == 160
    assert backbone.text_head(["cat"], ["a {}"]) is None
    assert backbone.mean == timm.data.IMAGENET_DEFAULT_MEAN


@pytest.mark.parametrize("classes", [0, 21])
def test_weights_under_another_head_or_none_are_the_same_backbone(weights, tmp_path, classes):
    path, model = weights
    model.reset_classifier(classes)
    torch.save(model.state_dict(), tmp_path / "other.pth")
    ours, other = (bring_in(TIMM, str(file)).whole for file in (path, tmp_path / "other.pth"))
    assert ours.state_dict().keys() == other.state_dict().keys()
    for name, value in ours.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_a_backbone_survives_saving(weights, tmp_path):
    backbone = bring_in(TIMM, str(weights[0]))
    backbone.mean = (0.1, 0.2, 0.3)
    backbone.save(tmp_path / "model.safetensors", {"source": "test"})
    again = Pretrained.load(tmp_path / "model.safetensors")
    assert isinstance(again, Backbone)
    assert (again.image_size, list(again.mean)) == (160, [0.1, 0.2, 0.3])
    for name, value in backbone.whole.state_dict().items():
        assert torch.equal(again.whole.state_dict()[name], value)


def test_ingredients_need_only_the_architecture(weights, tmp_path):
    backbone = bring_in(TIMM, str(weights[0]))
    backbone.save(tmp_path / "empty.safetensors", {}, weights=False)
    assert checkpoints.Checkpoint(tmp_path / "empty.safetensors").shapes() == {}
    classifier = backbone.classifier(3).eval()
    checkpoints.save(tmp_path / "m.safetensors", classifier.state_dict(), {"pretrained": "x"})
    loaded = load_classifier(tmp_path / "empty.safetensors", tmp_path / "m.safetensors")
    images = torch.randint(0, 256, (2, 160, 160, 3), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(loaded(images), classifier(images))


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_of_open_clip_weights(tmp_path, ending):
    torch.manual_seed(1)
    state = bring_in("ViT-S-32-alt", None).whole.state_dict()
    path = tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save(state, path)
    else:
        checkpoints.save(path, state, {})
    loaded = bring_in("ViT-S-32-alt", str(path)).whole.state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


@pytest.mark.parametrize(
    ("architecture", "source", "message"),
    [
        ("timm/resnet19", None, "model.architecture is 'timm/resnet19', unknown to timm"),
        (
            "ViT-B-32",
            "openai",
            "'openai' were trained with quick GELU, expected 'ViT-B-32-quickgelu'",
        ),
        (
            TIMM,
            "in22k",
            r"model.pretrained is 'in22k', expected .* a tag of timm/test_eff\w+ \(.*r160_in1k",
        ),
        (
            "ViT-S-32-alt",
            "broken.pt",
            r"'broken.pt', which lacks 'posit.* 275 more tensors and has 'something' in addition, ",
        ),
        (TIMM, "broken.pt", r"'broken.pt', which lacks 'conv_stem.* and has 'something' in addit"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_one_sentence(
    tmp_path, monkeypatch, architecture, source, message
):
    monkeypatch.chdir(tmp_path)
    torch.save({"something": torch.zeros(2)}, "broken.pt")
    with pytest.raises(UserError, match=message) as error:
        bring_in(architecture, source)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("architecture", ["ViT-S-32-alt", TIMM])
def test_a_missing_network_is_one_sentence(monkeypatch, tmp_path, architecture):
    """An empty cache must fail in offline mode. This also shows that the cache is used."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    tag = "r160_in1k" if architecture == TIMM else "datacomp"
    if architecture == "ViT-S-32-alt":
        architecture, tag = "ViT-B-32-quickgelu", "openai"
    with pytest.raises(UserError, match=rf"model.pretrained is '{tag}', whose weights could not"):
        bring_in(architecture, tag)


@pytest.mark.parametrize("architecture", ["ViT-S-32-alt", TIMM])
def test_a_file_that_runs_code_is_refused(tmp_path, architecture):
    class Payload:
        def __reduce__(self):
            return (tmp_path / "ran").touch, ()

    torch.save({"weight": Payload()}, tmp_path / "unsafe.pt")
    with pytest.raises(UserError, match=r"unsafe\.pt .*which cannot be read safely"):
        bring_in(architecture, str(tmp_path / "unsafe.pt"))
    assert not (tmp_path / "ran").exists()
