import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from soups.errors import UserError
from soups.jobs import resume
from soups.jobs.resume import Resumable
from soups.training import pretrain as module
from soups.training.pretrain import contrastive_loss, pretrain

SETTINGS = {
    "epochs": 3, "batch_size": 16, "lr": 0.01, "weight_decay": 0.05, "warmup": 0.1, "clip": 1.0,
    "horizon": 4, "cooldown": 1, "augment": 1, "seed": 0,
}  # fmt: skip


@pytest.fixture
def features() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images, texts = (F.normalize(torch.randn(6, 4, generator=generator), dim=1) for _ in range(2))
    return images, texts


def test_the_loss_is_that_of_clip(features):
    images, texts = features
    logits = 5 * images @ texts.T
    target = torch.arange(6)
    expected = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    loss = contrastive_loss(images, texts, torch.tensor(5.0))
    torch.testing.assert_close(loss, expected)


@pytest.fixture
def corpus(images, labels) -> tuple[np.ndarray, list[str]]:
    """Images whose brightness tells which of two captions they have."""
    captions = [f"a {['cat', 'dog'][label % 2]}" for label in labels]
    return images // 2 + (120 * (labels % 2)).astype(np.uint8)[:, None, None, None], captions


def test_captions_are_learnt_and_prompts_are_known(corpus, architecture, tmp_path):
    images, captions = corpus
    quick = SETTINGS | {"epochs": 10, "horizon": 10}
    model = pretrain(*corpus, ["photo of dog"], architecture, quick, Resumable(tmp_path, {}))
    assert model.words == ["a", "cat", "dog", "of", "photo"]
    classifier = model.classifier(2).eval()
    with torch.inference_mode():
        features = classifier.features(torch.from_numpy(images))
    guesses = (features @ model.text_head(["cat", "dog"], ["a {}"]).T).argmax(1)
    assert [f"a {['cat', 'dog'][guess]}" for guess in guesses] == captions


def test_an_interrupted_pretraining_ends_with_the_same_bits(corpus, architecture, killed, tmp_path):
    def run(state: Resumable) -> dict:
        return pretrain(*corpus, [], architecture, SETTINGS, state).clip.state_dict()

    whole = run(Resumable(tmp_path, {"run": "whole"}))
    with pytest.raises(KeyboardInterrupt):
        run(killed(tmp_path, {}))
    assert Resumable(tmp_path, {}).path.exists()
    resumed = run(Resumable(tmp_path, {}))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in resumed.items())


@pytest.mark.parametrize("number", resume.SIGNALS)
@pytest.mark.parametrize("step", [1, 3, 4])
def test_a_signal_at_any_step_changes_nothing(
    corpus, architecture, monkeypatch, tmp_path, number, step
):
    def run(name: str) -> dict:
        return pretrain(*corpus, [], architecture, SETTINGS, Resumable(tmp_path, {"run": name}))

    def disturbed(*args):
        left.pop()
        if not left:
            signal.raise_signal(number)
        return contrastive_loss(*args)

    whole, left = run("whole").clip.state_dict(), [None] * step
    monkeypatch.setattr(module, "contrastive_loss", disturbed)
    with pytest.raises(SystemExit) as end:
        run("disturbed")
    monkeypatch.undo()
    assert end.value.code == 143
    saved = torch.load(Resumable(tmp_path, {"run": "disturbed"}).path, weights_only=True)
    assert saved["done"] == step
    resumed = run("disturbed").clip.state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in resumed.items())


def test_pretraining_that_diverges_ends_with_one_sentence(corpus, architecture, tmp_path):
    state = Resumable(tmp_path, {})
    with pytest.raises(UserError, match=r"the loss of step \d of 9 is nan and tensor"):
        pretrain(*corpus, [], architecture, SETTINGS | {"lr": 1e30}, state)
    assert not state.path.exists()
