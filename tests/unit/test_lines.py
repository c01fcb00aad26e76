"""The comparison of soups and ensembles along a line, on random logits."""

import numpy as np
import pytest

from soups.data.prepared import identity, write_set
from soups.evaluation import lines, loss_gap
from soups.evaluation.samples import Samples

ALPHAS = [0, 0.25, 0.5, 0.75, 1]


@pytest.fixture
def samples(tmp_path) -> Samples:
    for name, n in (("test", 80), ("art", 40)):
        pixels = np.zeros((n, 2, 2, 3), np.uint8)
        write_set(tmp_path / f"{name}.npy", pixels, np.arange(n) % 4, identity(list("abcd")))
    paths = [tmp_path / "test.npy", tmp_path / "art.npy"]
    return Samples(paths, {"test": 60, "shift": 30})


@pytest.fixture
def soups(samples) -> list:
    """Logits of the soup at each α, by set."""
    rng = np.random.default_rng(0)
    return [
        {name: rng.normal(size=(len(samples.rows[name]), 4)) for name in samples.names}
        for _ in ALPHAS
    ]


def test_an_ensemble_interpolates_the_logits_of_both_models(soups):
    made = lines.ensembles((soups[0], soups[-1]), ALPHAS)
    for alpha, ensemble in zip(ALPHAS, made, strict=True):
        for name, logits in ensemble.items():
            expected = soups[0][name] + alpha * (soups[-1][name] - soups[0][name])
            np.testing.assert_allclose(logits, expected, atol=1e-12)


def test_a_line_has_accuracies_of_soups_and_ensembles(samples, soups):
    rows, points = lines.compare(samples, ALPHAS, soups)
    for i, (alpha, row, point) in enumerate(zip(ALPHAS, rows, points, strict=True)):
        ensemble = {
            name: (1 - alpha) * soups[0][name] + alpha * soups[-1][name] for name in samples.names
        }
        ours, theirs = samples.outcomes(soups[i]), samples.outcomes(ensemble)
        assert row == {"alpha": alpha, **samples.row(ours)} | {
            f"ensemble_{name}": value
            for name, value in samples.row(theirs).items()
            if name not in ("n_test", "n_shifts")
        }
        assert point.keys() == {"soup/test", "soup/art", "ensemble/test", "ensemble/art"}
        for name in samples.names:
            np.testing.assert_array_equal(point[f"soup/{name}"], ours[name])
            np.testing.assert_array_equal(point[f"ensemble/{name}"], theirs[name])


def test_a_line_with_temperatures_has_the_loss_gap_at_its_inner_points(samples, soups):
    betas = [np.nan, 0.5, 0.8, 1.2, np.nan]
    rows, points = lines.compare(samples, ALPHAS, soups, betas)
    for i, (row, point) in enumerate(zip(rows, points, strict=True)):
        assert np.isnan(row["gap"]) == (i in (0, 4))
        assert point["gap/test"].shape == point["approximation/test"].shape == (60,)
        if i in (0, 4):
            continue
        ensemble = (1 - ALPHAS[i]) * soups[0]["test"] + ALPHAS[i] * soups[-1]["test"]
        wanted = loss_gap.loss(soups[i]["test"], samples.labels["test"], betas[i])
        wanted -= loss_gap.loss(ensemble, samples.labels["test"], betas[i])
        np.testing.assert_allclose(point["gap/test"], wanted, atol=1e-5)
        assert row["gap"] == pytest.approx(wanted.mean(), abs=1e-5)
        assert row["gap_approximation"] == pytest.approx(
            point["approximation/test"].mean(), abs=1e-5
        )
