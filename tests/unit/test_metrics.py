import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soups.evaluation.metrics import bootstrap_mean, by_images, correct, restrict

LOGITS = np.array([[1.0, 5.0, 2.0], [4.0, 0.0, 3.0]])


def test_the_logit_of_a_class_is_the_largest_of_its_members():
    np.testing.assert_array_equal(restrict(LOGITS, [[2], [0, 1]]), [[2, 5], [3, 4]])


def test_a_class_that_the_set_does_not_have_is_no_possible_answer():
    # Class 1 has the largest logit of the first image, but the set has only 0 and 2.
    assert correct(LOGITS, np.array([1, 1]), [[0], [2]]).tolist() == [True, False]


def test_all_members_of_a_class_count_as_that_class():
    assert correct(LOGITS, np.array([1, 1]), [[2], [0, 1]]).tolist() == [True, True]


@given(st.integers(0, 1000))
def test_with_all_classes_an_image_is_right_if_its_label_has_the_largest_logit(seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(20, 4)), rng.integers(0, 4, 20)
    members = [[c] for c in range(4)]
    np.testing.assert_array_equal(correct(logits, labels, members), logits.argmax(1) == labels)


def hits(accuracies, counts) -> list[np.ndarray]:
    """Return whether each image is right, for sets with the given accuracies."""
    return [np.arange(n) < round(a * n) for a, n in zip(accuracies, counts, strict=True)]


def resampled(accuracies, counts, replicates: int = 3000) -> np.ndarray:
    """Bootstrap interval of the mean over sets, by drawing the images of each set."""
    rng = np.random.default_rng(1)
    means = []
    for accuracy, count in zip(accuracies, counts, strict=True):
        right = np.arange(count) < round(accuracy * count)
        means.append(right[rng.integers(0, count, (replicates, count))].mean(1))
    return np.quantile(np.mean(means, axis=0), [0.025, 0.975])


@pytest.mark.parametrize(
    ("accuracies", "counts"),
    [
        ([0.5], [200]),
        ([0.97], [300]),
        ([0.9, 0.4], [100, 400]),  # Sets have equal weight, images do not.
        ([0.2, 0.6, 0.8], [150, 300, 500]),
    ],
)
def test_the_interval_equals_that_of_resampled_images(accuracies, counts):
    low, high = bootstrap_mean(hits(accuracies, counts))
    # The tolerance covers chance and the granularity of counts. The intervals are much wider.
    np.testing.assert_allclose([low, high], resampled(accuracies, counts), atol=0.005)
    assert high - low > 0.035


def test_constant_scores_have_an_interval_of_width_0():
    assert bootstrap_mean(hits([1.0, 0.0], [50, 10])) == (0.5, 0.5)


def test_the_width_falls_with_the_root_of_the_number_of_images():
    widths = [np.ptp(bootstrap_mean(hits([0.5], [count]))) for count in (400, 40_000)]
    assert widths[0] / widths[1] == pytest.approx(10, rel=0.05)


def test_an_interval_depends_on_the_seed_alone():
    assert bootstrap_mean(hits([0.3, 0.7], [90, 80])) == bootstrap_mean(hits([0.3, 0.7], [90, 80]))
    # On a small set, two seeds may give the same bounds.
    fine = hits([0.3, 0.7], [900, 801])
    assert bootstrap_mean(fine) != bootstrap_mean(fine, seed=1)


def test_versions_of_the_same_images_are_resampled_together():
    """Corruptions of one test set must not count as further images."""
    right = np.random.default_rng(0).random(400) < 0.6
    sets = dict.fromkeys(("a", "b", "c"), right)
    scores, weights = by_images(sets, dict.fromkeys(sets, "test"))
    assert (len(scores), weights) == (1, [1.0])
    assert bootstrap_mean(scores, weights) == bootstrap_mean([right])
    apart = bootstrap_mean(*by_images(sets, {}))
    assert np.ptp(bootstrap_mean(scores, weights)) > 1.5 * np.ptp(apart)


def test_weights_of_images_give_the_plain_mean_over_sets():
    sets = {"a": np.ones(10, bool), "b": np.zeros(10, bool), "own": np.ones(4, bool)}
    scores, weights = by_images(sets, {"a": "test", "b": "test"})
    assert weights == [2 / 3, 1 / 3]
    mean = sum(w * s.mean() for w, s in zip(weights, scores, strict=True))
    assert mean == pytest.approx(2 / 3)
