import numpy as np
import pytest
import torch

from soups.errors import UserError
from soups.mixing.geometry import Plane, angles, distance, gram, lengths
from soups.models import checkpoints
from soups.models.checkpoints import Checkpoint

CHANGES = torch.tensor([[3.0, 0, 0, 0], [3.0, 3, 0, 0], [0.0, 0, 2, 0], [-1.0, 0, 0, 0]])


@pytest.fixture
def products(tmp_path):
    """Inner products of the four changes, from files of the models."""
    start = torch.randn(4, generator=torch.Generator().manual_seed(0))
    states = {"start": start} | {f"m{i}": start + change for i, change in enumerate(CHANGES)}
    for name, values in states.items():
        state = {"a": values[:2].clone(), "b": values[2:].clone(), "n": torch.tensor(1)}
        checkpoints.save(tmp_path / name, state, {})
    models = [Checkpoint(tmp_path / f"m{i}") for i in range(len(CHANGES))]
    return sum(gram(Checkpoint(tmp_path / "start"), models).values())


def test_lengths_and_angles_are_those_of_the_changes(products):
    np.testing.assert_allclose(lengths(products), [3, 18**0.5, 2, 1], rtol=1e-6)
    degrees = angles(products)
    wanted = [[0, 45, 90, 180], [45, 0, 90, 135], [90, 90, 0, 90], [180, 135, 90, 0]]
    np.testing.assert_allclose(degrees, wanted, atol=0.02)


def test_the_distance_of_an_ingredient_from_its_start_is_the_length_of_its_change(
    products, tmp_path
):
    start = Checkpoint(tmp_path / "start")
    found = [distance(start, Checkpoint(tmp_path / f"m{i}")) for i in range(len(CHANGES))]
    np.testing.assert_allclose(found, lengths(products))


def test_a_plane_goes_through_its_corners(products):
    plane = Plane(products[:2, :2])
    for corner, amounts in zip(plane.corners, np.eye(3), strict=True):
        np.testing.assert_allclose(plane.coefficients(*corner), amounts, atol=1e-6)
    distances = [np.hypot(*np.subtract(plane.corners[i], plane.corners[0])) for i in (1, 2)]
    np.testing.assert_allclose(distances, [3, 18**0.5], rtol=1e-6)


def test_distances_in_the_plane_are_distances_of_weights(products):
    plane = Plane(products[:2, :2])
    (x1, y1), (x2, y2) = plane.grid(5)[3], plane.grid(5)[17]

    def change(x, y):
        _, one, two = plane.coefficients(x, y)
        return one * CHANGES[0] + two * CHANGES[1]

    apart = (change(x1, y1) - change(x2, y2)).norm().item()
    assert apart == pytest.approx(np.hypot(x1 - x2, y1 - y2), rel=1e-5)


def test_a_grid_surrounds_the_corners(products):
    plane = Plane(products[:2, :2])
    grid, corners = np.array(plane.grid(4)), np.array(plane.corners)
    assert len(grid) == 16
    assert (grid.min(0) < corners.min(0)).all()
    assert (grid.max(0) > corners.max(0)).all()


def test_models_on_one_line_with_their_start_have_no_plane(products):
    with pytest.raises(UserError, match="on one line"):
        Plane(products[[0, 3]][:, [0, 3]])
