"""Fixtures of the library's tests."""

import copy
import itertools

import numpy as np
import pytest

from soups.jobs import compute
from soups.jobs.resume import Resumable
from soups.models.classifier import Classifier
from soups.training.finetune import finetune
from tests.unit.training import ROWS


@pytest.fixture
def start(pretrained) -> Classifier:
    """A classifier of 4 classes, from which models are fine-tuned."""
    return pretrained.classifier(4)


@pytest.fixture
def tuned(start, images, labels, tmp_path):
    """A function that fine-tunes a copy of `start` and returns its weights."""
    runs = itertools.count()

    def weights(
        hyperparameters: dict, state: Resumable | None = None, images=images, model=start, **more
    ) -> dict:
        state = state or Resumable(tmp_path / "fresh", {"run": next(runs)})
        model = finetune(copy.deepcopy(model), images, labels, ROWS, hyperparameters, state, **more)
        assert not model.training
        return {name: tensor.cpu() for name, tensor in model.state_dict().items()}

    return weights


@pytest.fixture
def configured():
    """A function that sets keys of the `compute` section. The defaults return after the test."""
    yield lambda **settings: compute.configure(settings)
    compute.configure({})


@pytest.fixture
def teacher() -> np.ndarray:
    """Logits of a teacher on the training images."""
    return np.random.default_rng(5).normal(size=(len(ROWS), 4)).astype(np.float32)
