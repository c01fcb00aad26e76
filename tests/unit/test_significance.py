import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from soups.evaluation.metrics import by_images
from soups.evaluation.significance import compare, holm, mcnemar, permutation


def pair(better: int, worse: int, both: int) -> tuple[np.ndarray, np.ndarray]:
    """Whether two methods are right on each image, from counts of images."""
    ours = np.array([1] * better + [0] * worse + [1] * both, bool)
    theirs = np.array([0] * better + [1] * worse + [1] * both, bool)
    return ours, theirs


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 / 2**10), (1, 0, 1.0), (8, 2, 112 / 1024)],
)
def test_mcnemar_equals_the_binomial_test_by_hand(better, worse, p):
    # p is twice the binomial tail over the images on which exactly one method is right.
    assert mcnemar(*pair(better, worse, 90)) == pytest.approx(p)


def test_the_permutation_test_of_one_set_is_mcnemar():
    """With differences of -1, 0 and 1 on one set, both tests have the same p-value."""
    ours, theirs = pair(60, 35, 900)
    p = permutation([ours.astype(float) - theirs])
    assert p == pytest.approx(binomtest(60, 95).pvalue, abs=0.003)


def test_sets_have_equal_weight_whatever_their_size():
    rng = np.random.default_rng(0)
    small, large = rng.choice([-1, 0, 1], 50, p=[0.1, 0.5, 0.4]), rng.choice([-1, 0, 1], 5000)
    by_hand = [
        (rng.choice([-1, 1], 50) * small).mean() / 2
        + (rng.choice([-1, 1], 5000) * large).mean() / 2
        for _ in range(4000)
    ]
    observed = small.mean() / 2 + large.mean() / 2
    expected = (np.abs(by_hand) >= abs(observed)).mean()
    assert permutation([small, large]) == pytest.approx(expected, abs=0.02)


def test_versions_of_an_image_change_sign_together():
    one = np.random.default_rng(0).choice([-1.0, 0, 1], 400, p=[0.18, 0.6, 0.22])
    groups, weights = by_images({"noise": one, "blur": one}, {"noise": "test", "blur": "test"})
    assert permutation(groups, weights) == pytest.approx(permutation([one]), abs=0.005)
    assert permutation([one, one]) < permutation(
        [one]
    )  # Ungrouped, the images count as independent.


def test_the_permutation_test_of_fractions_equals_the_exact_one():
    """The exact test enumerates all 2^12 combinations of signs."""
    values = np.random.default_rng(1).choice([-2 / 3, -1 / 3, 1 / 3, 2 / 3, 1], 12)
    signs = np.array(list(itertools.product([-1, 1], repeat=12)))
    expected = (np.abs(signs @ values) >= abs(values.sum()) - 1e-9).mean()
    assert permutation([values]) == pytest.approx(expected, abs=0.005)


def test_methods_without_any_difference_have_a_p_value_of_1():
    assert permutation([np.zeros(10), np.zeros(5)]) == 1


def test_the_rate_of_false_positives_is_near_the_level():
    rng = np.random.default_rng(0)
    p = [permutation([rng.choice([-1, 0, 1], 300) for _ in range(3)], seed=i) for i in range(200)]
    assert 0.01 <= (np.array(p) < 0.05).mean() <= 0.1


def test_two_methods_are_compared_on_test_set_and_shifts():
    ours, theirs = pair(60, 35, 905)
    row, shifted = compare(
        {"test": ours, "a": ours, "b": theirs}, {"test": theirs, "a": theirs, "b": theirs},
        ["a", "b"], {},
    )  # fmt: skip
    assert row["difference"] == pytest.approx(0.025)
    assert (row["better"], row["worse"], row["n"]) == (60, 35, 1000)
    assert row["p"] == pytest.approx(binomtest(60, 95).pvalue)
    assert row["lo"] < 0.025 < row["hi"]
    assert shifted["difference"] == pytest.approx(0.0125)
    assert shifted["n"] == 2000
    assert (row["test"], shifted["test"]) == ("McNemar, exact", "paired permutation")


def test_means_over_orders_are_compared_by_permutation():
    mean = {"test": np.array([1, 0.5, 0]), "a": np.ones(3)}
    rows = compare(mean, {"test": np.ones(3, bool), "a": np.ones(3, bool)}, ["a"], {})
    assert rows[0]["test"] == "paired permutation"


def test_p_values_are_corrected_by_holm():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
