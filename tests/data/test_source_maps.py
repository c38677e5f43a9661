"""Maps come back to where they were: in every orientation, at any spacing, not half a voxel away."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.inputs import fit, source_of
from lepton_monai.data.source_maps import as_acquired, on_source, outside_share
from lepton_monai.plans.classification import InputPlan, ScalePlan
from tests.phantoms import oblique_affine, orientations

SCALE = ScalePlan("none", 0.0, 1.0, (0.0,), (1.0,))
SHAPE = (41, 36, 22)
SPACING_MM = (1.0, 1.3, 2.1)
POINT = (17.0, 21.0, 9.0)
STAYS = (0.0, 0.0, 0.0)


def _blob(
    shape: tuple[int, ...], point: tuple[float, ...], sigmas: tuple[float, ...]
) -> NDArray[np.float32]:
    index = np.indices(shape).astype(np.float64)
    away = sum(((index[axis] - point[axis]) / sigmas[axis]) ** 2 for axis in range(len(shape)))
    return np.exp(-0.5 * np.asarray(away)).astype(np.float32)


@pytest.mark.parametrize("number", [0, 7, 18, 29, 40, 47])
@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5)])
@pytest.mark.parametrize("pooled", [1, 4])
def test_a_point_of_the_source_comes_back_to_itself(
    number: int, spacing: tuple[float, float, float] | None, pooled: int
) -> None:
    affine = oblique_affine((1.0, 1.0, 1.0), (6.0, -8.0, 5.0))
    affine[:3, :3] = affine[:3, :3] @ orientations()[number] * SPACING_MM
    array = np.asfortranarray(_blob(SHAPE, POINT, (5.0, 4.0, 2.5)))
    volume = Volume(array, Grid(SHAPE, affine), "HU")
    plan = InputPlan((32, 36, 40), spacing, 1, SCALE)
    source = source_of(volume, "series", np.empty(0, dtype=np.bool_))
    cells = fit(source.array, source.spacing_mm, plan)
    # Means of blocks are what a layer of that stride, laid evenly over its input, would hold.
    x, y, z = (side // pooled for side in plan.size)
    cells = cells.reshape(x, pooled, y, pooled, z, pooled).mean(axis=(1, 3, 5))
    found = as_acquired(on_source(cells, STAYS, source.array.shape, source.spacing_mm, plan), volume.grid)
    assert found.shape == SHAPE
    np.testing.assert_allclose(ndimage.center_of_mass(found**2), POINT, atol=0.15)


def test_the_cells_of_a_flat_input_lie_over_each_slice() -> None:
    picture = _blob((50, 40, 1), (13.0, 26.0, 0.0), (4.0, 3.0, 1.0))
    plan = InputPlan((24, 32, 1), None, 1, SCALE)
    cells = fit(picture, (1.0, 1.0, 1.0), plan)[:, :, 0]
    found = on_source(cells, (0.0, 0.0), picture.shape, (1.0, 1.0, 1.0), plan)
    np.testing.assert_allclose(ndimage.center_of_mass(found**2), (13.0, 26.0), atol=0.15)


def test_a_layer_that_looks_elsewhere_is_moved_there() -> None:
    plan = InputPlan((40, 40, 40), (2.0, 2.0, 2.0), 1, SCALE)
    cells = np.zeros((10, 10, 10), dtype=np.float32)
    cells[3, 5, 6] = 1.0
    shape, spacing = (80, 80, 40), (1.0, 1.0, 2.0)
    found = on_source(cells, (-1.5, 0.5, 2.0), shape, spacing, plan)
    # The cell is centred at 4 n + 1.5 of the input, two source voxels along x and y each; then the shift.
    wanted = ((13.5 - 1.5) * 2 + 0.5, (21.5 + 0.5) * 2 + 0.5, 25.5 + 2.0)
    np.testing.assert_allclose(ndimage.center_of_mass(found), wanted, atol=1e-3)


def test_what_the_network_never_saw_is_no_evidence() -> None:
    plan = InputPlan((10, 10, 10), (1.0, 1.0, 1.0), 1, SCALE)
    found = on_source(np.ones((5, 5, 5), dtype=np.float32), STAYS, (20, 10, 6), (1.0, 1.0, 1.0), plan)
    np.testing.assert_array_equal(found[:5], 0.0)
    np.testing.assert_array_equal(found[15:], 0.0)
    np.testing.assert_array_equal(found[5:15], 1.0)


def test_the_share_outside_is_that_of_the_volume() -> None:
    plan = InputPlan((20, 20, 20), (1.0, 1.0, 1.0), 1, SCALE)
    ones = np.ones((5, 5, 5), dtype=np.float32)
    inside = outside_share(ones, STAYS, (10, 20, 30), (1.0, 1.0, 1.0), plan)
    assert inside == pytest.approx(0.5)
    assert outside_share(ones, STAYS, (10, 20, 30), (1.0, 1.0, 1.0), replace(plan, spacing_mm=None)) == 0.0
    assert np.isnan(outside_share(0 * ones, STAYS, (10, 20, 30), (1.0, 1.0, 1.0), plan))
