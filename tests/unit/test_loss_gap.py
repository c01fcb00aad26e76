"""The paper's approximation on functions whose loss gap is known."""

import numpy as np
import pytest
from scipy.special import softmax

from soups.evaluation import loss_gap

LABELS = np.random.default_rng(1).integers(0, 4, 50)


def logits(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(50, 4))


def test_the_loss_is_cross_entropy():
    ours = loss_gap.loss(logits(0), LABELS, beta=2.0)
    wanted = -np.log(softmax(2 * logits(0), axis=1)[np.arange(50), LABELS])
    np.testing.assert_allclose(ours, wanted)


def test_the_variance_equals_that_of_drawn_labels():
    rng = np.random.default_rng(0)
    one, difference = logits(0)[:1], logits(1)[:1]
    drawn = rng.choice(4, 200_000, p=softmax(1.5 * one[0]))
    ours = loss_gap.variance(one, difference, beta=1.5)[0]
    assert ours == pytest.approx(difference[0, drawn].var(), rel=0.02)


def test_a_constant_added_to_the_difference_does_not_change_the_variance():
    ours = loss_gap.variance(logits(0), logits(1), 1.0)
    np.testing.assert_allclose(ours, loss_gap.variance(logits(0), logits(1) + 3, 1.0))


def test_the_second_difference_of_a_parabola_is_exact():
    def value(x):
        return np.array([3 * x**2 + x])

    for step in (0.1, 0.5):
        ours = loss_gap.second_difference(*(value(x) for x in (1 - step, 1, 1 + step)), step)
        np.testing.assert_allclose(ours, 6)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 0.75])
@pytest.mark.parametrize("beta", [0.7, 1.0])
def test_a_linear_network_has_no_gap(alpha, beta):
    """With logits linear in α, soup and ensemble are equal, and the two terms cancel."""
    one, two = logits(0), logits(0) + 0.1 * logits(2)
    step = 0.01

    def loss(at):
        return loss_gap.loss((1 - at) * one + at * two, LABELS, beta).mean()

    curvature = loss_gap.second_difference(*(loss(alpha + d) for d in (-step, 0, step)), step)
    spread = loss_gap.variance((1 - alpha) * one + alpha * two, two - one, beta).mean()
    terms = loss_gap.approximation(alpha, curvature, beta, 0.0)
    assert abs(terms) > 1e-5  # The terms alone are not 0.
    assert abs(loss_gap.approximation(alpha, curvature, beta, spread)) < 1e-3 * abs(terms)


def test_the_approximation_is_nearly_the_gap_of_a_slightly_quadratic_network():
    """With a small quadratic part of the logits in α, the approximation is right to first order."""
    one, change, bend = logits(0), 0.02 * logits(2), 0.02 * logits(3)

    def at(alpha):
        return one + alpha * change + alpha**2 * bend

    alpha, step = 0.5, 0.01
    curvature = loss_gap.second_difference(
        *(loss_gap.loss(at(alpha + d), LABELS, 1.0).mean() for d in (-step, 0, step)), step
    )
    spread = loss_gap.variance(at(alpha), at(1) - at(0), 1.0).mean()
    ensemble = (1 - alpha) * at(0) + alpha * at(1)
    true = (loss_gap.loss(at(alpha), LABELS, 1) - loss_gap.loss(ensemble, LABELS, 1)).mean()
    ours = loss_gap.approximation(alpha, curvature, 1.0, spread)
    assert ours == pytest.approx(true, rel=0.1)


def test_a_path_has_gaps_at_its_inner_points():
    alphas = [0, 0.25, 0.5, 0.75, 1]
    path = [logits(0) + a * 0.1 * logits(2) + a**2 * 0.1 * logits(3) for a in alphas]
    for i, alpha in enumerate(alphas):
        ensemble = (1 - alpha) * path[0] + alpha * path[-1]
        true, guess, columns = loss_gap.at(i, alphas, path, ensemble, LABELS, beta=0.8)
        if alpha in (0, 1):
            assert np.isnan(true).all()
            assert np.isnan(columns["gap_approximation"])
            continue
        wanted = loss_gap.loss(path[i], LABELS, 0.8) - loss_gap.loss(ensemble, LABELS, 0.8)
        np.testing.assert_allclose(true, wanted, atol=1e-6)
        assert columns["gap"] == pytest.approx(wanted.mean(), abs=1e-6)
        assert columns["gap_approximation"] == pytest.approx(guess.mean(), abs=1e-6)
        # Only the middle point has neighbours two steps away on both sides.
        assert np.isfinite(columns["curvature_wide"]) == (alpha == 0.5)
