import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soups.data.corruptions import CORRUPTIONS, corrupt

NAMES = sorted(CORRUPTIONS)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Smooth colour pictures, which a blur or a JPEG changes visibly, unlike pure noise."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (12, 4, 4, 3), np.uint8)
    pictures = coarse.repeat(8, 1).repeat(8, 2) + rng.integers(0, 20, (12, 32, 32, 3), np.uint8)
    pictures.flags.writeable = False  # like a memory map
    return pictures


def distance(pictures: np.ndarray, name: str, severity: int) -> float:
    corrupted = corrupt(pictures, name, severity, 0)
    return np.abs(corrupted.astype(float) - pictures).mean()


@pytest.mark.parametrize("name", NAMES)
def test_a_higher_severity_changes_more(pictures, name):
    distances = [distance(pictures, name, severity) for severity in (1, 3, 5)]
    assert distances[0] > 0
    assert distances == sorted(distances)
    assert distances[2] > 1.3 * distances[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_does_not_depend_on_the_other_images(pictures, name):
    corrupted = corrupt(pictures, name, 3, 5)
    assert corrupted.shape == pictures.shape
    assert corrupted.dtype == np.uint8
    np.testing.assert_array_equal(corrupt(pictures[:4], name, 3, 5), corrupted[:4])


@pytest.mark.parametrize("name", ["noise", "impulse_noise", "rotation", "occlusion"])
def test_randomness_depends_on_the_seed_and_the_position(pictures, name):
    same = np.stack([pictures[0]] * 2)
    first = corrupt(same, name, 4, 0)
    assert (first[0] != first[1]).any()
    assert (first != corrupt(same, name, 4, 1)).any()


@given(st.sampled_from(NAMES), st.integers(1, 5), st.integers(1, 40))
def test_every_image_size_is_possible(name, severity, side):
    images = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    assert corrupt(images, name, severity, 0).shape == images.shape


def test_the_strongest_grayscale_is_gray(pictures):
    gray = corrupt(pictures, "grayscale", 5, 0)
    assert (gray == gray[..., :1]).all()


def test_impulse_noise_is_black_or_white(pictures):
    noisy = corrupt(pictures, "impulse_noise", 5, 0)
    changed = (noisy != pictures).any(-1)
    assert set(np.unique(noisy[changed])) == {0, 255}
    assert changed.mean() == pytest.approx(0.12, abs=0.02)


def test_occlusion_is_one_square_patch(pictures):
    changed = (corrupt(pictures, "occlusion", 1, 0) != pictures).any(-1)
    for patch in changed:
        rows, columns = patch.any(1).nonzero()[0], patch.any(0).nonzero()[0]
        assert np.ptp(rows) == np.ptp(columns) == 7  # a quarter of 32 pixels
