"""Cached logits of several models, and the tables of calibration that they give."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from soups.data.prepared import identity, write_set
from soups.evaluation import calibration, resampling
from soups.evaluation.confusion import encode
from soups.evaluation.logits import CachedLogits, models_of
from soups.evaluation.metric import METRICS
from soups.roles import BEST, ORACLE

CLASSES = ["a", "b", "c"]
COUNTS = {"heldout": 60, "test": 90, "art": 40}
MODELS = ["m0", "m1", "random_0", "random_1"]
# A shift with two classes, one of which stands for two training classes.
MAPPINGS = {"test": identity(CLASSES), "art": [("ab", [0, 1]), ("c", [2])]}


def labels(name: str) -> np.ndarray:
    return np.arange(COUNTS[name]) % (2 if name == "art" else 3)


def logits(model: str, name: str) -> np.ndarray:
    rng = np.random.default_rng([MODELS.index(model), COUNTS[name]])
    noise = rng.normal(size=(COUNTS[name], 3))
    return (noise + 2 * np.eye(3)[labels(name)]).astype(np.float32)


@pytest.fixture
def cached(tmp_path) -> CachedLogits:
    sets = []
    for name, mapping in MAPPINGS.items():
        pixels = np.zeros((COUNTS[name], 2, 2, 3), np.uint8)
        write_set(tmp_path / f"{name}.npy", pixels, labels(name), mapping)
        sets.append(tmp_path / f"{name}.json")
    np.save(tmp_path / "labels.npy", labels("heldout"))
    for model in MODELS:
        for name in COUNTS:
            np.save(tmp_path / f"{model}.{name}.npy", logits(model, name))
    files = SimpleNamespace(
        heldout_labels=tmp_path / "labels.npy",
        sets=sets,
        heldout_logits=[tmp_path / f"{model}.heldout.npy" for model in MODELS],
        test_logits=[tmp_path / f"{model}.{name}.npy" for model in MODELS for name in MAPPINGS],
    )
    return CachedLogits(SimpleNamespace(input=files, params=SimpleNamespace(models=MODELS)))


def test_every_model_has_its_own_logits_in_the_order_of_the_inputs(cached):
    for model in MODELS:
        np.testing.assert_array_equal(cached.heldout(model), logits(model, "heldout"))
        found = {data.name: values for data, values in cached.tests(model)}
        assert list(found) == ["test", "art"]
        for name, values in found.items():
            np.testing.assert_array_equal(values, logits(model, name))


def test_an_image_is_right_if_its_label_has_the_largest_logit(cached):
    right = cached.outcomes("m1")
    for name in ("heldout", "test"):
        expected = logits("m1", name).argmax(1) == labels(name)
        np.testing.assert_array_equal(right[name], expected)
    guesses = logits("m1", "art").argmax(1) == 2  # True for class "c", False for "ab"
    np.testing.assert_array_equal(right["art"], guesses == (labels("art") == 1))


def test_the_outcomes_of_another_metric_are_codes_of_the_classes_of_each_set(cached):
    cached.metric = METRICS["matthews"]
    outcomes = cached.outcomes("m1")
    guesses = (logits("m1", "art").argmax(1) == 2).astype(int)
    np.testing.assert_array_equal(outcomes["art"], encode(guesses, labels("art")))
    heldout = logits("m1", "heldout").argmax(1)
    np.testing.assert_array_equal(outcomes["heldout"], encode(heldout, labels("heldout")))


METHODS = [
    {"method": BEST, "kind": "model", "members": "m1"},
    {"method": "m0", "kind": "soup", "members": "m0"},
    {"method": "random", "kind": "soup", "members": "m0 | m1"},
    {"method": ORACLE, "kind": ORACLE, "members": ""},
]
SOUPS = {"m0": {"row": "m0"}, "random_0": {"row": "random"}, "random_1": {"row": "random"}}


def test_every_row_of_methods_except_the_oracle_has_models():
    assert list(models_of(pd.DataFrame(METHODS), SOUPS)) == [
        (BEST, ["m1"]),
        ("m0", ["m0"]),
        ("random", ["random_0", "random_1"]),
    ]


@pytest.fixture
def tables(cached, monkeypatch) -> tuple[pd.DataFrame, pd.DataFrame]:
    monkeypatch.setattr(resampling, "REPLICATES", 50)
    return calibration.tables(cached, models_of(pd.DataFrame(METHODS), SOUPS))


def test_calibration_has_a_row_per_method_and_set(tables):
    scores = tables[0].set_index(["method", "set"])
    assert list(scores.index) == [
        (method, name) for method in (BEST, "m0", "random") for name in ("test", "art")
    ]
    assert scores["n"].tolist() == [90, 40] * 3
    divisor = calibration.temperature(logits("m1", "heldout"), labels("heldout"))
    row = scores.loc[BEST, "test"]
    assert row["temperature"] == divisor
    for name, value in calibration.scores(logits("m1", "test"), labels("test")).items():
        assert row[name] == value
    scaled = calibration.scores(logits("m1", "test") / divisor, labels("test"))
    assert {name: row[f"{name}_scaled"] for name in scaled} == scaled
    # The row of two orders has the mean of their scores.
    both = [
        calibration.scores(logits(f"random_{i}", "test"), labels("test"))["nll"] for i in (0, 1)
    ]
    assert scores.loc[("random", "test"), "nll"] == pytest.approx(np.mean(both))


def test_gains_are_relative_to_the_first_method_on_the_test_set(tables):
    scores = tables[0].set_index(["method", "set"])
    columns = ["ece_gain", "ece_gain_lo", "ece_gain_hi"]
    assert scores.loc[(BEST, "test"), columns].tolist() == [0, 0, 0]
    assert (scores["ece_gain"].notna() == (scores.index.get_level_values("set") == "test")).all()
    gain, low, high = scores.loc[("m0", "test"), columns]
    assert low < gain < high


def test_reliability_has_the_bins_of_rows_with_one_model(tables):
    bins = tables[1]
    assert set(bins["method"]) == {BEST, "m0"}  # "random" is a row of two soups.
    probabilities = softmax(logits("m1", "test").astype(float), axis=1)
    right = probabilities.argmax(1) == labels("test")
    expected = calibration.reliability(probabilities.max(1), right)
    mine = bins[bins["method"] == BEST][["confidence", "accuracy", "n"]]
    np.testing.assert_allclose(mine, np.transpose(expected))
