import numpy as np
import pytest
from scipy.special import softmax

from soups.mixing import ensembles
from soups.mixing.select import greedy

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 5, 200)
LOGITS = {
    f"m{i}": (2 * RNG.normal(size=(200, 5)) + 2 * np.eye(5)[LABELS]).astype(np.float32)
    for i in range(6)
}
read = LOGITS.__getitem__


def accuracy(logits) -> float:
    return float((logits.argmax(1) == LABELS).mean())


def test_an_ensemble_of_logits_is_their_mean():
    mean = np.mean([read(name) for name in LOGITS], axis=0)
    np.testing.assert_allclose(ensembles.combine(list(LOGITS), read), mean, rtol=1e-5, atol=1e-6)


def test_an_ensemble_of_probabilities_has_their_mean():
    mean = np.mean([softmax(read(name), axis=1) for name in LOGITS], axis=0)
    made = ensembles.combine(list(LOGITS), read, "probabilities")
    np.testing.assert_allclose(softmax(made, axis=1), mean, rtol=1e-5)
    assert made.dtype == np.float32


def test_certainty_does_not_become_infinite():
    sure = np.array([[0.0, 2000.0]])
    assert np.isfinite(ensembles.combine(["x"], lambda name: sure, "probabilities")).all()


@pytest.mark.parametrize("average", ["logits", "probabilities"])
def test_scores_are_those_of_the_combined_logits(average):
    score = ensembles.scorer(read, LABELS, average)
    for names in [("m0",), ("m0", "m1"), ("m0", "m1", "m2"), ("m3", "m1"), ("m3", "m1", "m5")]:
        assert score(names) == accuracy(ensembles.combine(names, read, average))


def test_a_greedy_ensemble_is_never_worse_than_its_first():
    chosen, trace = greedy(list(LOGITS), ensembles.scorer(read, LABELS))
    assert accuracy(ensembles.combine(chosen, read)) >= accuracy(read("m0"))
    assert trace[0]["with"] == accuracy(read("m0"))
    assert len(chosen) > 1
