from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lepton_monai.core.errors import GeometryError
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.data.transforms import prepare
from lepton_monai.labels.labelset import Mask
from lepton_monai.plans.plan import IntensityPlan
from tests.plans.examples import example_plan


def _axes(order: tuple[int, ...], signs: tuple[int, ...]) -> NDArray[np.float64]:
    axes = np.zeros((3, 3))
    for column, (row, sign) in enumerate(zip(order, signs, strict=True)):
        axes[row, column] = sign
    return axes


def _linear_volume(grid: Grid) -> Volume:
    """Return a volume whose values are a linear function of the place in LPS."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    values = grid.to_world(index) @ np.array([1.0, 10.0, 100.0]) + 5.0
    return Volume(np.asfortranarray(values.astype(np.float32)), grid, "HU")


@settings(max_examples=25, deadline=None)
@given(
    order=st.permutations([0, 1, 2]),
    signs=st.tuples(*[st.sampled_from([-1, 1])] * 3),
    spacing=st.tuples(*[st.floats(0.8, 3.0)] * 3),
)
def test_a_prepared_image_says_at_every_place_what_the_source_says_there(
    order: list[int], signs: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    """Not half a voxel is lost, whatever the orientation: the values know their place."""
    affine = np.eye(4)
    affine[:3, :3] = _axes(tuple(order), signs) * spacing
    affine[:3, 3] = [-20.0, 14.0, 7.0]
    volume = _linear_volume(Grid((14, 17, 12), affine))
    identity = IntensityPlan(scheme="window", low=-1e6, high=1e6)
    plan = example_plan(spacing_mm=(2.0, 1.5, 2.5), intensity=identity)
    prepared = prepare(volume, None, plan.preparation)
    assert prepared.grid.spacing_mm == pytest.approx((2.0, 1.5, 2.5), abs=1e-4)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in prepared.grid.shape], indexing="ij"), axis=-1)
    place = prepared.grid.to_world(index)
    inside = volume.grid.to_index(place)
    covered = np.all((inside >= 0) & (inside <= np.array(volume.grid.shape) - 1), axis=-1)
    expected = place @ np.array([1.0, 10.0, 100.0]) + 5.0
    assert covered.sum() > 50
    np.testing.assert_allclose(prepared.image[0].numpy()[covered], expected[covered], atol=0.6)


def test_a_further_image_says_at_every_place_what_it_says_there_whatever_its_grid() -> None:
    turned = np.eye(4)
    turned[:3, :3] = _axes((2, 0, 1), (1, -1, -1)) * [1.2, 2.6, 1.9]
    turned[:3, 3] = [13.0, 12.0, 14.0] - turned[:3, :3] @ [7.5, 7.0, 8.5]  # one middle for both
    first, other = (
        _linear_volume(Grid(shape, affine))
        for shape, affine in (((14, 17, 12), np.diag([2.0, 1.5, 2.5, 1.0])), ((16, 15, 18), turned))
    )
    scale = IntensityPlan(scheme="window", low=-1e6, high=1e6)
    plan = replace(example_plan(spacing_mm=(2.0, 1.5, 2.5), intensity=scale).preparation, further=(scale,))
    prepared = prepare(first, None, plan, [other])
    index = np.stack(np.meshgrid(*[np.arange(n) for n in prepared.grid.shape], indexing="ij"), axis=-1)
    place = prepared.grid.to_world(index)
    inside = other.grid.to_index(place)
    covered = np.all((inside >= 1) & (inside <= np.array(other.grid.shape) - 2), axis=-1)
    assert covered.sum() > 50
    expected = place @ np.array([1.0, 10.0, 100.0]) + 5.0
    np.testing.assert_allclose(prepared.image[1].numpy()[covered], expected[covered], atol=0.6)
    beyond = np.any((inside < -0.6) | (inside > np.array(other.grid.shape) - 0.4), axis=-1)
    assert beyond.any()
    darkest = other.array.min()
    np.testing.assert_allclose(prepared.image[1].numpy()[beyond], darkest, atol=0.2)


def test_a_mask_moves_with_its_image() -> None:
    affine = np.diag([-1.5, 2.0, -3.0, 1.0])
    grid = Grid((30, 24, 16), affine)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    inside = np.linalg.norm(grid.to_world(index) - grid.to_world([12, 9, 8]), axis=-1) < 9.0
    values = np.where(inside, 100.0, 0.0).astype(np.float32)
    plan = example_plan(spacing_mm=(2.0, 2.0, 2.0))
    prepared = prepare(Volume(values, grid, "HU"), Mask(inside.astype(np.uint8), grid), plan.preparation)
    assert prepared.label is not None
    network = np.stack(np.meshgrid(*[np.arange(n) for n in prepared.grid.shape], indexing="ij"), axis=-1)
    distance = np.linalg.norm(prepared.grid.to_world(network) - grid.to_world([12, 9, 8]), axis=-1)
    label = prepared.label[0].numpy() > 0
    assert label[distance < 6.5].all()
    assert not label[distance > 11.5].any()


def test_a_mask_on_another_grid_is_refused() -> None:
    grid = Grid((8, 8, 8), np.eye(4))
    moved = Grid((8, 8, 8), np.eye(4) + np.eye(4, k=3) * 0.01)
    volume = Volume(np.zeros((8, 8, 8), np.float32), grid, "HU")
    with pytest.raises(GeometryError, match="different grids"):
        prepare(volume, Mask(np.zeros((8, 8, 8), np.uint8), moved), example_plan().preparation)


@pytest.mark.parametrize(
    ("intensity", "expected"),
    [
        (IntensityPlan(scheme="window", low=-100, high=300, mean=50, deviation=10), [-15, 0, 5, 25]),
        (IntensityPlan(scheme="log"), [0, np.log(51), np.log(101), np.log(401)]),
    ],
    ids=["window", "log"],
)
def test_values_are_brought_to_the_plans_scale(intensity: IntensityPlan, expected: list[float]) -> None:
    array = np.zeros((8, 8, 8), np.float32)
    array[..., :] = [-500, 50, 100, 400, -500, 50, 100, 400]
    volume = Volume(array, Grid((8, 8, 8), np.diag([-1.0, -1.0, 1.0, 1.0])), "HU")
    plan = example_plan(spacing_mm=(1.0, 1.0, 1.0), intensity=intensity)
    image = prepare(volume, None, plan.preparation).image
    np.testing.assert_allclose(image[0, 0, 0].numpy()[:4], expected, rtol=1e-4)
