"""What the gain of a midpoint goes with, see `soups.evaluation.midpoints`."""

import numpy as np
import pandas as pd
import pytest

from soups.evaluation import midpoints


def test_a_midpoint_has_its_gain_over_the_mean_of_its_ends():
    line = {0.0: 0.6, 0.5: 0.7, 1.0: 0.7}
    common = {"model_1": "a", "model_2": "b", "angle": 60.0, "distance_1": 1.0, "distance_2": 2.0}
    table = pd.DataFrame([common | {"alpha": at, "test": test} for at, test in line.items()])
    predictions = {"a": np.array([0, 1, 2, 3]), "b": np.array([0, 1, 2, 0])}
    found = midpoints.midpoints(table, predictions)
    assert found.to_dict("records") == [
        {"model_1": "a", "model_2": "b", "angle": 60, "norm": 1.5, "disagreement": 0.25, "gain": 5}
    ]


def test_a_measure_that_only_follows_another_has_no_partial_correlation():
    draw = np.random.default_rng(0)
    n = 4000
    disagreement, noise, angle = draw.normal(size=(3, n))
    table = pd.DataFrame({
        "disagreement": disagreement,
        "norm": disagreement + noise,  # a noisy copy
        "angle": angle,                # has an effect of its own
        "gain": disagreement + angle,
    })  # fmt: skip
    found = midpoints.correlations(table)
    assert found["norm"][0] == pytest.approx(0.5, abs=0.05)
    assert found["norm"][1] == pytest.approx(0, abs=0.1)
    assert found["disagreement"][1] > 0.85
    assert found["angle"][1] > 0.85
    assert found["angle"][0] == pytest.approx(table.corr("spearman").loc["angle", "gain"], abs=1e-9)
