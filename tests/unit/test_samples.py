import numpy as np
import pytest

from soups.data.prepared import identity, write_set
from soups.evaluation.metrics import correct
from soups.evaluation.samples import Samples, load_points, save_points, stacked

CLASSES = ["a", "b", "c", "d"]


@pytest.fixture
def paths(tmp_path):
    """A test set of 40 images, and a shift derived from the first 30."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (40, 2, 2, 3), np.uint8)
    labels = np.arange(40) % 4
    write_set(tmp_path / "test.npy", pixels, labels, identity(CLASSES))
    # The shift has three classes, one of which stands for two training classes.
    mapping = [("ab", [0, 1]), ("c", [2]), ("d", [3])]
    write_set(tmp_path / "art.npy", pixels[:30], np.arange(30) % 3, mapping, derived="test")
    return [tmp_path / "test.npy", tmp_path / "art.npy"]


def logits(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32)


def cached(tmp_path) -> dict:
    """Write logits of both sets, and return their files by set."""
    for name, n in (("test", 40), ("art", 30)):
        np.save(tmp_path / f"{name}.logits.npy", logits(n))
    return {name: tmp_path / f"{name}.logits.npy" for name in ("test", "art")}


def test_all_images_give_the_accuracies_of_the_sets(paths, tmp_path):
    samples = Samples(paths, {"test": None, "shift": None})
    right = samples.outcomes(samples.cached(cached(tmp_path)))
    for name, n in (("test", 40), ("art", 30)):
        data = samples.sets[name]
        assert right[name].mean() == correct(logits(n), data.labels, data.members).mean()
    row = samples.row(right)
    assert row["shifts_mean"] == pytest.approx(right["art"].mean(), abs=1e-6)
    assert (row["n_test"], row["n_shifts"]) == (40, 30)


def test_every_instance_samples_the_same_images(paths):
    one, two = (Samples(paths, {"test": 10, "shift": 7}) for _ in range(2))
    assert one.counts == {"n_test": 10, "n_shifts": 7}
    for name in one.names:
        np.testing.assert_array_equal(one.rows[name], two.rows[name])


def test_with_a_choice_of_classes_only_their_images_and_logits_count(paths, tmp_path):
    samples = Samples(paths, {"test": None, "shift": None}, classes=[2, 3])
    outputs = samples.cached(cached(tmp_path))
    right = samples.outcomes(outputs)
    rows = np.flatnonzero(np.arange(40) % 4 >= 2)
    np.testing.assert_array_equal(samples.rows["test"], rows)
    guess = logits(40)[rows][:, 2:].argmax(1) + 2
    np.testing.assert_array_equal(right["test"], guess == rows % 4)
    # The shift's class "ab" stands for neither of the two classes.
    assert set(np.arange(30)[samples.rows["art"]] % 3) == {1, 2}


def test_a_shift_without_any_of_the_classes_is_left_out(paths):
    samples = Samples(paths, {"test": None, "shift": None}, classes=[0])
    assert samples.names == ["test"]  # Its class "ab" stands for two classes.
    right = {"test": np.ones(10, bool)}
    assert samples.row(right)["test"] == 1
    assert "shifts_mean" not in samples.row(right)


def test_points_are_read_as_they_were_written(tmp_path):
    points = [{"test": np.arange(4) < n, "art": np.arange(3) < n} for n in range(2)]
    save_points(tmp_path / "x.safetensors", stacked(points), {"art": "test"})
    arrays, derived = load_points(tmp_path / "x.safetensors")
    assert derived == {"art": "test"}
    np.testing.assert_array_equal(arrays["test"], [[0, 0, 0, 0], [1, 0, 0, 0]])
