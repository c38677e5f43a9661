"""From grid to grid: places in patient space decide, whatever the orientations."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from lepton_monai.core.grid import Grid
from lepton_monai.data.resampling import on_grid

SLOPE = np.array([1.0, 10.0, 100.0])


def grid_of(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], turn: list[float]) -> Grid:
    """Return a grid around the origin of patient space, turned by angles."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn).as_matrix() * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def places_of(grid: Grid) -> np.ndarray:
    """Return where every voxel lies."""
    return grid.to_world(np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1))


def linear_on(grid: Grid) -> torch.Tensor:
    """Return an image that knows its places."""
    return torch.from_numpy((places_of(grid) @ SLOPE).astype(np.float32))[None]


@settings(max_examples=25, deadline=None)
@given(
    turn=st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3),
    other=st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3),
    spacing=st.tuples(*[st.floats(1.0, 3.0)] * 3),
)
def test_a_value_says_at_every_place_what_the_source_says_there(
    turn: list[float], other: list[float], spacing: tuple[float, float, float]
) -> None:
    """Linear images are interpolated, and averaged, exactly; outside of the source there is nothing."""
    source, target = grid_of((16, 18, 14), spacing, turn), grid_of((9, 10, 11), (4.0, 2.0, 3.0), other)
    found = on_grid(linear_on(source), source, target, beyond=0.0)[0].numpy()
    places = places_of(target)
    index = source.to_index(places)
    last = np.array(source.shape) - 1
    # A voxel's breadth from the border the mean over what a coarse voxel covers is cut.
    inner = ((index >= 5) & (index <= last - 5)).all(axis=-1)
    np.testing.assert_allclose(found[inner], (places @ SLOPE)[inner], atol=0.05)
    outside = ((index < -0.51) | (index > last + 0.51)).any(axis=-1)
    assert not found[outside].any()


def test_it_is_what_another_library_says() -> None:
    source, target = (
        grid_of((12, 13, 14), (2.0, 1.5, 1.8), [0.3, -0.2, 0.1]),
        grid_of((8, 8, 8), (2.0,) * 3, [0, 0, 0]),
    )
    values = np.random.default_rng(3).normal(size=source.shape).astype(np.float32)
    image = sitk.GetImageFromArray(values.transpose(2, 1, 0))
    image.SetSpacing(source.spacing_mm)
    image.SetOrigin(source.affine[:3, 3].tolist())
    image.SetDirection((source.affine[:3, :3] / source.spacing_mm).ravel().tolist())
    expected = sitk.Resample(
        image, target.shape, sitk.Transform(), sitk.sitkLinear, target.affine[:3, 3].tolist(), (2.0,) * 3
    )
    found = on_grid(torch.from_numpy(values)[None], source, target, beyond=0.0)[0].numpy()
    inside = source.to_index(places_of(target))
    inner = ((inside >= 0) & (inside <= np.array(source.shape) - 1)).all(axis=-1)
    assert inner.sum() > 300
    truth = sitk.GetArrayFromImage(expected).transpose(2, 1, 0)
    np.testing.assert_allclose(found[inner], truth[inner], atol=1e-5)


@pytest.mark.parametrize("ratio", [1.6, 2.0, 3.0, 5.0])
def test_a_coarse_voxel_is_the_mean_of_what_it_covers(ratio: float) -> None:
    """Noise falls as of a mean of all of them, or further (places between voxels are smoothed, too)."""
    source, target = grid_of((60,) * 3, (1.0,) * 3, [0, 0, 0]), grid_of((10,) * 3, (ratio,) * 3, [0, 0, 0])
    values = np.random.default_rng(4).normal(size=source.shape).astype(np.float32)
    found = on_grid(torch.from_numpy(values)[None], source, target, beyond=0.0)[0].numpy()
    assert 0.4 * ratio**-1.5 < found.std() < 1.15 * ratio**-1.5


def test_where_the_source_does_not_reach_stands_what_was_asked_for() -> None:
    source, target = grid_of((6,) * 3, (1.0,) * 3, [0, 0, 0]), grid_of((10,) * 3, (1.0,) * 3, [0, 0, 0])
    found = on_grid(torch.full((1, *source.shape), 7.0), source, target, beyond=-1000.0)
    assert torch.equal(found[0, 2:8, 2:8, 2:8], torch.full((6, 6, 6), 7.0))
    assert int((found == 7.0).sum()) == 6**3
    assert int((found == -1000.0).sum()) == 10**3 - 6**3


def test_the_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = (
        grid_of((12, 13, 14), (2.0, 1.5, 1.8), [0.3, -0.2, 0.1]),
        grid_of((8, 9, 10), (2.0,) * 3, [0, 0, 0]),
    )
    whole = on_grid(linear_on(source), source, target, beyond=0.0)
    monkeypatch.setattr("lepton_monai.data.resampling.SLAB_VOXELS", 1)
    assert torch.equal(on_grid(linear_on(source), source, target, beyond=0.0), whole)
