"""Models of Hugging Face's transformers, which the optional package builds."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from soups.errors import UserError
from soups.models import checkpoints
from soups.models.classifier import load_classifier
from soups.models.pretrained import Pretrained, bring_in, family
from tests.unit.test_families import check_logits, converted

transformers = pytest.importorskip("transformers", reason="`make transformers` installs it")

BASE = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32,
        "intermediate_size": 32, "patch_size": 8}  # fmt: skip
STAGES = {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1], "image_size": 32}
SWIN = {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [1, 1], "num_heads": [1, 2],
        "window_size": 4}  # fmt: skip
TEXT = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 6,
        "intermediate_size": 32, "max_position_embeddings": 7, "bos_token_id": 0,
        "eos_token_id": 1, "pad_token_id": 1}  # fmt: skip
CLIP = {"vision_config": BASE, "text_config": TEXT, "projection_dim": 8}

MODELS = {
    "ViT": BASE,
    "DeiT": BASE,
    "Swin": SWIN,
    "Swinv2": SWIN,
    "ConvNext": STAGES,
    "ConvNextV2": STAGES,
    "ResNet": {"embedding_size": 8, "hidden_sizes": [8, 8], "depths": [1, 1],
               "layer_type": "basic"},
    "CLIP": CLIP,
    "Dinov2": BASE,
    "Beit": BASE | {"out_indices": [1]},
    "Siglip": {"vision_config": BASE, "text_config": TEXT},
    "Levit": {"image_size": 64},
}  # fmt: skip
PROCESSOR = {"size": {"shortest_edge": 32}, "image_mean": [0.1, 0.2, 0.3],
             "image_std": [0.4, 0.5, 0.6]}  # fmt: skip


def made(kind: str, folder, ending: str = "ForImageClassification", **settings):
    """Write the folder of a small model with random weights, and return the model."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**MODELS[kind], **settings)
    model = getattr(transformers, f"{kind}{ending}")(config).eval()
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSOR))
    return model


@pytest.mark.parametrize("kind", MODELS)
def test_an_image_classifier_and_its_classifier_give_the_same_logits(tmp_path, kind):
    made(kind, tmp_path)
    model = bring_in(f"transformers/{tmp_path}", None)
    assert (model.mean, model.normalize) == ((0.1, 0.2, 0.3), False)
    model._size = 64 if kind == "Levit" else 32
    check_logits(model)


@pytest.mark.parametrize("kind", ["ViT", "Swin", "ResNet", "CLIP"])
def test_the_tower_of_a_folder_gives_the_features_of_the_library(tmp_path, kind):
    own = made(kind, tmp_path, num_labels=4)
    model = bring_in(f"transformers/{tmp_path}", str(tmp_path))
    classifier = model.classifier(4).eval()
    last = own.classifier[-1] if kind == "ResNet" else own.classifier
    classifier.head.load_state_dict(last.state_dict())
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(classifier(images), own(images).logits)


def test_the_names_are_those_of_the_librarys_own_files(tmp_path):
    made("ViT", tmp_path, num_labels=3)
    names = bring_in(f"transformers/{tmp_path}", None).native(3)
    assert set(names.values()) == set(load_file(tmp_path / "model.safetensors"))
    assert names["head.weight"] == "classifier.weight"


def test_a_state_dict_and_a_folder_and_a_model_without_a_head_are_the_same(tmp_path):
    own = made("ViT", tmp_path / "whole", num_labels=3)
    torch.save(own.state_dict(), tmp_path / "state.pt")
    own.vit.save_pretrained(tmp_path / "tower")
    pooler = {"pooler.dense.weight": torch.zeros(16, 16), "pooler.dense.bias": torch.zeros(16)}
    file = tmp_path / "tower" / "model.safetensors"
    save_file(load_file(file) | pooler, file)
    for place in ("whole", "state.pt", "tower"):
        state = bring_in(f"transformers/{tmp_path / 'whole'}", str(tmp_path / place))
        for name, value in state.visual.state_dict().items():
            assert torch.equal(value, own.state_dict()[name]), (place, name)


def test_a_saved_model_does_not_need_its_folder(tmp_path):
    made("ViT", tmp_path / "folder", num_labels=3)
    model = bring_in(f"transformers/{tmp_path / 'folder'}", str(tmp_path / "folder"))
    model.save(tmp_path / "model.safetensors", {})
    classifier, _ = converted(model, 3)
    checkpoints.save(tmp_path / "one.safetensors", classifier.state_dict(), {})
    shutil.rmtree(tmp_path / "folder")
    again = Pretrained.load(tmp_path / "model.safetensors")
    assert (again.image_size, list(again.mean)) == (32, [0.1, 0.2, 0.3])
    loaded = load_classifier(tmp_path / "model.safetensors", tmp_path / "one.safetensors")
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(loaded(images), classifier(images))


