"""Text encoders of transformers under a linear head, with tokenizers of their own."""

import copy
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.func import functional_call

pytest.importorskip("transformers", reason="`make text` installs it")

import transformers

from soups import problems
from soups.errors import UserError
from soups.mixing.mix import mix
from soups.models import card, checkpoints
from soups.models.blocks import block, depths
from soups.models.classifier import load_classifier
from soups.models.pretrained import Pretrained, bring_in
from soups.text import imported, tokenizing
from soups.text.classifier import arguments
from tests import texts

TEXT = problems.named("text")
PAIRS = [(review["text"], review["second"]) for review in texts.reviews(4, pairs=True)]


def load(folder, source=True, **more):
    """The model of a folder, with its weights unless ``source`` is None."""
    source = str(folder) if source is True else source
    return bring_in(f"transformers/{folder}", source, problem=TEXT, **more)


def tokens_of(model, given=PAIRS) -> torch.Tensor:
    return torch.from_numpy(tokenizing.encode(model.made_from, given))


@pytest.mark.parametrize("kind", texts.KINDS)
def test_the_native_classifier_gives_the_logits_of_the_library(tmp_path, kind):
    own = texts.save_model(tmp_path, kind, "ForSequenceClassification", num_labels=3)
    model, file = load(tmp_path), load_file(tmp_path / "model.safetensors")
    native = model.native(3)
    assert set(native.values()) - {None} == set(file)
    classifier = model.classifier(3).eval()
    for name in ("weight", "bias"):
        getattr(classifier.head, name).data = file[native[f"head.{name}"]]
    batch = tokens_of(model)
    with torch.inference_mode():
        theirs = own(**arguments(batch, model._has_types)).logits
        torch.testing.assert_close(classifier(batch), theirs, rtol=0, atol=1e-6)


def test_padding_and_the_order_of_texts_do_not_change_a_feature(tmp_path):
    for kind, pooling in [("Bert", "native"), ("DebertaV2", "mean"), ("T5", "decoder")]:
        texts.save_model(tmp_path / kind, kind)
        model = load(tmp_path / kind, pooling=pooling)
        classifier = model.classifier(2).eval()
        with torch.inference_mode():
            together = classifier.features(tokens_of(model))
            alone = torch.cat([classifier.features(tokens_of(model, [pair])) for pair in PAIRS])
        torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["Bert", "DistilBert", "T5"])
def test_first_and_mean_are_those_of_the_encoders_states(tmp_path, kind):
    own = texts.save_model(tmp_path, kind, "EncoderModel" if kind == "T5" else "Model")
    batch = tokens_of(load(tmp_path, pooling="first"))
    given = arguments(batch, kind == "Bert")
    with torch.inference_mode():
        states = own(**given).last_hidden_state
        means = [row[:count].mean(0) for row, count in zip(states, batch[:, 0], strict=True)]
        for pooling, wanted in (("first", states[:, 0]), ("mean", torch.stack(means))):
            found = load(tmp_path, pooling=pooling).classifier(2).eval().features(batch)
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)


def test_the_decoders_feature_decides_its_first_word(tmp_path):
    own = texts.save_model(tmp_path, "T5", tie_word_embeddings=False)
    model = load(tmp_path, pooling="decoder")
    batch = tokens_of(model)
    start = torch.zeros(len(batch), 1, dtype=torch.long)
    with torch.inference_mode():
        feature = model.classifier(2).eval().features(batch)
        words = own(**arguments(batch, False), decoder_input_ids=start).logits[:, 0]
        torch.testing.assert_close(own.lm_head(feature), words, rtol=0, atol=1e-6)


