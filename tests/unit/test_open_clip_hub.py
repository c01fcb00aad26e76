"""Models of open_clip outside its own lists, in a folder with an ``open_clip_config.json``."""

import json
import shutil

import pytest
import torch
from open_clip import create_model, get_tokenizer
from open_clip.factory import load_checkpoint

from soups.errors import UserError
from soups.models.addresses import normalised
from soups.models.pretrained import Pretrained, bring_in, family

SETTINGS = {
    "model_cfg": {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1,
                       "head_width": 16},
        "text_cfg": {"context_length": 12, "vocab_size": 49408, "width": 16, "heads": 1,
                     "layers": 1},
    },
    "preprocess_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
}  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A folder with a small CLIP of random weights."""
    made = tmp_path / "clip"
    made.mkdir()
    (made / "open_clip_config.json").write_text(json.dumps(SETTINGS))
    torch.manual_seed(0)
    state = create_model(f"local-dir:{made}", load_weights=False).state_dict()
    torch.save(state, made / "open_clip_pytorch_model.bin")
    return made


def test_a_folder_gives_the_features_and_the_head_of_open_clip(folder, tmp_path):
    own = create_model(f"local-dir:{folder}").eval()
    tokens = get_tokenizer(f"local-dir:{folder}")(["a cat", "a dog"])
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        features, texts = own.encode_image(images, normalize=True), own.encode_text(tokens, True)
    name, source = normalised(f"local-dir:{folder}", None, fill=True)
    model = bring_in(name, source)
    assert (model.image_size, list(model.mean)) == (32, [0.1, 0.2, 0.3])
    model.save(tmp_path / "model.safetensors", {})
    shutil.rmtree(folder)  # the header describes the model
    model = Pretrained.load(tmp_path / "model.safetensors")
    assert list(model.std) == [0.4, 0.5, 0.6]
    with torch.no_grad():
        torch.testing.assert_close(model.classifier(2).eval().features(images), features)
        head = texts * own.logit_scale.exp()
        torch.testing.assert_close(model.text_head(["cat", "dog"], ["a {}"]), head)


@pytest.mark.parametrize("wrap", ["module.", "_orig_mod."])
def test_a_training_checkpoint_of_open_clip_is_read(folder, tmp_path, wrap):
    state = torch.load(folder / "open_clip_pytorch_model.bin")
    wrapped = {f"{wrap}{name}": value for name, value in state.items()}
    torch.save(
        {"epoch": 2, "name": "run", "state_dict": wrapped, "optimizer": {}}, tmp_path / "2.pt"
    )
    model = bring_in(f"local-dir:{folder}", str(tmp_path / "2.pt"))
    assert all(torch.equal(value, state[n]) for n, value in model.whole.state_dict().items())


def test_the_names_of_the_tower_are_those_of_open_clip(folder, tmp_path):
    model = bring_in(f"local-dir:{folder}", str(folder))
    names = model.native(3)
    own = model.native_model(3, model.whole.state_dict())
    state = model.native_state(own)
    for ours, tensor in model.classifier(3).state_dict().items():
        if ours.startswith("head."):
            assert names[ours] is None
        else:
            assert torch.equal(state[names[ours]], tensor)
    torch.save(state, tmp_path / "back.pt")
    clip = create_model(f"local-dir:{folder}", load_weights=False)
    assert load_checkpoint(clip, str(tmp_path / "back.pt")) is not None


def test_an_image_tower_alone_is_no_pretrained_clip(folder, tmp_path):
    state = torch.load(folder / "open_clip_pytorch_model.bin")
    tower = {name: value for name, value in state.items() if name.startswith("visual.")}
    torch.save(tower, tmp_path / "tower.pt")
    with pytest.raises(UserError, match=r"tower\.pt', which lacks 'positional_embedding', 'text_p"):
        bring_in(f"local-dir:{folder}", str(tmp_path / "tower.pt"))


def test_a_folder_without_a_description_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"expected a folder with an open_clip_config\.json that"):
        bring_in(f"local-dir:{tmp_path}", None)


@pytest.fixture
def with_code(tmp_path):
    """A folder whose configuration asks for the code of a tokenizer."""
    ran = tmp_path / "ran"
    text = SETTINGS["model_cfg"]["text_cfg"] | {
        "hf_tokenizer_name": "who/ever",
        "tokenizer_kwargs": {"trust_remote_code": True},
    }
    settings = SETTINGS | {"model_cfg": SETTINGS["model_cfg"] | {"text_cfg": text}}
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    own = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["code.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(own))
    (folder / "code.py").write_text(f"open({str(ran)!r}, 'w')\nclass Own: pass\n")
    return folder, ran


def test_the_code_of_a_tokenizer_is_not_run(with_code):
    pytest.importorskip("transformers")
    folder, ran = with_code
    with pytest.raises(UserError, match="whose tokenizer 'who/ever' cannot be loaded"):
        _ = bring_in(f"local-dir:{folder}", None).tokenizer
    assert not ran.exists()


def test_the_code_of_a_text_tower_is_neither_run_nor_asked_for(with_code, monkeypatch):
    pytest.importorskip("transformers")
    folder, ran = with_code
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("the user was asked"))
    remote = {"model_type": "own", "auto_map": {"AutoConfig": "code.Own"}}
    (folder / "config.json").write_text(json.dumps(remote))
    text = {"hf_model_name": str(folder), "hf_model_pretrained": False}
    settings = SETTINGS | {"model_cfg": SETTINGS["model_cfg"] | {"text_cfg": text}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    with pytest.raises((UserError, ValueError), match="custom code"):
        bring_in(f"local-dir:{folder}", None)
    assert not ran.exists()


def test_a_tokenizer_of_transformers_is_that_of_the_folder(folder, tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    made = Tokenizer(models.WordLevel({"?": 0, "a": 1, "cat": 2, "<pad>": 3}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="?"
    )
    fast.save_pretrained(folder)
    text = SETTINGS["model_cfg"]["text_cfg"] | {"hf_tokenizer_name": "who/ever"}
    settings = SETTINGS | {"model_cfg": SETTINGS["model_cfg"] | {"text_cfg": text}}
    (folder / "open_clip_config.json").write_text(json.dumps(settings))
    tokens = bring_in(f"local-dir:{folder}", None).tokenizer(["a cat"])
    assert tokens[0, :3].tolist() == [1, 2, 3]


def test_a_header_without_a_description_is_refused():
    with pytest.raises(UserError, match="has no config with 'model_cfg'"):
        family("hf-hub:")("hf-hub:who/ever", note={"mean": [0.5, 0.5, 0.5]})
