import numpy as np
import pytest
from scipy.special import log_softmax

from soups.evaluation import resampling
from soups.evaluation.calibration import (
    BINS,
    debiased_ece,
    ece,
    equal_mass,
    kinds_of_bins,
    reliability,
    scores,
    temperature,
)


def drawn(n: int, scale: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Draw labels from the softmax of logits, and return the logits times ``scale``."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(n, 4)) * 2
    noise = rng.gumbel(size=logits.shape)
    return logits * scale, (logits + noise).argmax(1)


def test_true_probabilities_have_a_small_ece_and_exaggerated_ones_a_large_ece():
    assert scores(*drawn(50_000))["ece"] < 0.01
    assert scores(*drawn(50_000, scale=4))["ece"] > 0.1


@pytest.mark.parametrize("scale", [0.25, 1, 4])
def test_the_fitted_temperature_undoes_a_scale_of_the_logits(scale):
    logits, labels = drawn(50_000, scale)
    fitted = temperature(logits, labels)
    assert fitted == pytest.approx(scale, rel=0.03)
    assert scores(logits / fitted, labels)["nll"] <= scores(logits, labels)["nll"] + 1e-9


def test_ece_and_reliability_equal_a_calculation_by_hand():
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    right = np.array([True, False, True, True])
    assert ece(confidence, right) == pytest.approx(0.5 * 0.45 + 0.5 * 0.45)
    # Each of the two bins has a gap of 0.45: |0.95 - 0.5| and |0.55 - 1|.
    means, accuracies, counts = reliability(confidence, right)
    assert means.tolist() == pytest.approx([0.55, 0.95])
    assert accuracies.tolist() == [1, 0.5]
    assert counts.tolist() == [2, 2]


def test_every_confidence_from_0_to_1_falls_into_a_bin():
    _, _, counts = reliability(np.linspace(0, 1, 1001), np.ones(1001, bool))
    assert counts.sum() == 1001
    assert len(counts) == BINS


def test_likelihood_and_brier_score_equal_a_calculation_by_hand():
    logits = np.log([[0.7, 0.2, 0.1], [0.5, 0.25, 0.25]])
    result = scores(logits, np.array([0, 1]))
    assert result["nll"] == pytest.approx(-(np.log(0.7) + np.log(0.25)) / 2)
    assert result["brier"] == pytest.approx(((0.09 + 0.04 + 0.01) + (0.25 + 0.5625 + 0.0625)) / 2)
    assert result["nll"] == pytest.approx(-log_softmax(logits, 1)[[0, 1], [0, 1]].mean())


def test_the_debiased_ece_of_many_images_is_nearly_the_ece(monkeypatch):
    monkeypatch.setattr(resampling, "REPLICATES", 2)
    confidence = np.random.default_rng(0).uniform(0.3, 1, 500_000)
    right = np.random.default_rng(1).random(500_000) < confidence - 0.05
    assert debiased_ece(confidence, right)[0] == pytest.approx(ece(confidence, right), abs=2e-4)


def test_the_interval_of_a_gain_in_ece_contains_the_true_gain(monkeypatch):
    """The plain bootstrap interval of ECE rarely does, because noise adds to ECE twice."""
    monkeypatch.setattr(resampling, "REPLICATES", 200)
    inside = {"debiased": 0, "plain": 0}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        confidence, draw = rng.uniform(0.4, 1, 3000), rng.random(3000)
        good, bad = draw < confidence, draw < confidence - 0.06
        gain = debiased_ece(confidence, bad, seed) - debiased_ece(confidence, good, seed)
        low, high = resampling.interval(gain, biased=True)[1:]
        inside["debiased"] += low <= 0.06 <= high
        drawn = np.concatenate(list(resampling.counts(3000, [seed])), axis=1)
        rows = [np.repeat(np.arange(3000), column.astype(int)) for column in drawn.T]
        plain = [ece(confidence[r], bad[r]) - ece(confidence[r], good[r]) for r in rows]
        low, high = resampling.interval(np.array(plain))[1:]
        inside["plain"] += low <= 0.06 <= high
    assert inside["debiased"] >= 25
    assert inside["plain"] <= 10


@pytest.mark.parametrize("bins", [10, 15, 20])
def test_bins_of_equal_mass_hold_equal_numbers_of_images_by_confidence(bins):
    confidence = np.random.default_rng(0).uniform(0.2, 1, 3000)
    index = equal_mass(confidence, bins)
    assert np.bincount(index).tolist() == [3000 // bins] * bins
    assert all(confidence[index == i].max() < confidence[index == i + 1].min() for i in (0, 5))


def test_the_ece_of_equal_mass_equals_a_calculation_by_hand():
    confidence = np.array([0.9, 0.5, 0.6, 1.0])
    right = np.array([True, False, True, False])
    # The lower half has mean confidence 0.55 and accuracy 0.5, the upper half 0.95 and 0.5.
    assert ece(confidence, right, equal_mass(confidence, 2)) == pytest.approx((0.05 + 0.45) / 2)


def test_kinds_of_bins_are_resampled_together_as_they_are_alone(monkeypatch):
    monkeypatch.setattr(resampling, "REPLICATES", 3)
    confidence = np.random.default_rng(0).uniform(0.3, 1, 500)
    right = np.random.default_rng(1).random(500) < confidence
    kinds = kinds_of_bins(confidence)
    assert list(kinds) == ["", "_mass10", "_mass15", "_mass20"]
    together = debiased_ece(confidence, right, indices=list(kinds.values()))
    assert together.shape == (4, 4)
    for row, index in zip(together, kinds.values(), strict=True):
        alone = debiased_ece(confidence, right, indices=[index])[0]
        np.testing.assert_allclose(row, alone, rtol=1e-9)
    np.testing.assert_allclose(together[0], debiased_ece(confidence, right), rtol=1e-9)