@pytest.mark.parametrize("pooling", ["native", "decoder", "mean"])
def test_a_t5_has_no_tensor_twice_and_its_soup_is_exact(tmp_path, pooling):
    model = load(texts.t5(tmp_path), pooling=pooling)
    classifier = model.classifier(2).eval()
    state = classifier.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state)
    assert len([name for name in state if "shared" in name]) == 1
    assert not any("embed_tokens" in name for name in state)
    for name in ("a", "b"):
        checkpoints.save(tmp_path / f"{name}.safetensors", state, {"pretrained": "one"})
    paths = {name: tmp_path / f"{name}.safetensors" for name in ("a", "b")}
    recipe = {"method": "uniform", "coefficients": {"a": 0.5, "b": 0.5}}
    mixed = mix(recipe, paths)
    assert all(torch.equal(mixed[name], tensor) for name, tensor in state.items())


def test_shared_embeddings_stay_shared_in_copies_and_in_functional_calls(tmp_path):
    classifier = load(texts.t5(tmp_path), pooling="decoder").classifier(2).eval()
    batch = tokens_of(load(tmp_path, pooling="decoder"))
    moved = {name: tensor * 1.1 for name, tensor in classifier.state_dict().items()}
    whole = copy.deepcopy(classifier)
    whole.load_state_dict(moved)
    with torch.inference_mode():
        assert torch.equal(whole.features(batch), copy.deepcopy(whole).features(batch))
        logits = functional_call(classifier, moved, (batch,))
        torch.testing.assert_close(logits, whole(batch), rtol=0, atol=0)
    assert not torch.equal(whole.features(batch), classifier.features(batch))


def test_a_saved_model_needs_no_folder_and_a_soup_needs_no_other_file(tmp_path):
    model = load(texts.bert(tmp_path / "folder"))
    model.save(tmp_path / "model.safetensors", {"source": "folder"})
    classifier = model.classifier(2).eval()
    torch.nn.init.normal_(classifier.head.weight)
    entry = {"classes": list(texts.CLASSES), **model.made_from}
    note = {"pretrained": "one", card.KEY: entry}
    checkpoints.save(tmp_path / "soup.safetensors", classifier.state_dict(), note)
    shutil.rmtree(tmp_path / "folder")
    again = Pretrained.load(tmp_path / "model.safetensors")
    assert (again.pooling, again.max_length, again.vocabulary) == ("native", 40, model.vocabulary)
    batch = tokens_of(again)
    with torch.inference_mode():
        wanted = classifier(batch)
        assert torch.equal(again.classifier(2).eval().features(batch), classifier.features(batch))
        for alone in (
            load_classifier(tmp_path / "soup.safetensors"),
            load_classifier(tmp_path / "model.safetensors", tmp_path / "soup.safetensors"),
        ):
            assert torch.equal(alone(batch), wanted)
    rows = tokenizing.encode(card.read(tmp_path / "soup.safetensors"), ["the film is dull"])
    assert rows.dtype == np.int32


def test_heads_of_pre_training_are_left_out_and_named(tmp_path, caplog):
    own = texts.save_model(tmp_path, "Bert", "ForPreTraining")
    with caplog.at_level("INFO", logger="soups"):
        model = load(tmp_path)
    assert "left out, because no text classifier uses them: cls.predictions.bias" in caplog.text
    for name, tensor in own.bert.state_dict().items():
        assert torch.equal(model.whole.state_dict()[f"bert.{name}"], tensor)
    bare = texts.save_model(tmp_path / "bare", "Bert", "Model", seed=1)
    state = load(tmp_path / "bare").whole.state_dict()
    for name, tensor in bare.state_dict().items():
        assert torch.equal(state[f"bert.{name}"], tensor)


def test_old_names_of_normalisations_are_read(tmp_path):
    texts.save_model(tmp_path, "Bert")
    wanted = load(tmp_path, pooling="first").whole.state_dict()
    file = tmp_path / "model.safetensors"
    old = {}
    for name, tensor in load_file(file).items():
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        old[name.replace("LayerNorm.bias", "LayerNorm.beta")] = tensor
    old["bert.embeddings.position_ids"] = torch.arange(40)[None]
    save_file(old, file)
    found = load(tmp_path, pooling="first").whole.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.items())


