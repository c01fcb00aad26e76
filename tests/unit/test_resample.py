import numpy as np
import pytest
from scipy.stats import spearmanr

from soups.evaluation import resampling
from soups.evaluation.metrics import bootstrap_mean


def test_the_first_column_of_means_has_the_observed_values():
    right = np.random.default_rng(0).random((3, 200)) < 0.7
    means = resampling.means({"test": right, "r": ~right}, {})
    np.testing.assert_allclose(means["test"][:, 0], right.mean(1), rtol=1e-5)
    np.testing.assert_allclose(means["shifts_mean"][:, 0], 1 - right.mean(1), rtol=1e-5)


def test_the_interval_of_an_accuracy_equals_the_analytic_bootstrap():
    right = np.arange(1000) < 700
    value, low, high = resampling.interval(resampling.means({"test": right[None]}, {})["test"][0])
    assert value == pytest.approx(0.7)
    np.testing.assert_allclose((low, high), bootstrap_mean([right]), atol=0.003)


def test_points_on_the_same_images_are_paired():
    """A difference that is equal in every resample has an interval of width 0."""
    right = np.arange(50) < 25
    means = resampling.means({"test": np.stack([right, right])}, {})["test"]
    assert resampling.interval(means[0] - means[1]) == (0, 0, 0)


def test_versions_of_the_same_images_are_resampled_together():
    right = np.arange(100)[None] < 50
    apart = resampling.means({"a": right, "b": ~right}, {})["shifts_mean"][0]
    together = resampling.means({"a": right, "b": ~right}, {"a": "test", "b": "test"})
    assert np.ptp(apart) > 0.1
    assert np.ptp(together["shifts_mean"][0]) < 1e-6  # One is right where the other is wrong.


def test_the_weight_of_a_pair_is_the_product_of_the_counts_of_its_models():
    weights = resampling.pair_weights(["a", "a", "b"], ["b", "c", "c"])
    assert (weights[:, 0] == 1).all()
    # Three models are drawn with replacement, so their counts sum to 3.
    drawn = {tuple(column) for column in weights.T[1:].astype(int)}
    assert drawn == {(1, 1, 1), (2, 0, 0), (0, 2, 0), (0, 0, 2), (0, 0, 0)}


def test_the_rank_correlation_equals_that_of_scipy():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 20, 3))
    ours = resampling.rank_correlation(x, y)
    np.testing.assert_allclose(ours, [spearmanr(x[:, i], y[:, i])[0] for i in range(3)])


def test_a_weight_in_a_rank_correlation_acts_like_repetition():
    x = np.array([1.0, 2, 3, 4])[:, None]
    y = np.array([2.0, 1, 4, 3])[:, None]
    weighted = resampling.rank_correlation(x, y, np.array([2.0, 0, 1, 1])[:, None])
    ranks = np.array([[1, 2], [1, 2], [3, 4], [4, 3]], float)
    assert weighted[0] == pytest.approx(np.corrcoef(ranks.T)[0, 1])


def test_a_bias_is_subtracted_from_the_value_once_and_from_the_bounds_twice():
    columns = np.concatenate([[1.0], np.linspace(1.4, 1.6, resampling.REPLICATES)])
    assert resampling.interval(columns)[0] == 1
    value, low, high = resampling.interval(columns, biased=True)
    assert value == pytest.approx(0.5)
    assert (low, high) == (pytest.approx(0.405), pytest.approx(0.595))


def test_the_chunk_size_does_not_change_totals(monkeypatch):
    right = np.random.default_rng(0).random((2, 30)) < 0.5
    whole = resampling.totals(right, [1])
    monkeypatch.setattr(resampling, "CHUNK", 30 * 7)
    resampling._kept.cache_clear()
    np.testing.assert_array_equal(resampling.totals(right, [1]), whole)


def test_an_interval_needs_values_in_most_replicates():
    columns = np.full(1 + resampling.REPLICATES, np.nan)
    columns[0] = 0.5
    value, low, high = resampling.interval(columns)
    assert value == 0.5
    assert np.isnan([low, high]).all()


def test_values_in_groups_have_the_interval_of_the_values_themselves():
    values = np.random.default_rng(0).normal(size=9)
    groups = [values[:4], values[4:5], values[5:8], values[8:]]
    means, sizes = (np.array([f(group) for group in groups]) for f in (np.mean, len))
    spreads = np.array([group.std(ddof=1) if len(group) > 1 else 0.0 for group in groups])
    found = resampling.pooled(means, sizes, spreads)
    np.testing.assert_allclose(found, resampling.student(values), rtol=1e-12)
    one = resampling.pooled(means[:1], np.array([1]), spreads[1:2])
    assert one[0] == means[0]
    assert np.isnan(one[1:]).all()
    assert np.isnan(resampling.pooled(*np.zeros((3, 0)))).all()
