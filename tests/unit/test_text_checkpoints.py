"""Text classifiers of transformers as ready-made ingredients, and the doctor on them."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("transformers", reason="`make text` installs it")

import diagnose
import import_checkpoint
import pandas as pd
import yaml
from safetensors.torch import load_file, save_file

from soups.data.prepared import identity, write_set
from soups.errors import LeftOut
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.fitting import layouts
from soups.models.foreign import reading
from soups.models.pretrained import bring_in
from soups.problems import named
from soups.text.tokenizing import encode
from tests.unit.text_folders import CLASSES, KINDS, SECONDS, TEXTS, folder_of, logits_of

TEXT = named("text")


def model_of(folder, **more):
    return bring_in(f"transformers/{folder}", None, problem=TEXT, **more)


def fit(path, model, classes=CLASSES, **more):
    return layouts.fit(reading.read(path), model, classes, **more)


@torch.inference_mode()
def ours(model, state, seconds=None):
    made = model.classifier(len(state["head.weight"])).eval()
    made.load_state_dict(state)
    texts = TEXTS if seconds is None else list(zip(TEXTS, seconds, strict=True))
    return made(torch.from_numpy(encode(model.made_from, texts)))


def refusal(path, model, classes=CLASSES, **more):
    with pytest.raises(LeftOut) as caught:
        fit(path, model, classes, **more)
    return caught.value.verdict, str(caught.value).removeprefix(str(path)).lstrip(": ")


# Reading


@pytest.mark.parametrize("seconds", [None, SECONDS], ids=["one", "two"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_gives_the_logits_of_its_classifier(tmp_path, kind, seconds):
    theirs = folder_of(kind, tmp_path / "m")
    model = model_of(tmp_path / "m")
    found = fit(tmp_path / "m", model)
    torch.testing.assert_close(
        ours(model, found.state, seconds), logits_of(theirs, seconds=seconds)
    )
    assert found.layout == layouts.LIBRARY
    # The same tensors as a file of this workflow.
    checkpoints.save(tmp_path / "own", found.state, {})
    again = fit(tmp_path / "own", model)
    assert again.layout == layouts.OWN
    assert all(torch.equal(again.state[name], tensor) for name, tensor in found.state.items())


@pytest.mark.parametrize("kind", KINDS)
def test_files_of_torch_and_training_files_are_read(tmp_path, kind):
    theirs = folder_of(kind, tmp_path / "m")
    model, want = model_of(tmp_path / "m"), fit(tmp_path / "m", model_of(tmp_path / "m")).state
    shutil.copytree(tmp_path / "m", tmp_path / "old")
    (tmp_path / "old" / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    torch.save({"state_dict": {f"model.{n}": t for n, t in theirs.state_dict().items()}},
               tmp_path / "last.ckpt")  # fmt: skip
    for path in (tmp_path / "old", tmp_path / "last.ckpt"):
        found = fit(path, model).state
        assert all(torch.equal(found[name], tensor) for name, tensor in want.items())


def test_classes_come_into_the_order_of_the_data(tmp_path):
    theirs = folder_of("Bert", tmp_path / "m", ["Positive", "other", "Negative", "neutral"])
    model = model_of(tmp_path / "m")
    made = fit(tmp_path / "m", model)
    assert "of which 3 are the data's" in made.notes[1]
    torch.testing.assert_close(ours(model, made.state), logits_of(theirs)[:, [2, 3, 0]])
    # Names that transformers gives by itself say nothing about the order.
    folder_of("Bert", tmp_path / "plain", [f"LABEL_{i}" for i in range(3)])
    assert "assumed to be the data's" in fit(tmp_path / "plain", model).notes[1]


# What is refused


def test_other_classes_are_refused(tmp_path):
    folder_of("Bert", tmp_path / "m", ["entailment", "neutral", "contradiction"])
    verdict, text = refusal(tmp_path / "m", model_of(tmp_path / "m"))
    assert verdict == "other classes"
    assert text.startswith("names 3 classes ('entailment', 'neutral', 'contradiction'), of which")
    folder_of("Bert", tmp_path / "two", ["LABEL_0", "LABEL_1"])
    verdict, text = refusal(tmp_path / "two", model_of(tmp_path / "m"))
    assert (verdict, text) == (
        "other classes", "'classifier.weight' is for 2 classes, expected 3, as in the data"
    )  # fmt: skip


def test_a_model_without_a_head_is_refused(tmp_path):
    theirs = folder_of("Bert", tmp_path / "m")
    theirs.bert.save_pretrained(tmp_path / "base")
    verdict, text = refusal(tmp_path / "base", model_of(tmp_path / "m"))
    assert verdict == "other architecture"
    assert text == ("has no head: none of its tensors outside the text encoder has the shape "
                    "(classes, 16), expected a head for 3 classes")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "config", "reason"),
    [("DistilBert", {}, r"lacks 39 of the 39 tensors of the text encoder, such as 'encoder\.bert"),
     ("Bert", {"num_hidden_layers": 1}, r"lacks \d+ of the \d+ tensors of the text encoder"),
     ("Bert", {"num_hidden_layers": 3}, r"has 16 tensors outside the text encoder and the head"),
     ("Bert", {"vocab_size": 500}, r"has 1 tensor of another shape, such as 'bert\.embeddings\."),
     ("Bert", {"intermediate_size": 48}, r"has 6 tensors of another shape")],
)  # fmt: skip
def test_another_architecture_is_refused(tmp_path, kind, config, reason):
    folder_of("Bert", tmp_path / "m")
    folder_of(kind, tmp_path / "other", **config)
    verdict, text = refusal(tmp_path / "other", model_of(tmp_path / "m"))
    assert verdict == "other architecture"
    assert re.match(reason, text), text


def test_values_that_are_not_finite_and_pickled_modules_are_refused(tmp_path):
    theirs = folder_of("Bert", tmp_path / "m")
    model = model_of(tmp_path / "m")
    state = load_file(tmp_path / "m" / "model.safetensors")
    state["classifier.bias"][1] = float("nan")
    save_file(state, tmp_path / "m" / "model.safetensors", {"format": "pt"})
    verdict, text = refusal(tmp_path / "m", model)
    assert verdict == "diverged"
    assert text.startswith("'classifier.bias' has 1 values that are not finite")
    torch.save(theirs, tmp_path / "whole.pt")
    verdict, text = refusal(tmp_path / "whole.pt", model)
    assert verdict == "unreadable"
    assert "holds a whole pickled module" in text


def test_a_soup_with_another_pooling_is_refused(tmp_path):
    folder_of("Bert", tmp_path / "m")
    model, mean = model_of(tmp_path / "m"), model_of(tmp_path / "m", pooling="mean")
    state = model.classifier(3).state_dict()
    note = {"model": mean.made_from | {"classes": CLASSES}}
    checkpoints.save(tmp_path / "soup", state, note)
    verdict, text = refusal(tmp_path / "soup", model)
    assert verdict == "other architecture"
    assert text == 'was made with pooling "mean", expected "native", as in model'


# The rules


@pytest.fixture
def run(tmp_path, root, configured):
    """A function that imports a folder as the rule does, and returns the file of weights."""
    folder_of("Bert", tmp_path / "start")
    model = model_of(tmp_path / "start")
    model.save(tmp_path / "pretrained.safetensors", {}, weights=False)
    labels = np.arange(len(TEXTS) * 40) % 3
    texts = [f"{TEXTS[i % len(TEXTS)]} {TEXTS[i % 7]}" for i in range(len(labels))]
    heldout = tmp_path / "heldout.npy"
    more = {"problem": "text", "pad": model.made_from["pad"]}
    write_set(heldout, encode(model.made_from, texts), labels, identity(CLASSES), **more)
    config = yaml.safe_load((root / "config.yaml").read_text(encoding="utf-8"))
    config["ingredients"] = {"source": "checkpoints", "checkpoints": {"sums": None},
                             "strict": False}  # fmt: skip

    def imported(name, same_tokenizer=True):
        if same_tokenizer:
            shutil.copy(tmp_path / "start" / "tokenizer.json", tmp_path / name)
        out = SimpleNamespace(
            weights=tmp_path / f"{name}.safetensors", heldout=tmp_path / f"{name}.heldout.npy"
        )
        given = SimpleNamespace(
            pretrained=tmp_path / "pretrained.safetensors", checkpoint=tmp_path / name,
            parts=[], heldout=[heldout], classes=[], first=[],
        )  # fmt: skip
        params = SimpleNamespace(
            file=name, dtype="float32", weights="plain", templates=["{}"], strict=False,
            note={"hyperparameters": {}}, start=False,
        )  # fmt: skip
        job = SimpleNamespace(input=given, output=out, params=params, config=config)
        import_checkpoint.main(job)
        return out

    return imported


def test_the_rule_imports_a_folder_with_a_card_that_describes_it(tmp_path, run):
    theirs = folder_of("Bert", tmp_path / "m0", seed=1)
    out = run("m0")
    card = Checkpoint(out.weights).note["model"]
    assert (card["problem"], card["classes"], card["pair"]) == ("text", CLASSES, False)
    with torch.inference_mode():
        rows = torch.from_numpy(encode(card, TEXTS))
        torch.testing.assert_close(
            load_classifier(out.weights)(rows), logits_of(theirs, folder=tmp_path / "start")
        )
    assert np.load(out.heldout).shape == (320, 3)


def test_the_rule_leaves_out_a_diverged_classifier(tmp_path, run):
    folder_of("Bert", tmp_path / "bad")
    state = load_file(tmp_path / "bad" / "model.safetensors")
    state["classifier.weight"][0, 0] = float("inf")
    save_file(state, tmp_path / "bad" / "model.safetensors", {"format": "pt"})
    out = run("bad")
    assert Checkpoint(out.weights).left_out["verdict"] == "diverged"


def test_the_rule_leaves_out_a_classifier_with_another_tokenizer(tmp_path, run):
    folder_of("Bert", tmp_path / "m0")
    assert Checkpoint(run("m0").weights).left_out is None
    path = tmp_path / "m0" / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    words = content["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    path.write_text(json.dumps(content), encoding="utf-8")
    left_out = Checkpoint(run("m0", False).weights).left_out
    assert left_out["verdict"] == "other architecture"
    assert (
        "gives 2 words another number than the tokenizer of model.architecture, such as 'a' "
        in (left_out["reason"])
    )
    path.write_text("{}")
    assert (
        "tokenizer.json is not a tokenizer"
        in Checkpoint(run("m0", False).weights).left_out["reason"]
    )


def test_the_doctor_examines_text_classifiers(tmp_path, run):
    """Two relatives, a model of another start, and one that is left out."""
    theirs = folder_of("Bert", tmp_path / "m0", seed=1)
    torch.manual_seed(5)
    with torch.no_grad():
        for tensor in theirs.parameters():
            tensor += 0.001 * torch.randn_like(tensor)
    shutil.copytree(tmp_path / "m0", tmp_path / "m1")
    theirs.save_pretrained(tmp_path / "m1")
    folder_of("Bert", tmp_path / "m2", seed=2)
    folder_of("DistilBert", tmp_path / "m3")
    names = ["m0", "m1", "m2", "m3"]
    outs = [run(name) for name in names]
    job = SimpleNamespace(
        input=SimpleNamespace(
            pretrained=tmp_path / "pretrained.safetensors", heldout=[tmp_path / "heldout.npy"],
            weights=[out.weights for out in outs], logits=[out.heldout for out in outs],
            start=[], start_logits=[],
        ),
        params=SimpleNamespace(models=names, recalibrate=0),
        output=SimpleNamespace(doctor=tmp_path / "doctor.csv", summary=tmp_path / "summary.csv"),
    )  # fmt: skip
    diagnose.main(job)
    table = pd.read_csv(tmp_path / "doctor.csv", index_col="model")
    assert table["verdict"]["m3"] == "other architecture"
    assert table["verdict"]["m2"] == "other initialisation"
    assert table["backbone_cosine"]["m1"] > 0.99
    sentences = " ".join(pd.read_csv(tmp_path / "summary.csv")["text"])
    assert "One of 320 held-out texts is worth 0.3 points." in sentences
    assert "image" not in sentences + " ".join(table["reason"]) + " ".join(table["advice"].dropna())
