"""Checkpoints of several libraries as the state dict of a classifier, with their classes."""

import argparse
import re

import numpy as np
import pytest
import timm
import torch
import torchvision
from torch import nn

from soups.errors import LeftOut, UserError
from soups.models import checkpoints
from soups.models.fitting import class_order, layouts
from soups.models.foreign import reading
from soups.models.pretrained import Pretrained, bring_in

CLASSES = ["ant", "bee", "cat", "dog"]
TIMM = ("test_vit", "test_efficientnet", "test_resnet", "test_convnext", "test_byobnet")


@pytest.fixture(scope="module")
def towers():
    """Models by name, each of them built once."""
    made = {}

    def tower(architecture):
        if architecture not in made:
            made[architecture] = bring_in(architecture, None)
        return made[architecture]

    return tower


def randomised(model, seed=0):
    """A model in evaluation mode, of which every tensor is random."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor += 0.1 * torch.rand(tensor.shape, generator=generator)
        elif tensor.ndim == 0:
            tensor += 3  # a counter
    return model.eval()


def fit(path, content, model, classes=CLASSES, dtype="float32", **more):
    torch.save(content, path)
    return layouts.fit(reading.read(path), model, classes, dtype, **more)


def logits(model, state, x, classes=4):
    made = model.classifier(classes)
    made.load_state_dict(state)
    with torch.no_grad():
        return made.eval()(x)


def refusal(path, content, model, classes=CLASSES, **more):
    with pytest.raises(LeftOut) as caught:
        fit(path, content, model, classes, **more)
    return caught.value.verdict, str(caught.value).removeprefix(str(path)).lstrip(": ")


# Libraries


@pytest.mark.parametrize("name", TIMM)
def test_files_of_timm_give_the_same_logits(tmp_path, towers, name):
    theirs, ours = randomised(timm.create_model(name, num_classes=4)), towers(f"timm/{name}")
    x = torch.randn(2, 3, ours.image_size, ours.image_size)
    made = fit(tmp_path / "m", {"state_dict": theirs.state_dict(), "arch": name}, ours)
    with torch.no_grad():
        assert torch.equal(logits(ours, made.state, x), theirs(x))
    assert made.layout == layouts.LIBRARY
    # The same tensors as a file of this workflow, counters of batch normalisation included.
    checkpoints.save(tmp_path / "own", made.state, {})
    again = layouts.fit(reading.read(tmp_path / "own"), ours, CLASSES)
    assert again.layout == layouts.OWN
    assert all(torch.equal(again.state[n], t) for n, t in made.state.items())
    counters = [t for n, t in again.state.items() if n.endswith("num_batches_tracked")]
    assert all(counter == 3 for counter in counters)
    assert bool(counters) == (name in ("test_efficientnet", "test_resnet", "test_byobnet"))


def test_a_file_of_timms_training_script_is_read(tmp_path, towers):
    model = randomised(timm.create_model("test_vit", num_classes=4))
    ema = timm.utils.ModelEmaV3(model, decay=0.5)
    randomised(ema.module, seed=1)
    args = argparse.Namespace(model="test_vit", output=tmp_path, lr=0.1, mean=None)
    optimizer = torch.optim.AdamW(model.parameters())
    saver = timm.utils.CheckpointSaver(
        model, optimizer, args, model_ema=ema, checkpoint_dir=str(tmp_path),
        recovery_dir=str(tmp_path),
    )  # fmt: skip
    saver.save_checkpoint(0, metric=np.float64(71.5))
    for kind, whole in (("plain", model), ("ema", ema.module)):
        contents = reading.read(tmp_path / "model_best.pth.tar", kind)
        assert (contents.arch, contents.kinds) == ("test_vit", ["plain", "ema"])
        out = layouts.fitted(contents, towers("timm/test_vit"), CLASSES)
        assert torch.equal(out["head.weight"], whole.head.weight)


@pytest.mark.parametrize("prefix", ["backbone.", "encoder.model.", "0."])
def test_anything_may_stand_before_a_tower_and_its_head_may_have_any_name(tmp_path, towers, prefix):
    tower, head = timm.create_model("test_vit", num_classes=0), nn.Linear(64, 4)
    state = {prefix + name: tensor for name, tensor in tower.state_dict().items()}
    for name in ("head", "classifier.1", "1", "fc", "my_probe"):
        given = state | {f"{name}.{n}": t for n, t in head.state_dict().items()}
        out = fit(tmp_path / "m", given, towers("timm/test_vit")).state
        assert torch.equal(out["head.weight"], head.weight)
        assert torch.equal(out["head.bias"], head.bias)
        assert torch.equal(out["visual.cls_token"], tower.cls_token)


def test_a_head_may_be_a_convolution_and_lack_a_bias(tmp_path, towers):
    tower = timm.create_model("test_vit", num_classes=0)
    weight = torch.randn(4, 64, 1, 1)
    out = fit(tmp_path / "m", tower.state_dict() | {"fc.weight": weight}, towers("timm/test_vit"))
    assert torch.equal(out.state["head.weight"], weight.flatten(1))
    assert out.state["head.bias"].tolist() == [0, 0, 0, 0]


def test_several_heads_are_refused(tmp_path, towers):
    state = timm.create_model("test_vit", num_classes=0).state_dict()
    state |= {"one.weight": torch.ones(4, 64), "two.weight": torch.ones(4, 64)}
    verdict, text = refusal(tmp_path / "m", state, towers("timm/test_vit"))
    assert verdict == "other architecture"
    assert text.startswith("has several tensors that may be the head (one.weight, two.weight)")


def test_old_files_without_counters_get_them_from_the_architecture(tmp_path, towers):
    state = timm.create_model("test_resnet", num_classes=4).state_dict()
    old = {n: t for n, t in state.items() if not n.endswith("num_batches_tracked")}
    assert len(old) < len(state)
    out = fit(tmp_path / "m", old, towers("timm/test_resnet")).state
    assert {int(t) for n, t in out.items() if n.endswith("num_batches_tracked")} == {0}


def test_another_architecture_is_named(tmp_path, towers):
    state = timm.create_model("test_vit2", num_classes=4).state_dict()
    content = {"state_dict": state, "arch": "test_vit2"}
    verdict, text = refusal(tmp_path / "m", content, towers("timm/test_vit"))
    assert verdict == "other architecture"
    assert "such as '" in text
    assert (
        text.endswith(
            'for model.architecture "timm/test_vit" (the checkpoint names the architecture '
            "'test_vit2')"
        )
        or "expected those of model.architecture" in text
    )
    resnet = timm.create_model("test_resnet", num_classes=4).state_dict()
    verdict, text = refusal(tmp_path / "m", resnet, towers("timm/test_vit"))
    assert verdict == "other architecture"
    assert re.match(
        r"lacks \d+ of the \d+ tensors of the image tower, such as '\S+', and has", text
    )


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "resnet18"])
def test_files_of_torchvision_give_the_same_logits(tmp_path, towers, name):
    theirs = randomised(torchvision.models.get_model(name, weights=None, num_classes=4))
    ours = towers(f"torchvision/{name}")
    content = {"model": {f"module.{n}": t for n, t in theirs.state_dict().items()}}
    out = fit(tmp_path / "checkpoint.pth", content, ours).state
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(logits(ours, out, x), theirs(x), rtol=0, atol=1e-5)


def test_folders_of_transformers_give_the_same_logits(tmp_path, towers):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=32, patch_size=16, id2label=dict(enumerate(reversed(CLASSES))),
        label2id={name: i for i, name in enumerate(reversed(CLASSES))},
    )  # fmt: skip
    theirs = randomised(transformers.ViTForImageClassification(config))
    folder = tmp_path / "run"
    theirs.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    ours = towers(f"transformers/{folder}")
    contents = reading.read(folder)
    out = layouts.fit(contents, ours, CLASSES).state
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        want = theirs(x).logits.flip(1)  # the folder names its classes in the reverse order
    torch.testing.assert_close(logits(ours, out, x), want, rtol=0, atol=1e-5)


# CLIP


@pytest.fixture
def clip(architecture):
    """A tiny CLIP with random weights."""
    torch.manual_seed(0)
    return Pretrained(architecture, ["ant", "bee", "cat", "dog", "a", "photo", "of"])


@pytest.mark.parametrize("prefix", ["", "module.", "clip."])
def test_a_clip_gives_a_zero_shot_head(tmp_path, clip, prefix):
    state = {prefix + n: t.clone() for n, t in randomised(clip.clip).state_dict().items()}
    sentences = ["a photo of {}", "a {}"]
    want = clip.text_head(CLASSES, sentences)
    other = Pretrained(clip.architecture, clip.words)  # with other random weights
    assert not torch.allclose(other.text_head(CLASSES, sentences), want)
    content = {"state_dict": state, "epoch": 3, "name": "2026-01-01"}
    made = fit(tmp_path / "epoch_3.pt", content, other, templates=sentences)
    torch.testing.assert_close(made.state["head.weight"], want)
    assert not made.state["head.bias"].any()
    assert "zero-shot head" in made.notes[1]
    assert torch.equal(made.state["visual.proj"], state[f"{prefix}visual.proj"])


def test_integers_of_openais_files_are_passed_over(tmp_path, clip):
    extra = {n: torch.tensor(3) for n in ("input_resolution", "context_length", "vocab_size")}
    made = fit(tmp_path / "m", clip.clip.state_dict() | extra, clip)
    assert made.state.keys() == clip.classifier(4).state_dict().keys()


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64])
def test_buffers_that_some_versions_save_are_passed_over(tmp_path, clip, dtype):
    extra = {"visual.position_ids": torch.arange(5).to(dtype), "attn_mask": torch.ones(6, 6)}
    made = fit(tmp_path / "m", clip.clip.state_dict() | extra, clip)
    assert made.state.keys() == clip.classifier(4).state_dict().keys()


def test_indices_in_half_precision_become_whole_numbers_again(tmp_path, towers):
    model = towers("timm/test_resnet")
    state = timm.create_model("test_resnet", num_classes=4).half().state_dict()
    state = {n: t.half() + (5 if n.endswith("tracked") else 0) for n, t in state.items()}
    made = fit(tmp_path / "m", state, model)
    assert {str(t.dtype) for t in made.state.values()} == {"torch.float32", "torch.int64"}
    assert {int(t) for n, t in made.state.items() if n.endswith("num_batches_tracked")} == {5}


def test_a_given_head_is_used_instead_of_the_text_tower(tmp_path, clip):
    head = nn.Linear(clip.embed_dim, 4)
    given = {f"classifier.{n}": t for n, t in head.state_dict().items()}
    for part in ("", "model."):
        state = {part + n: t for n, t in clip.clip.state_dict().items()}
        made = fit(tmp_path / "m", state | given, clip)
        assert torch.equal(made.state["head.weight"], head.weight)


def test_a_text_tower_of_another_size_is_refused(tmp_path, clip):
    state = clip.clip.state_dict()
    state["token_embedding.weight"] = torch.ones(3, 8)
    verdict, text = refusal(tmp_path / "m", state, clip)
    assert verdict == "other architecture"
    assert "has no head, and its text tower has 1 tensor that model.arch" in text
    del state["token_embedding.weight"]
    assert "'token_embedding.weight' (missing)" in refusal(tmp_path / "m", state, clip)[1]


def test_a_tower_without_any_head_is_refused(tmp_path, clip):
    state = {n: t for n, t in clip.clip.state_dict().items() if n.startswith("visual.")}
    verdict, text = refusal(tmp_path / "m", state, clip)
    assert (verdict, "has no head: none of its tensors" in text) == ("other architecture", True)


def test_a_file_of_this_workflow_for_other_pixels_is_refused(tmp_path, clip):
    card = {"architecture": clip.architecture, "mean": list(clip.mean), "std": list(clip.std)}
    state = clip.classifier(4).state_dict()
    for change in ({}, {"mean": [0.1, 0.2, 0.3]}, {"std": 3}, {"architecture": "ViT-B-32"}):
        checkpoints.save(tmp_path / "m", state, {"model": card | change})
        contents = reading.read(tmp_path / "m")
        if not change:
            assert layouts.fit(contents, clip, CLASSES).layout == layouts.OWN
            continue
        with pytest.raises(LeftOut, match=f"was made with {next(iter(change))} .* expected"):
            layouts.fit(contents, clip, CLASSES)


# Order of classes


def headed(towers, rows=4):
    torch.manual_seed(1)
    return timm.create_model("test_vit", num_classes=rows).state_dict(), towers("timm/test_vit")


@pytest.mark.parametrize("by", ["class_names", "class_to_idx", "key", "both"])
def test_rows_are_put_in_the_order_of_the_data(tmp_path, towers, by):
    state, model = headed(towers)
    names, content, more = ["dog", "ant", "cat", "bee"], {"model": state}, {}
    if by in ("class_names", "both"):
        content["class_names"] = names
    if by == "class_to_idx":
        content["class_to_idx"] = {name: i for i, name in enumerate(names)}
    if by in ("key", "both"):
        more["order"] = names
    made = fit(tmp_path / "m", content, model, **more)
    rows = [1, 3, 2, 0]
    assert torch.equal(made.state["head.weight"], state["head.weight"][rows])
    assert torch.equal(made.state["head.bias"], state["head.bias"][rows])
    assert "in another order" in made.notes[1]


def test_without_names_the_order_is_assumed_and_said(tmp_path, towers):
    state, model = headed(towers)
    made = fit(tmp_path / "m", state, model)
    assert torch.equal(made.state["head.weight"], state["head.weight"])
    assert "their order is assumed to be the data's" in made.notes[1]


def test_rows_of_a_larger_head_are_selected_by_name(tmp_path, towers):
    state, model = headed(towers, rows=7)
    names = ["owl", "dog", "cat", "bee", "fox", "ant", "elk"]
    made = fit(tmp_path / "m", {"model": state, "class_names": names}, model)
    assert torch.equal(made.state["head.weight"], state["head.weight"][[5, 3, 2, 1]])
    assert "7 classes of which 4 are the data's" in made.notes[1]
    verdict, text = refusal(tmp_path / "m", state, model)
    assert (verdict, "is for 7 classes, expected 4" in text) == ("other classes", True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["ant", "bee", "cat", "cow"], "names 4 classes ('ant', 'bee', 'cat', ...), of which none"),
        (["ant", "bee", "cat"], "names 3 classes, but 'head.weight' of"),
        (["ant", "bee", "cat", "dog", "elk"], "names 5 classes, but"),
    ],
)
def test_contradicting_names_are_refused(tmp_path, towers, names, message):
    state, model = headed(towers)
    verdict, text = refusal(tmp_path / "m", {"model": state, "class_names": names}, model)
    assert verdict == "other classes"
    assert message in text
    assert refusal(tmp_path / "m", state, model, order=names)[0] == "other classes"


def test_a_file_and_a_key_that_disagree_are_refused(tmp_path, towers):
    state, model = headed(towers)
    content = {"model": state, "class_names": CLASSES}
    verdict, text = refusal(tmp_path / "m", content, model, order=CLASSES[::-1])
    assert verdict == "other classes"
    assert "in another order than ingredients.checkpoints.classes" in text


def test_names_of_another_kind_are_replaced_by_those_of_the_key(tmp_path, towers):
    state, model = headed(towers)
    content = {"model": state, "class_names": ["c0", "c1", "c2", "c3"]}
    made = fit(tmp_path / "m", content, model, order=CLASSES[::-1])
    assert torch.equal(made.state["head.weight"], state["head.weight"].flip(0))
    assert refusal(tmp_path / "m", content, model)[0] == "other classes"
    content["class_names"] = ["ant", "c1", "c2", "c3"]  # some of the data's classes
    assert refusal(tmp_path / "m", content, model, order=CLASSES)[0] == "other classes"


@pytest.mark.parametrize(
    ("names", "folders", "titles", "want"),
    [
        (["b", "a"], ["a", "b"], None, [1, 0]),
        (["n02", "n01"], ["n01", "n02"], ["tench", "goldfish"], [1, 0]),
        (["goldfish", "tench"], ["n01", "n02"], ["tench", "goldfish"], [1, 0]),
        (["tench, Tinca tinca", "goldfish, Carassius auratus"], ["n01", "n02"],
         ["tench", "goldfish"], [0, 1]),
        (["Ankle Boot", "t-shirt"], ["T_Shirt", "ankle_boot"], None, [1, 0]),
        (["cafe\u0301", "x"], ["x", "caf\u00e9"], None, [1, 0]),
        # An exact name counts before a similar one.
        (["Polish", "polish"], ["polish", "Polish"], None, [1, 0]),
        # A folder may have the title of another one.
        (["b", "c"], ["b", "x"], ["c", "b"], [1, 0]),
        (["a", "b"], ["a", "b"], ["b", "a"], [0, 1]),
        (["a b", "a_b"], ["A b", "c"], None, None),
        (["crane", "crane"], ["crane", "dog"], None, None),
    ],
)  # fmt: skip
def test_names_are_matched(names, folders, titles, want):
    if want is not None:
        assert class_order.rows(names, folders, titles or folders, "m.pt") == want
        return
    with pytest.raises(LeftOut, match=r"m\.pt names") as caught:
        class_order.rows(names, folders, titles or folders, "m.pt")
    assert caught.value.verdict == "other classes"


@pytest.mark.parametrize(
    "text",
    ["b\na\n", "\ufeffb\r\na\r\n\r\n", '["b", "a"]', '{"0": "b", "1": "a"}', '{"a": 1, "b": 0}'],
)
def test_a_file_of_class_names_is_read(tmp_path, text):
    (tmp_path / "classes").write_bytes(text.encode("utf-8"))
    assert class_order.from_file(tmp_path / "classes") == ["b", "a"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, expected one class name per line"),
        (b"a\na\n", "has the class 'a' twice"),
        (b"[1, 2]", "has no class names"),
        (b'{"a": 1, "b": 2}', "numbers 2 classes from 1 to 2"),
        (b'["a"', "is not JSON"),
        (b"\xff\xfe\x00", "is not text in UTF-8"),
    ],
)
def test_a_file_without_class_names_is_refused(tmp_path, content, message):
    (tmp_path / "classes").write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        class_order.from_file(tmp_path / "classes")
    assert not isinstance(caught.value, LeftOut)


def test_a_missing_file_of_class_names_is_named(tmp_path):
    with pytest.raises(UserError, match=r"gone\.txt does not exist"):
        class_order.from_file(tmp_path / "gone.txt")
