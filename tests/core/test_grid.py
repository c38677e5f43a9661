import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lepton_monai.core.errors import GeometryError
from lepton_monai.core.grid import SAME_GRID_MM, Grid
from tests.phantoms import SHAPE, oblique_affine, orientations

GRID = Grid(SHAPE, oblique_affine())


def turned(directions: np.ndarray) -> Grid:
    affine = oblique_affine()
    affine[:3, :3] = directions * [0.9, 1.3, 2.7]
    return Grid(SHAPE, affine)


def test_a_voxel_index_becomes_the_point_that_the_affine_says() -> None:
    index = np.array([[0, 0, 0], [6, 5, 4], [1.5, -2.25, 3]])
    expected = [GRID.affine @ [*one, 1] for one in index]
    np.testing.assert_allclose(GRID.to_world(index), np.array(expected)[:, :3], atol=1e-12)


def test_points_become_indices_and_back() -> None:
    index = np.random.default_rng(3).uniform(-20, 20, (4, 5, 3))
    np.testing.assert_allclose(GRID.to_index(GRID.to_world(index)), index, atol=1e-10)


def test_ras_is_what_nibabel_calls_ras() -> None:
    image = nibabel.Nifti1Image(np.zeros(SHAPE, dtype=np.int16), GRID.ras())
    right, anterior, superior = nibabel.affines.apply_affine(image.affine, [2, 3, 4])
    left, posterior, up = GRID.to_world([2, 3, 4])
    np.testing.assert_allclose([right, anterior, superior], [-left, -posterior, up], atol=1e-12)
    np.testing.assert_array_equal(Grid.from_ras(SHAPE, GRID.ras()).affine, GRID.affine)


@pytest.mark.parametrize("at", range(48))
def test_the_nearest_axes_are_those_of_nibabel(at: int) -> None:
    tilt = np.linalg.qr(np.eye(3) + 0.2 * np.random.default_rng(at).normal(size=(3, 3)))
    for directions in (orientations()[at], (tilt[0] * np.sign(np.diag(tilt[1]))) @ orientations()[at]):
        grid = turned(directions)
        expected = nibabel.io_orientation(grid.ras())
        axes, signs = grid.nearest_ras()
        for world in range(3):
            assert expected[axes[world], 0] == world
            assert expected[axes[world], 1] == signs[world]


def test_spacing_and_volume_follow_from_the_columns() -> None:
    assert GRID.spacing_mm == pytest.approx((0.9, 1.3, 2.7))
    assert GRID.voxel_volume_ml == pytest.approx(0.9 * 1.3 * 2.7 / 1000)


def test_half_a_voxel_is_found_between_two_grids() -> None:
    for axis in range(3):
        affine = GRID.affine.copy()
        affine[:3, 3] += affine[:3, axis] / 2
        assert GRID.corner_distance_mm(Grid(SHAPE, affine)) == pytest.approx(GRID.spacing_mm[axis] / 2)


@given(st.floats(0, 3e-3))
def test_two_grids_are_the_same_below_the_bound_alone(distance: float) -> None:
    affine = GRID.affine.copy()
    affine[2, 3] += distance
    other = Grid(SHAPE, affine)
    if distance < SAME_GRID_MM - 1e-9:
        GRID.require_same(other, "Mask and image")
    elif distance > SAME_GRID_MM + 1e-9:
        with pytest.raises(
            GeometryError, match=r"Mask and image lie on different grids: corners up to 0\.00"
        ):
            GRID.require_same(other, "Mask and image")


def test_grids_of_other_shapes_are_infinitely_far_apart() -> None:
    other = Grid((7, 6, 4), GRID.affine)
    assert GRID.corner_distance_mm(other) == float("inf")
    with pytest.raises(GeometryError, match="shapes"):
        GRID.require_same(other, "Mask and image")


def test_the_same_corners_in_another_order_are_another_grid() -> None:
    """A mask that is stored with its axis the other way round covers the same space."""
    affine = GRID.affine.copy()
    affine[:3, 3] += affine[:3, 0] * (SHAPE[0] - 1)
    affine[:3, 0] *= -1
    flipped = Grid(SHAPE, affine)
    assert {tuple(one) for one in flipped.corners().round(6)} == {
        tuple(one) for one in GRID.corners().round(6)
    }
    assert GRID.corner_distance_mm(flipped) == pytest.approx(0.9 * (SHAPE[0] - 1))


@pytest.mark.parametrize(
    ("shape", "affine"),
    [
        (SHAPE, np.diag([1.0, 1.0, 0.0, 1.0])),
        (SHAPE, np.diag([1.0, np.nan, 1.0, 1.0])),
        (SHAPE, np.diag([1.0, np.inf, 1.0, 1.0])),
        (SHAPE, np.eye(3)),
        ((7, 0, 5), np.eye(4)),
    ],
)
def test_a_grid_without_a_volume_is_refused(shape: tuple[int, int, int], affine: np.ndarray) -> None:
    with pytest.raises(GeometryError):
        Grid(shape, affine)


def test_an_affine_is_float64_and_nobody_can_change_it() -> None:
    given_affine = np.eye(4, dtype=np.float32)
    grid = Grid(SHAPE, given_affine)  # type: ignore[arg-type] # what a careless caller gives
    given_affine[0, 3] = 9.0
    assert grid.affine.dtype == np.float64
    assert grid.affine[0, 3] == 0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 1.0