@pytest.mark.parametrize(
    ("kind", "layers"),
    [("Roberta", "classifier.dense"), ("Bert", "bert.pooler.dense"),
     ("T5", "classification_head.dense")],
)  # fmt: skip
def test_new_layers_of_a_classifier_are_seeded_and_named(tmp_path, caplog, kind, layers):
    texts.save_model(tmp_path, kind)
    states = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with caplog.at_level("INFO", logger="soups"):
            states.append(load(tmp_path).whole.state_dict())
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    assert f"so these are random (seed 0): {layers}\n" in caplog.text


def test_all_other_weights_must_be_there(tmp_path):
    texts.bert(tmp_path)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    lost = "bert.encoder.layer.1.output.dense.weight"
    save_file({name: tensor for name, tensor in state.items() if name != lost}, file)
    with pytest.raises(UserError, match=rf"lacks '{lost}', expected the tensors of"):
        load(tmp_path)
    save_file(state | {"bert.encoder.layer.7.output.dense.weight": torch.zeros(2)}, file)
    with pytest.raises(UserError, match=r"has 'bert\.encoder\.layer\.7.* in addition"):
        load(tmp_path)


def test_a_fine_tuned_classifier_of_this_workflow_gives_its_encoder(tmp_path):
    model = load(texts.bert(tmp_path))
    state = model.classifier(3).state_dict()
    checkpoints.save(tmp_path / "tuned.safetensors", state, {})
    again = load(tmp_path, str(tmp_path / "tuned.safetensors"))
    found = again.whole.state_dict()
    assert all(torch.equal(found[n], t) for n, t in model.whole.state_dict().items())


def test_lengths_follow_the_positions_and_the_tokenizer(tmp_path):
    assert load(texts.bert(tmp_path / "bert")).max_length == 40
    texts.save_model(tmp_path / "roberta", "Roberta")
    fast = texts.tokenizer("Roberta", 1000)
    fast.save_pretrained(tmp_path / "roberta")
    # A RoBERTa counts its positions from the padding, whose id is 0 here.
    assert load(tmp_path / "roberta").max_length == 41
    texts.t5(tmp_path / "t5")
    texts.tokenizer("T5", 1000).save_pretrained(tmp_path / "t5")
    assert load(tmp_path / "t5").max_length == 512
    assert load(tmp_path / "t5", max_length=700).max_length == 700
    model = load(tmp_path / "bert", max_length=8)
    assert tokens_of(model).shape[1] == 2 + 8
    with pytest.raises(UserError, match=r"data\.text\.max_length is 41, expected at most 40"):
        load(tmp_path / "bert", max_length=41)


def test_settings_of_an_imported_file_must_be_those_of_the_configuration(tmp_path):
    model = load(texts.bert(tmp_path), pooling="mean")
    imported.check_settings(model, {"pooling": "mean", "max_length": None})
    with pytest.raises(UserError, match=r"model\.pooling is 'first', expected 'mean', as model\.p"):
        imported.check_settings(model, {"pooling": "first", "max_length": 40})
    with pytest.raises(UserError, match=r"data\.text\.max_length is 9, expected 40"):
        imported.check_settings(model, {"pooling": "mean", "max_length": 9})


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path):
    texts.bert(tmp_path / "small", vocab_size=50)
    with pytest.raises(UserError, match=r"a token with the id \d+, expected at most 49, because"):
        load(tmp_path / "small")
    texts.bert(tmp_path / "bare")
    file = tmp_path / "bare" / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    settings.pop("pad_token")
    file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match="whose tokenizer has no padding token, expected a pad_tok"):
        load(tmp_path / "bare")


@pytest.mark.parametrize("kind", ["Bert", "Roberta", "T5"])
def test_a_folder_without_the_files_of_its_tokenizer_is_refused(tmp_path, kind):
    # transformers itself makes a tokenizer that turns every word into the unknown one.
    getattr(transformers, f"{kind}Config")(**texts.KINDS[kind]).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="whose tokenizer knows no words, expected a tokeniz"):
        load(tmp_path, None)


