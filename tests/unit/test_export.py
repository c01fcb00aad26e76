"""Exports, each of which is loaded by its own library and gives the same logits."""

import json

import numpy as np
import open_clip
import pytest
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file
from torchvision import transforms as T

from soups.data.decode import load
from soups.errors import UserError
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.pretrained import bring_in
from soups.usage.export import FORMATS, POSSIBLE, export, library_of, new_folder
from tests.unit.cooked import NAMES, cooked

TIMM_MODELS = ["test_vit", "test_efficientnet", "test_resnet", "test_convnext"]


@pytest.fixture
def transformers():
    """The optional package."""
    return pytest.importorskip("transformers")


@pytest.fixture
def photo(tmp_path):
    """An image file that is wider than it is high."""
    pixels = np.random.default_rng(1).integers(0, 256, (20, 31, 3), np.uint8)
    Image.fromarray(pixels).resize((310, 200), Image.Resampling.BICUBIC).save(tmp_path / "x.png")
    return tmp_path / "x.png"


def soup_of(architecture: str, folder) -> str:
    """A soup of an architecture with random weights."""
    torch.manual_seed(0)
    model = bring_in(architecture, None)
    model.mean, model.std = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
    return cooked(folder / "results", model)


def card_of(path) -> dict:
    return Checkpoint(path).note["model"]


@torch.inference_mode()
def logits(path, photo) -> torch.Tensor:
    """The workflow's own logits of an image."""
    pixels = torch.from_numpy(load(photo, card_of(path)["image_size"])[None].copy())
    return load_classifier(path)(pixels)


def prepared(path, photo) -> torch.Tensor:
    """The pixels of an image as the header describes them, with torchvision alone."""
    card = card_of(path)
    size = card["image_size"]
    steps = [T.Resize(size, T.InterpolationMode.BICUBIC), T.CenterCrop(size), T.ToTensor()]
    steps.append(T.Normalize(card["mean"], card["std"]))
    return T.Compose(steps)(Image.open(photo).convert("RGB"))[None]


def close(one, other) -> None:
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", TIMM_MODELS)
@torch.inference_mode()
def test_timm_loads_its_export_by_itself(tmp_path, photo, name):
    path = soup_of(f"timm/{name}", tmp_path)
    export(path, "timm", tmp_path / "out")
    model = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True).eval()
    close(model(prepared(path, photo)), logits(path, photo))
    assert model.pretrained_cfg["label_names"] == NAMES
    # Also timm's own preprocessing is that of the header.
    data = timm.data.create_transform(**timm.data.resolve_model_data_config(model))
    close(model(data(Image.open(photo))[None]), logits(path, photo))


@pytest.mark.parametrize("name", TIMM_MODELS)
@torch.inference_mode()
def test_transformers_loads_a_timm_model(transformers, tmp_path, photo, name):
    path = soup_of(f"timm/{name}", tmp_path)
    export(path, "huggingface", tmp_path / "out")
    loads(transformers, tmp_path / "out", path, photo, "TimmWrapperForImageClassification")


VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
       "intermediate_size": 32, "image_size": 32, "patch_size": 8}  # fmt: skip
RESNET = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}


@pytest.mark.parametrize(
    ("kind", "settings"), [("ViT", VIT), ("ResNet", RESNET)], ids=["vit", "resnet"]
)
@torch.inference_mode()
def test_transformers_loads_its_own_model(transformers, tmp_path, photo, kind, settings):
    config = getattr(transformers, f"{kind}Config")(**settings)
    model = getattr(transformers, f"{kind}ForImageClassification")(config)
    model.save_pretrained(tmp_path / "model")
    processor = {
        "size": {"height": 32, "width": 32},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(processor))
    path = soup_of(f"transformers/{tmp_path / 'model'}", tmp_path)
    export(path, "huggingface", tmp_path / "out")
    loads(transformers, tmp_path / "out", path, photo, f"{kind}ForImageClassification")


def loads(transformers, folder, path, photo, kind: str) -> None:
    """Check that transformers loads a folder with its classes, its pixels and equal logits."""
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    assert type(model).__name__ == kind
    assert model.config.id2label == dict(enumerate(NAMES))
    assert model.config.label2id == {name: i for i, name in enumerate(NAMES)}
    close(model(prepared(path, photo)).logits, logits(path, photo))
    described = json.loads((folder / "config.json").read_text())
    assert described["id2label"] == {str(i): name for i, name in enumerate(NAMES)}
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    pixels = processor(Image.open(photo), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(pixels, prepared(path, photo), rtol=0, atol=0.02)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "shufflenet_v2_x0_5"])
@torch.inference_mode()
def test_torchvision_loads_its_export_by_itself(tmp_path, photo, name):
    path = soup_of(f"torchvision/{name}", tmp_path)
    export(path, "torchvision", tmp_path / "out")
    model = torchvision.models.get_model(name, weights=None, num_classes=4).eval()
    model.load_state_dict(torch.load(tmp_path / "out" / "model.pth", weights_only=True))
    close(model(prepared(path, photo)), logits(path, photo))


