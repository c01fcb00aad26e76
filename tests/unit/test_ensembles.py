import inspect

import numpy as np
import pytest
from scipy.special import softmax

from soups.evaluation.metric import METRICS
from soups.experiment.registry import ENSEMBLE_METHODS
from soups.mixing import ensembles
from soups.mixing.recipes import recipe
from soups.mixing.select import by_score, full, greedy

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 5, 200)
LOGITS = {
    f"m{i}": (2 * RNG.normal(size=(200, 5)) + 2 * np.eye(5)[LABELS]).astype(np.float32)
    for i in range(6)
}
read = LOGITS.__getitem__


def accuracy(logits) -> float:
    """Accuracy of logits on `LABELS`."""
    return float((logits.argmax(1) == LABELS).mean())


def test_an_ensemble_of_logits_has_the_mean_logits():
    mean = np.mean([read(name) for name in LOGITS], axis=0)
    np.testing.assert_allclose(ensembles.combine(list(LOGITS), read), mean, rtol=1e-5, atol=1e-6)


def test_an_ensemble_of_probabilities_has_the_mean_probabilities():
    mean = np.mean([softmax(read(name), axis=1) for name in LOGITS], axis=0)
    made = ensembles.combine(list(LOGITS), read, "probabilities")
    np.testing.assert_allclose(softmax(made, axis=1), mean, rtol=1e-5)
    assert made.dtype == np.float32


def test_a_probability_of_0_gives_a_finite_logit():
    sure = np.array([[0.0, 2000.0]])
    assert np.isfinite(ensembles.combine(["x"], lambda name: sure, "probabilities")).all()


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_the_score_of_models_is_the_accuracy_of_their_ensemble(average):
    score = ensembles.scorer(read, LABELS, average)
    for names in [("m0",), ("m0", "m1"), ("m0", "m1", "m2"), ("m3", "m1"), ("m3", "m1", "m5")]:
        assert score(names) == accuracy(ensembles.combine(names, read, average))


def test_the_score_of_models_is_the_metric_of_their_ensemble():
    matthews = METRICS["matthews"]
    score = ensembles.scorer(read, LABELS, metric=matthews)
    made = ensembles.combine(["m0", "m1"], read)
    assert score(("m0", "m1")) == matthews.of(made, LABELS) != accuracy(made)


def test_a_greedy_ensemble_is_never_worse_than_its_first_member():
    chosen, trace = greedy(list(LOGITS), full(ensembles.scorer(read, LABELS)))
    assert accuracy(ensembles.combine(chosen, read)) >= accuracy(read("m0"))
    assert trace[0]["with"] == accuracy(read("m0"))
    assert len(chosen) > 1


# The registered methods

SOUPS = [recipe({"m3": 0.5, "m1": 0.5, "zeroshot": 0.1}, "wise_ft"), recipe({"m1": 1.0}, "greedy")]


def test_every_ensemble_method_is_registered():
    functions = {
        name: function
        for name, function in vars(ensembles).items()
        if inspect.isfunction(function) and "ingredients" in inspect.signature(function).parameters
    }
    assert functions.keys() == ENSEMBLE_METHODS.keys()
    # The test below runs every method with both averages. `of` chooses the soups.
    for name, method in ENSEMBLE_METHODS.items():
        arguments = set(inspect.signature(functions[name]).parameters)
        own = method.options.keys() - {"average", "of"}
        assert arguments == {"ingredients", "score", "soups"} | own, name


# For every ensemble method, the members that it chooses for a score.
MEMBERS = {
    "uniform": lambda score: list(LOGITS),
    "greedy": lambda score: greedy(
        by_score({name: score((name,)) for name in LOGITS}), full(score)
    )[0],
    "members": lambda score: ["m3", "m1"],  # without the start
}


@pytest.mark.parametrize("average", ["logits", "probabilities"])
@pytest.mark.parametrize("name", ENSEMBLE_METHODS)
def test_every_ensemble_method_chooses_its_members(name, average):
    score = ensembles.scorer(read, LABELS, average)
    members, trace = getattr(ensembles, name)(list(LOGITS), score, SOUPS)
    assert members == MEMBERS[name](score)
    # Every step of a trace names its candidate.
    assert trace is None or [step["candidate"] for step in trace]
    assert trace is not None or name != "greedy"