def test_without_a_processor_the_size_is_that_of_the_configuration(tmp_path, caplog):
    made("ViT", tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with caplog.at_level("INFO", logger="soups"):
        model = bring_in(f"transformers/{tmp_path}", None)
    assert (model.image_size, model.mean) == (32, (0.5, 0.5, 0.5))
    assert "has no preprocessor_config.json, so the pixels have mean and std 0.5" in caplog.text
    made("ResNet", tmp_path)
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(UserError, match=r"whose config\.json has no image_size, expected a prepr"):
        bring_in(f"transformers/{tmp_path}", None)


def test_the_processor_decides_the_size_and_the_pixel_statistics(tmp_path):
    made("ResNet", tmp_path)
    file = tmp_path / "preprocessor_config.json"
    crop = {"do_center_crop": True, "crop_size": {"height": 48, "width": 48}, "size": 56}
    file.write_text(json.dumps(crop | {"do_normalize": False}))
    model = bring_in(f"transformers/{tmp_path}", None)
    assert (model.image_size, model.mean, model.std) == (48, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    file.write_text(json.dumps(crop | {"do_flip_channel_order": True}))
    with pytest.raises(UserError, match="expected a model for colours in the order red, green, b"):
        bring_in(f"transformers/{tmp_path}", None)


@pytest.fixture
def clip(tmp_path):
    """The folder of a CLIP with a tokenizer of four words, and the model."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    own = made("CLIP", tmp_path / "clip", "Model")
    words = {"<start>": 0, "<end>": 1, "a": 2, "cat": 3, "dog": 4, "?": 5}
    made_from = Tokenizer(models.WordLevel(words, unk_token="?"))
    made_from.pre_tokenizer = pre_tokenizers.Whitespace()
    made_from.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made_from, eos_token="<end>", unk_token="?"
    )
    fast.save_pretrained(tmp_path / "clip")
    return tmp_path / "clip", own, fast


def test_a_clip_has_normalised_features_and_a_zero_shot_head(clip, tmp_path):
    folder, own, fast = clip
    model = bring_in(f"transformers/{folder}", str(folder))
    model.save(tmp_path / "model.safetensors", {})
    tokens = fast(["a cat", "a dog"], return_tensors="pt")
    shutil.rmtree(folder)  # the header has the tokenizer as well
    model = Pretrained.load(tmp_path / "model.safetensors")
    classifier = model.classifier(2).eval()
    head = model.text_head(["cat", "dog"], ["a {}"])
    with torch.no_grad():
        classifier.head.weight.copy_(head)
        images = torch.randn(3, 3, 32, 32)
        want = own(pixel_values=images, **tokens).logits_per_image
        torch.testing.assert_close(classifier(images), want)
    names = model.native(2)
    assert (names["head.weight"], names["head.bias"]) == (None, None)
    assert names["visual.visual_projection.weight"] == "visual_projection.weight"


def test_a_model_with_two_heads_has_no_checkpoints_of_its_own(tmp_path):
    made("DeiT", tmp_path, "ForImageClassificationWithTeacher")
    model = bring_in(f"transformers/{tmp_path}", str(tmp_path))
    with pytest.raises(UserError, match=r"has 2 heads \(cls_classifier, distillation_classifier\)"):
        model.native(3)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "bert", "image_size": 32}, "Unrecognized configuration class"),
        ({"model_type": "nothing"}, "model type `nothing`"),
        ({"model_type": "x", "auto_map": {"AutoConfig": "code.X"}}, "contains custom code"),
    ],
)
def test_a_folder_of_something_else_is_refused_in_one_sentence(tmp_path, config, reason):
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "code.py").write_text("raise SystemExit('the code of a repository ran')")
    with pytest.raises(UserError, match=f"makes no image classifier .*{reason}") as error:
        bring_in(f"transformers/{tmp_path}", None)
    assert "\n" not in str(error.value)


def test_a_header_fetches_no_code_and_asks_nothing(tmp_path, monkeypatch):
    def asked(*_):
        raise AssertionError("the user was asked whether to run code")

    monkeypatch.setattr("builtins.input", asked)
    made("ViT", tmp_path, "ForImageClassification")
    config = json.loads((tmp_path / "config.json").read_text())
    remote = {"auto_map": {"AutoModelForImageClassification": "code.X"}}
    # transformers would fetch a compiled kernel of this name.
    note = {"config": config | remote | {"attn_implementation": "who/kernel"}, "image_size": 32}
    model = family("transformers/x")("transformers/x", note=note)
    assert model.visual.config._attn_implementation != "who/kernel"
    other = {"config": {"model_type": "bert", **remote}, "image_size": 32}
    with pytest.raises(UserError, match="makes no image classifier"):
        type(model)("transformers/x", note=other)