@torch.inference_mode()
def test_open_clip_loads_a_whole_clip_with_the_head_beside_it(pretrained, tmp_path, photo):
    path = cooked(tmp_path / "results", pretrained)
    export(path, "open_clip", tmp_path / "out")
    address = f"local-dir:{tmp_path / 'out'}"
    model, prepare = open_clip.create_model_from_pretrained(address)
    head = load_file(tmp_path / "out" / "head.safetensors")
    image = Image.open(photo)
    features = model.eval().encode_image(prepare(image)[None], normalize=True)
    close(features @ head["weight"].T + head["bias"], logits(path, photo))
    tokens = pretrained.tokenizer(["a photo of cat"])
    close(model.encode_text(tokens), pretrained.clip.encode_text(tokens))


def test_the_text_tower_needs_a_pretrained_model_with_weights(pretrained, tmp_path):
    path = cooked(tmp_path / "results", pretrained)
    source = tmp_path / "results" / "pretrained" / "model.safetensors"
    other = source.rename(tmp_path / "elsewhere.safetensors")
    with pytest.raises(UserError, match=r"model\.safetensors has no weights of a text tower"):
        export(path, "open_clip", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    export(path, "open_clip", tmp_path / "out", str(other))
    pretrained.save(source, {}, weights=False)
    with pytest.raises(UserError, match=r"has no weights of a text tower.* --pretrained"):
        export(path, "open_clip", tmp_path / "again")


@pytest.mark.parametrize(
    ("named", "to", "message"),
    [
        ("timm/test_vit", "torchvision", "torchvision cannot compute, expected --to timm or --to"),
        ("timm/test_vit", "open_clip", "open_clip cannot compute, expected --to timm or --to"),
        (
            "torchvision/mobilenet_v3_small",
            "huggingface",
            "huggingface cannot .*, expected --to torchvision",
        ),
        ("clip", "huggingface", "model of open_clip .* cannot compute, expected --to open_clip"),
        ("clip", "timm", "model of open_clip .* cannot compute, expected --to open_clip"),
    ],
)
def test_a_format_that_cannot_hold_the_model_is_refused(pretrained, tmp_path, named, to, message):
    clip = named == "clip"
    path = cooked(tmp_path / "results", pretrained) if clip else soup_of(named, tmp_path)
    with pytest.raises(UserError, match=message):
        export(path, to, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_format_holds_models_of_some_library():
    assert {name for formats in POSSIBLE.values() for name in formats} == set(FORMATS)
    assert library_of({"embed_dim": 16}) == library_of("ViT-B-32") == "open_clip"


def test_nothing_is_replaced_and_nothing_half_written_remains(tmp_path):
    path = soup_of("timm/test_vit", tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="out exists, expected the name of a new folder"):
        export(path, "timm", tmp_path / "out")
    checkpoint = Checkpoint(path)
    state = checkpoint.state()
    state["head.bias"] *= float("nan")
    checkpoints.save(path, state, checkpoint.note)
    with pytest.raises(UserError, match="gives logits that differ by nan, expected the same"):
        export(path, "timm", tmp_path / "new")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["out", "results"]


def test_half_precision_stays(tmp_path):
    path = soup_of("timm/test_vit", tmp_path)
    checkpoint = Checkpoint(path)
    half = {name: value.half() for name, value in checkpoint.state().items()}
    checkpoints.save(path, half, checkpoint.note)
    export(path, "timm", tmp_path / "out")
    kept = load_file(tmp_path / "out" / "model.safetensors")
    assert {value.dtype for value in kept.values()} == {torch.float16}


def test_a_full_disk_leaves_no_folder(tmp_path):
    def full():
        with new_folder(tmp_path / "out") as folder:
            (folder / "half.bin").write_bytes(b"0" * 100)
            # The real error of a device that is always full
            with open("/dev/full", "wb", buffering=0) as file:
                file.write(b"0")

    with pytest.raises(UserError, match="out cannot be written: its disk has no space left"):
        full()
    assert list(tmp_path.iterdir()) == []
