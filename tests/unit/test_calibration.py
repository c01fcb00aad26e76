import numpy as np
import pytest
from scipy.special import log_softmax

from soups.calibration import BINS, ece, reliability, resampled_ece, scores, temperature


def drawn(n: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose softmax is the truth, then multiplied by ``scale``."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 4)) * 2
    noise = rng.gumbel(size=logits.shape)
    return logits * scale, (logits + noise).argmax(1)


def test_the_truth_is_calibrated_and_exaggeration_is_not():
    assert scores(*drawn(50_000))["ece"] < 0.01
    assert scores(*drawn(50_000, scale=4))["ece"] > 0.1


@pytest.mark.parametrize("scale", [0.25, 1, 4])
def test_the_temperature_undoes_a_scale(scale):
    logits, labels = drawn(50_000, scale)
    fitted = temperature(logits, labels)
    assert fitted == pytest.approx(scale, rel=0.03)
    assert scores(logits / fitted, labels)["nll"] <= scores(logits, labels)["nll"] + 1e-9


def test_ece_by_hand():
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    right = np.array([True, False, True, True])
    assert ece(confidence, right) == pytest.approx(0.5 * 0.45 + 0.5 * 0.45)
    # One bin each: |0.95 - 0.5| and |0.55 - 1|.
    means, accuracies, counts = reliability(confidence, right)
    assert means.tolist() == pytest.approx([0.55, 0.95])
    assert accuracies.tolist() == [1, 0.5]
    assert counts.tolist() == [2, 2]


def test_every_confidence_has_a_bin():
    _, _, counts = reliability(np.linspace(0, 1, 1001), np.ones(1001, bool))
    assert counts.sum() == 1001
    assert len(counts) == BINS


def test_likelihood_and_brier_score_by_hand():
    logits = np.log([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]])
    result = scores(logits, np.array([0, 1]))
    assert result["nll"] == pytest.approx(-(np.log(0.7) + np.log(0.25)) / 2)
    assert result["brier"] == pytest.approx(((0.09 + 0.04 + 0.01) + (0.25 + 0.5625 + 0.0625)) / 2)
    assert result["nll"] == pytest.approx(-log_softmax(logits, 1)[[0, 1], [0, 1]].mean())


def test_ece_of_resampled_images_is_that_of_the_repeated_ones():
    rng = np.random.default_rng(0)
    confidence = rng.random(60)
    right = rng.random(60) < 0.6
    counts = rng.multinomial(60, np.full(60, 1 / 60), 3).T
    ours = resampled_ece(confidence, right, counts)
    for column, value in zip(counts.T, ours, strict=True):
        rows = np.repeat(np.arange(60), column)
        assert value == pytest.approx(ece(confidence[rows], right[rows]))
