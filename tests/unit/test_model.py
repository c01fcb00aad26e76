import copy

import pytest
import torch
import torch.nn.functional as F

from soups.errors import UserError
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint
from soups.models.classifier import load_classifier
from soups.models.pretrained import Pretrained

NOTE = {"b": 1, "a": {"d": [2], "c": 3}}


@pytest.fixture
def saved(pretrained, tmp_path):
    """The pre-trained checkpoint on disk."""
    path = tmp_path / "pretrained.safetensors"
    pretrained.save(path, {"source": "test"})
    return path


@pytest.fixture
def classifier(pretrained):
    """A classifier with a head of random weights."""
    model = pretrained.classifier(4).eval()
    torch.nn.init.normal_(model.head.weight)
    return model


def test_pretrained_round_trip(pretrained, saved):
    back = Pretrained.load(saved)
    assert (back.architecture, back.words) == (pretrained.architecture, pretrained.words)
    assert Checkpoint(saved).note["source"] == "test"
    state = back.clip.state_dict()
    assert state.keys() == pretrained.clip.state_dict().keys()
    for name, tensor in pretrained.clip.state_dict().items():
        assert torch.equal(state[name], tensor)
    assert torch.equal(back.text_head(["cat"], ["a {}"]), pretrained.text_head(["cat"], ["a {}"]))


def test_text_head_has_unit_rows_times_the_scale(pretrained):
    with torch.no_grad():
        pretrained.clip.logit_scale.fill_(1.5)
    head = pretrained.text_head(["cat", "dog"], ["a {}", "photo of a {}"])
    assert head.shape == (2, 16)
    torch.testing.assert_close(head.norm(dim=1), torch.full((2,), 1.5).exp())


def test_text_head_is_the_mean_of_normalised_templates(pretrained):
    with torch.no_grad():
        tokens = pretrained.tokenizer(["a dog", "photo of dog"])
        mean = F.normalize(pretrained.clip.encode_text(tokens), dim=1).mean(0)
        expected = F.normalize(mean, dim=0) * pretrained.clip.logit_scale.exp()
    head = pretrained.text_head(["cat", "dog"], ["a {}", "photo of {}"])
    torch.testing.assert_close(head[1], expected)


def test_pixels_of_either_kind_give_the_same_logits(classifier, images):
    x = torch.from_numpy(images[:4])
    scaled = x.permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        torch.testing.assert_close(classifier(x), classifier(scaled))
        torch.testing.assert_close(classifier.features(x).norm(dim=1), torch.ones(4))


def test_classifier_round_trip(classifier, saved, tmp_path, images):
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, classifier.state_dict(), {})
    back = load_classifier(saved, path)
    assert not back.training
    with torch.inference_mode():
        x = torch.from_numpy(images[:4])
        assert torch.equal(back(x), classifier(x))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"visual.proj": torch.zeros(3, 3)}, r"'visual\.proj' with shape \(3, 3\), expected \(32,"),
        ({"visual.proj": None}, r"'visual\.proj' with shape missing, expected \(32, 16\)"),
        ({"visual.tail": torch.zeros(1)}, r"'visual\.tail' with shape \(1,\), expected ab"),
    ],
)
def test_a_tensor_that_does_not_fit_is_named(classifier, saved, tmp_path, changed, message):
    state = classifier.state_dict() | changed
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, {n: t for n, t in state.items() if t is not None}, {})
    with pytest.raises(UserError, match=rf"model\.safetensors has 1 tensors .*{message}"):
        load_classifier(saved, path)


def test_a_classifier_is_no_pretrained_model(classifier, tmp_path):
    path = tmp_path / "model.safetensors"
    checkpoints.save(path, classifier.state_dict(), {})
    with pytest.raises(UserError, match=r"model\.safetensors is .* not a pre-trained model"):
        Pretrained.load(path)


def test_an_unknown_tag_is_named():
    with pytest.raises(
        UserError, match=r"model\.pretrained is 'opnai', expected .* ViT-B-32 \(.*openai"
    ):
        Pretrained("ViT-B-32", None, "opnai")


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(2, dtype=torch.int64)}
    # The same values, but the tensors, the note's keys and the memory have another order.
    other = {"a": state["a"].clone(), "b": state["b"].T.contiguous().T}
    checkpoints.save(tmp_path / "one", state, NOTE)
    checkpoints.save(tmp_path / "two", other, dict(reversed(NOTE.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    checkpoints.save(tmp_path / "two", other, NOTE | {"b": 2})
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(UserError, match=r"text\.safetensors is not a safetensors checkpoint"):
        Checkpoint(tmp_path / "text.safetensors")
    with pytest.raises(UserError, match=r"none\.safetensors does not exist, expected a checkpoint"):
        Checkpoint(tmp_path / "none.safetensors")


def test_a_head_of_some_classes_is_frozen_and_replaced_afterwards(pretrained, images):
    model = pretrained.classifier(4).eval()
    with torch.no_grad():
        model.head.weight.normal_()
    x = torch.from_numpy(images[:3])
    whole, state = model(x), copy.deepcopy(model.state_dict())
    with model.only([2, 0]):
        torch.testing.assert_close(model(x), whole[:, [2, 0]])
        assert not any(p.requires_grad for p in model.head.parameters())
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(p.requires_grad for p in model.head.parameters())
