import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.core.grid import Grid
from lepton_monai.inference.native import Probabilities, classes_on_grid
from lepton_monai.inference.window import mirrorings


def _rotation(angles: tuple[float, float, float]) -> NDArray[np.float64]:
    a, b, c = angles
    x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(x @ y @ z)


def _grid(
    shape: tuple[int, int, int], spacing: tuple[float, ...], angles: tuple[float, float, float]
) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = _rotation(angles) * np.asarray(spacing)
    # Every grid has its middle at one point, so that they overlap.
    affine[:3, 3] = [3.0, -7.0, 11.0] - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


angles = st.tuples(*[st.floats(-3.1, 3.1) for _ in range(3)])


@settings(max_examples=30, deadline=None)
@given(network_angles=angles, source_angles=angles, offset=st.floats(-15, 15))
def test_a_half_space_comes_back_exactly_wherever_the_grids_lie(
    network_angles: tuple[float, float, float], source_angles: tuple[float, float, float], offset: float
) -> None:
    """Linear interpolation gives a linear function back, so the border has to be the plane's."""
    network = _grid((24, 20, 28), (3.1, 4.2, 2.7), network_angles)
    source = _grid((13, 17, 11), (1.3, 1.1, 2.9), source_angles)
    normal = np.array([0.48, -0.6, 0.64])

    def height(grid: Grid) -> NDArray[np.float64]:
        index = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
        return np.asarray(grid.to_world(index) @ normal - offset)

    heights = torch.from_numpy(height(network).astype(np.float32))
    found = classes_on_grid([Probabilities(torch.stack([-heights, heights]), network)], source)
    expected = height(source)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in source.shape], indexing="ij"), axis=-1)
    place = network.to_index(source.to_world(index))
    covered = np.all((place >= 0) & (place <= np.array(network.shape) - 1), axis=-1)
    clear = covered & (np.abs(expected) > 1e-3)
    assert clear.sum() > 1000
    assert np.array_equal(found[clear], (expected > 0)[clear].astype(np.uint8))


def test_the_interpolation_is_scipys() -> None:
    generator = np.random.default_rng(1)
    network = _grid((9, 8, 10), (2.0, 3.0, 2.5), (0.2, -0.4, 1.1))
    source = _grid((12, 7, 9), (1.1, 1.7, 1.9), (-0.3, 0.1, 0.8))
    values = generator.random((3, *network.shape)).astype(np.float32)
    index = np.stack(np.meshgrid(*[np.arange(n) for n in source.shape], indexing="ij"), axis=-1)
    place = np.moveaxis(network.to_index(source.to_world(index)), -1, 0)
    sampled = np.stack([ndimage.map_coordinates(one, place, order=1, mode="nearest") for one in values])
    first, second = np.sort(sampled, axis=0)[-2:][::-1]
    decided = first - second > 1e-4
    found = classes_on_grid([Probabilities(torch.from_numpy(values), network)], source)
    assert np.array_equal(found[decided], sampled.argmax(axis=0)[decided])


def test_the_slabs_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _grid((8, 8, 8), (2.0, 2.0, 2.0), (0.1, 0.2, 0.3))
    source = _grid((10, 9, 30), (1.0, 1.2, 0.6), (0.0, 0.0, 0.0))
    values = torch.from_numpy(np.random.default_rng(2).random((2, 8, 8, 8)).astype(np.float32))
    whole = classes_on_grid([Probabilities(values, network)], source)
    monkeypatch.setattr("lepton_monai.data.resampling.SLAB_VOXELS", 1)
    assert np.array_equal(classes_on_grid([Probabilities(values, network)], source), whole)


def test_every_mirroring_comes_once_and_the_image_itself_first() -> None:
    assert list(mirrorings(())) == [()]
    assert list(mirrorings((0, 1))) == [(), (2,), (3,), (2, 3)]
    assert len(set(mirrorings((0, 1, 2)))) == 8


def test_networks_on_other_grids_are_averaged_at_the_source_voxel() -> None:
    """One network is sure on its own fine grid, two are not on a coarse one: the mean decides."""
    source = Grid((6, 5, 4), np.diag([-2.0, 2.0, 2.0, 1.0]))
    fine = Grid((11, 9, 7), np.diag([-1.0, 1.0, 1.0, 1.0]))

    def said(grid: Grid, lesion: float) -> Probabilities:
        values = torch.tensor([1 - lesion, lesion]).view(2, 1, 1, 1)
        return Probabilities(values.expand(2, *grid.shape).contiguous(), grid)

    sure, unsure = said(fine, 0.95), said(source, 0.35)
    assert (classes_on_grid([sure, unsure, unsure], source) == 1).all()
    assert (classes_on_grid([said(fine, 0.7), unsure, unsure], source) == 0).all()