@pytest.mark.parametrize("content", ["no", "{}", '{"added_tokens": [], "model": {}}'])
def test_a_broken_tokenizer_is_an_error_of_one_sentence(tmp_path, content):
    (texts.bert(tmp_path) / "tokenizer.json").write_text(content)
    with pytest.raises(UserError, match=r"whose tokenizer cannot be read \(.*\), expected a token"):
        load(tmp_path, None)


def test_a_model_that_does_not_ignore_padding_is_refused(tmp_path):
    size = {"d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 32}
    words = texts.tokenizer("Bert")
    words.save_pretrained(tmp_path)
    config = transformers.XLNetConfig(vocab_size=len(words), pad_token_id=0, **size)
    config.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="whose feature of a text changes with the padding behind"):
        load(tmp_path, None).classifier(2)


def test_patterns_of_transformers_for_old_tensors_leave_those_of_the_model(tmp_path):
    size = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 40}
    words = texts.tokenizer("Bert")
    words.save_pretrained(tmp_path)
    config = transformers.GPT2Config(vocab_size=len(words), pad_token_id=0, **size)
    own = transformers.GPT2ForSequenceClassification(config)
    own.save_pretrained(tmp_path)
    state = load(tmp_path).whole.state_dict()
    assert {f"transformer.{name}" for name in own.transformer.state_dict()} == set(state)


def test_a_pooling_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"model\.pooling is 'decoder', but .* has no decoder, exp"):
        load(texts.bert(tmp_path / "bert"), pooling="decoder")
    config = transformers.ViTConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    config.save_pretrained(tmp_path / "image")
    with pytest.raises(UserError, match=r"makes no text classifier \(Unrecognized .*first or mean"):
        load(tmp_path / "image", None)
    with pytest.raises(UserError, match=r"model\.pooling is 'mean', expected 'native' for"):
        load(tmp_path / "bert", pooling="mean").native(2)


def test_code_of_a_repository_is_never_run(tmp_path):
    texts.bert(tmp_path)
    for file, entry in (
        ("config.json", {"AutoModelForSequenceClassification": "evil.Evil"}),
        ("tokenizer_config.json", {"AutoTokenizer": [None, "evil.Evil"]}),
    ):
        settings = json.loads((tmp_path / file).read_text())
        (tmp_path / file).write_text(json.dumps(settings | {"auto_map": entry}))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_t5_hides_words_by_its_sentinel(tmp_path, caplog):
    with caplog.at_level("INFO", logger="soups"):
        model = load(texts.t5(tmp_path))
    assert "has no mask token, so augmentation puts <extra_id_0> in the place" in caplog.text
    assert model.classifier(2).mask_token == model.made_from["mask"] == 3
    assert model.classifier(2).special == [0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "pooling", "blocks"),
    [("Bert", "native", 2), ("Bert", "first", 2), ("DistilBert", "native", 2),
     ("Roberta", "mean", 2), ("DebertaV2", "native", 2), ("T5", "decoder", 4), ("T5", "mean", 2)],
)  # fmt: skip
def test_depths_go_from_the_embeddings_to_the_head(tmp_path, kind, pooling, blocks):
    texts.save_model(tmp_path, kind)
    names = [name for name, _ in load(tmp_path, pooling=pooling).classifier(2).named_parameters()]
    depth = depths(names)
    assert depth["head.weight"] == depth["head.bias"] == blocks + 1
    assert depth[names[0]] == 0
    assert sorted(set(depth.values())) == list(range(blocks + 2))
    numbered = [name for name in names if block(name).rpartition(".")[2].isdigit()]
    assert len({block(name) for name in numbered}) == blocks
    ordered = [depth[name] for name in numbered]
    assert ordered == sorted(ordered)
    embeddings = [n for n in names if "embeddings" in n or "shared" in n]
    assert {depth[name] for name in embeddings} == {0}
    if kind == "T5":
        assert depth[next(n for n in names if "encoder.final_layer_norm" in n)] == 2


def test_the_small_model_of_the_experiments_names_the_tool_that_fetches_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"no folder models/minilm, expected .* tools/fetch_minilm"):
        problems.named("text").family("")("transformers/models/minilm")
