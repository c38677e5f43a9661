"""Surface figures, against formulas, brute force, MONAI, scipy's distance transform, SimpleITK."""

import math
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.metrics import compute_average_surface_distance, compute_surface_dice
from monai.metrics.utils import get_mask_edges, get_surface_distance
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from lepton_monai.core.errors import GeometryError
from lepton_monai.core.grid import Grid
from lepton_monai.evaluation.surface import (
    SurfaceDistances,
    assd_mm,
    hd95_mm,
    surface_dice,
    surface_distances,
)

SPACING = (0.7, 1.3, 2.9)

MaskArray = NDArray[np.bool_]


def _upright(shape: tuple[int, int, int], spacing: tuple[float, float, float] = SPACING) -> Grid:
    return Grid(shape, np.diag([*spacing, 1.0]))


def _turned(grid: Grid) -> Grid:
    """Return the same voxels, turned about no axis of the scanner and far from its centre."""
    turn, _ = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn @ grid.affine[:3, :3]
    affine[:3, 3] = (-312.7, 155.1, 1204.9)
    return Grid(grid.shape, affine)


def _sheared(shape: tuple[int, int, int]) -> Grid:
    """Return a grid as a tilted gantry makes it: a step along k moves along j as well."""
    affine = np.diag([*SPACING, 1.0])
    affine[1, 2] = 0.9
    return _turned(Grid(shape, affine))


def _box(shape: tuple[int, int, int], *extents: slice) -> MaskArray:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[extents] = True
    return mask


def _ball(grid: Grid, centre_mm: NDArray[np.float64], radius_mm: float) -> MaskArray:
    points = grid.to_world(np.moveaxis(np.indices(grid.shape), 0, -1))
    return np.asarray(np.linalg.norm(points - centre_mm, axis=-1) <= radius_mm)


def _blobs(generator: np.random.Generator) -> tuple[MaskArray, MaskArray, tuple[float, float, float]]:
    """Return two alike, jagged masks that reach the border of a small image, and a spacing."""
    shape = tuple(generator.integers(5, 14, 3))
    base = ndimage.gaussian_filter(generator.normal(size=shape), 1.2)
    noise = ndimage.gaussian_filter(generator.normal(size=(2, *shape)), (0, 0.8, 0.8, 0.8))
    first, second = base + generator.uniform(0.05, 0.8) * noise > generator.uniform(-0.05, 0.1)
    i, j, k = generator.uniform(0.4, 4.0, 3)
    return first, second, (float(i), float(j), float(k))


def _all(predicted: MaskArray, truth: MaskArray, grid: Grid, tolerance_mm: float) -> list[float]:
    distances = surface_distances(predicted, truth, grid)
    return [surface_dice(distances, tolerance_mm), hd95_mm(distances), assd_mm(distances)]


def _by_brute_force(
    predicted: MaskArray, truth: MaskArray, grid: Grid, tolerance_mm: float
) -> tuple[list[float], NDArray[np.float64]]:
    """Return the three figures voxel by voxel and pair by pair, and all distances."""
    surfaces = []
    for mask in (predicted, truth):
        padded = np.pad(mask, 1)
        steps = [way * step for step in np.eye(3, dtype=np.int64) for way in (-1, 1)]
        surfaces.append(
            [
                grid.affine[:3, :3] @ index
                for index in np.argwhere(mask)
                if not all(padded[tuple(index + 1 + step)] for step in steps)
            ]
        )
    pairs = cdist(*surfaces)
    there, back = pairs.min(axis=1), pairs.min(axis=0)
    together = np.concatenate([there, back])
    near = sum(distance <= tolerance_mm for distance in together) / len(together)
    return [near, max(np.quantile(there, 0.95), np.quantile(back, 0.95)), together.mean()], together


def _by_monai(
    predicted: MaskArray, truth: MaskArray, spacing: tuple[float, float, float], tolerance_mm: float
) -> list[float]:
    """Return MONAI's figures; of HD95 its distances with numpy's percentile.

    MONAI ranks in float32, which moves its own percentile by up to 1e-5 mm.
    """
    one, other = (torch.from_numpy(mask[None, None].astype(np.float32)) for mask in (predicted, truth))
    options: dict[str, Any] = {"include_background": True, "spacing": spacing}
    edges = get_mask_edges(predicted, truth)
    directions = [
        get_surface_distance(edges[0], edges[1], spacing=spacing),
        get_surface_distance(edges[1], edges[0], spacing=spacing),
    ]
    return [
        float(compute_surface_dice(one, other, [tolerance_mm], **options)),
        max(float(np.percentile(np.asarray(found), 95)) for found in directions),
        float(compute_average_surface_distance(one, other, symmetric=True, **options)),
    ]


def _agree_on(masks: int, seed: int) -> tuple[int, float]:
    """Compare random masks with both; return how many and the largest deviation."""
    generator = np.random.default_rng(seed)
    compared, largest = 0, 0.0
    while compared < masks:
        predicted, truth, spacing = _blobs(generator)
        if not predicted.any() or not truth.any():
            continue
        grid = _upright((predicted.shape[0], predicted.shape[1], predicted.shape[2]), spacing)
        # An irrational tolerance lies on no distance: MONAI compares without room for rounding.
        tolerance_mm = float(np.sqrt(generator.uniform(0.1, 9)))
        ours = _all(predicted, truth, _turned(grid), tolerance_mm)
        brute, _ = _by_brute_force(predicted, truth, grid, tolerance_mm)
        np.testing.assert_allclose(ours, brute, rtol=0, atol=1e-6)
        theirs = _by_monai(predicted, truth, spacing, tolerance_mm)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
        largest = max(largest, float(np.abs(np.subtract(ours, brute)).max()))
        compared += 1
    print(f"{compared} random masks, largest deviation from brute force {largest:.1e}")
    return compared, largest


def test_50_random_masks_have_the_figures_of_brute_force_and_of_monai() -> None:
    assert _agree_on(50, seed=1)[0] == 50


@pytest.mark.nightly
def test_1000_random_masks_have_the_figures_of_brute_force_and_of_monai() -> None:
    assert _agree_on(1000, seed=2)[0] == 1000


def test_a_sheared_grid_has_the_figures_of_brute_force() -> None:
    generator = np.random.default_rng(5)
    for _ in range(10):
        predicted, truth, _ = _blobs(generator)
        grid = _sheared((predicted.shape[0], predicted.shape[1], predicted.shape[2]))
        brute, together = _by_brute_force(predicted, truth, grid, 1.77)
        np.testing.assert_allclose(_all(predicted, truth, grid, 1.77), brute, rtol=0, atol=1e-9)
        distances = surface_distances(predicted, truth, grid)
        ours = np.concatenate([distances.predicted_mm, distances.truth_mm])
        np.testing.assert_allclose(np.sort(ours), np.sort(together), rtol=0, atol=1e-9)


def test_the_distances_are_those_of_scipys_and_of_itks_distance_transform() -> None:
    grid = _upright((30, 26, 14))
    middle = grid.to_world([15, 12, 7])
    predicted, truth = _ball(grid, middle, 7.0), _ball(grid, middle + np.array([1.1, -2.0, 1.7]), 8.0)
    surface = truth & ~ndimage.binary_erosion(truth)
    own = predicted & ~ndimage.binary_erosion(predicted)
    ours = np.sort(surface_distances(predicted, truth, grid).predicted_mm)
    by_scipy = ndimage.distance_transform_edt(~surface, sampling=SPACING)[own]
    np.testing.assert_allclose(ours, np.sort(by_scipy), rtol=0, atol=1e-9)
    image = sitk.GetImageFromArray(surface.astype(np.uint8).T)
    image.SetSpacing(SPACING)
    transform = sitk.SignedMaurerDistanceMap(image, squaredDistance=False, useImageSpacing=True)
    by_itk = np.maximum(sitk.GetArrayFromImage(transform).T[own], 0)
    np.testing.assert_allclose(ours, np.sort(by_itk), rtol=0, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("steps", [1, 3])
def test_plates_that_are_shifted_lie_apart_by_the_shift_in_mm(axis: int, steps: int) -> None:
    """Two plates of one voxel across the whole image: every distance is the shift."""
    shape = (9, 8, 7)
    extents = [slice(None)] * 3
    extents[axis] = slice(2, 3)
    truth = _box(shape, *extents)
    predicted = np.roll(truth, steps, axis=axis)
    shift = steps * SPACING[axis]
    for grid in (_upright(shape), _turned(_upright(shape))):
        distances = surface_distances(predicted, truth, grid)
        assert hd95_mm(distances) == pytest.approx(shift, abs=1e-9)
        assert assd_mm(distances) == pytest.approx(shift, abs=1e-9)
        assert surface_dice(distances, shift) == 1.0, "a distance that equals the tolerance is within it"
        assert surface_dice(distances, shift - 1e-3) == 0.0


def test_boxes_that_are_shifted_have_their_counted_figures() -> None:
    """Boxes of 4 x 5 x 6 voxels, one a voxel further along k.

    Each has 120 - 2 x 3 x 4 = 96 surface voxels: 20 in each of 6 slices but 14 in the four inner ones.
    The 14 of the ring lie on the other surface where the other has that slice, inner or not; the 6 in the
    middle of an end lie inside the other box, one step from its end, or one step outside of it.
    """
    shape = (10, 11, 12)
    truth = _box(shape, slice(2, 6), slice(3, 8), slice(2, 8))
    predicted = np.roll(truth, 1, axis=2)
    grid = _upright(shape)
    # Of the prediction: its far end (20 voxels) lies 2.9 mm out; the 6 inner voxels of its near end are
    # 0.7 mm (one i) from the truth's ring in the same slice, since 4 columns have 2 inner ones.
    expected = np.sort([2.9] * 20 + [0.7] * 6 + [0.0] * 70)
    distances = surface_distances(predicted, truth, grid)
    for found in (distances.predicted_mm, distances.truth_mm):
        np.testing.assert_allclose(np.sort(found), expected, atol=1e-12)
    assert surface_dice(distances, 2.0) == pytest.approx(76 / 96)
    assert surface_dice(distances, 0.5) == pytest.approx(70 / 96)
    assert hd95_mm(distances) == pytest.approx(2.9)
    assert assd_mm(distances) == pytest.approx((20 * 2.9 + 6 * 0.7) / 96)


@pytest.mark.parametrize("spacing", [(1.2, 1.2, 1.2), (0.8, 1.0, 1.6)])
def test_balls_within_each_other_lie_apart_by_the_difference_of_their_radii(
    spacing: tuple[float, float, float],
) -> None:
    """Within one step, by which a surface voxel's centre may lie inside the body; with half steps, too."""
    for fine in (1, 2):
        i, j, k = (step / fine for step in spacing)
        grid = _turned(_upright((62 * fine, 50 * fine, 44 * fine), (i, j, k)))
        centre = grid.to_world([30.3 * fine, 24.8 * fine, 21.6 * fine])
        distances = surface_distances(_ball(grid, centre, 22.0), _ball(grid, centre, 18.0), grid)
        step = max(i, j, k)
        assert surface_dice(distances, 4.0 - step) == 0.0
        assert surface_dice(distances, 4.0 + step) == 1.0
        assert hd95_mm(distances) == pytest.approx(4.0, abs=step)
        assert assd_mm(distances) == pytest.approx(4.0, abs=step)


def test_balls_that_are_shifted_have_nearly_the_analytic_surface_dice() -> None:
    """Of a ball of radius r shifted by d the share with |distance - r| <= t is linear in the cosine."""
    generator = np.random.default_rng(0)
    grid = _turned(_upright((80, 80, 80), (1.0, 1.0, 1.0)))
    off = []
    for _ in range(12):
        radius, shift, tolerance = generator.uniform(15, 28), generator.uniform(2.5, 8), 2.0
        direction = generator.normal(size=3)
        direction *= shift / np.linalg.norm(direction)
        centre = grid.to_world([40, 40, 40]) + generator.uniform(-1, 1, 3) - direction / 2
        distances = surface_distances(
            _ball(grid, centre, radius), _ball(grid, centre + direction, radius), grid
        )
        ends = [
            (radius**2 + shift**2 - (radius + way * tolerance) ** 2) / (2 * radius * shift)
            for way in (1, -1)
        ]
        analytic = (min(1.0, ends[1]) - max(-1.0, ends[0])) / 2
        off.append(surface_dice(distances, tolerance) - analytic)
    assert np.mean(np.abs(off)) < 0.05
    assert np.max(np.abs(off)) < 0.1


def test_a_mask_lies_on_itself() -> None:
    grid = _turned(_upright((9, 8, 7)))
    mask = np.random.default_rng(2).random(grid.shape) < 0.4
    assert _all(mask, mask, grid, 0.0) == [1.0, 0.0, 0.0]


def test_both_directions_count_alike() -> None:
    predicted, truth, spacing = _blobs(np.random.default_rng(11))
    grid = _upright((predicted.shape[0], predicted.shape[1], predicted.shape[2]), spacing)
    np.testing.assert_allclose(
        _all(predicted, truth, grid, 1.1), _all(truth, predicted, grid, 1.1), rtol=1e-12
    )


def test_of_two_empty_masks_everything_is_undefined() -> None:
    empty = np.zeros((4, 3, 5), dtype=np.bool_)
    assert all(math.isnan(figure) for figure in _all(empty, empty, _upright((4, 3, 5)), 2.0))


@pytest.mark.parametrize("empty_is_predicted", [True, False])
def test_with_one_empty_mask_distances_are_undefined_and_no_surface_is_near(
    empty_is_predicted: bool,
) -> None:
    shape = (4, 3, 5)
    pair = [np.zeros(shape, dtype=np.bool_), _box(shape, slice(1, 3), slice(0, 2), slice(2, 5))]
    predicted, truth = pair if empty_is_predicted else reversed(pair)
    nsd, hd95, assd = _all(predicted, truth, _upright(shape), 1e6)
    assert nsd == 0.0
    assert math.isnan(hd95)
    assert math.isnan(assd)


def test_a_picture_has_its_outline_for_a_surface() -> None:
    """A disc in an image of one slice: its inner pixels are no surface, as in MONAI in two dimensions."""
    grid = _upright((24, 21, 1))
    centre = grid.to_world([12, 10, 0])
    predicted, truth = _ball(grid, centre, 6.0), _ball(grid, centre + np.array([0.9, 0.0, 0.0]), 5.0)
    one, other = (
        torch.from_numpy(mask[None, None, ..., 0].astype(np.float32)) for mask in (predicted, truth)
    )
    theirs = compute_surface_dice(one, other, [0.95], include_background=True, spacing=SPACING[:2])
    distances = surface_distances(predicted, truth, grid)
    assert surface_dice(distances, 0.95) == pytest.approx(float(theirs), abs=1e-6)
    assert len(distances.truth_mm) < truth.sum()


def test_a_lesion_in_one_slice_of_a_volume_is_all_surface() -> None:
    mask = _box((9, 8, 5), slice(2, 7), slice(1, 6), slice(2, 3))
    assert len(surface_distances(mask, mask, _upright((9, 8, 5))).truth_mm) == 25


@pytest.mark.parametrize("shape", [(4, 3, 6), (5, 3, 4)])
def test_masks_that_are_not_on_the_grid_are_refused(shape: tuple[int, int, int]) -> None:
    mask, other = np.ones((4, 3, 5), dtype=np.bool_), np.ones(shape, dtype=np.bool_)
    with pytest.raises(GeometryError, match=r"\(4, 3, 5\).*can't be compared"):
        surface_distances(mask, other, _upright((4, 3, 5)))
    with pytest.raises(GeometryError, match=r"\(4, 3, 5\).*grid of"):
        surface_distances(mask, mask, _upright(shape))


def test_95_of_100_distances_decide() -> None:
    """Percentiles of each direction, then the larger; interpolated between the ranks."""
    distances = SurfaceDistances(np.arange(101.0), np.full(40, 3.0))
    assert hd95_mm(distances) == 95.0
    assert assd_mm(distances) == pytest.approx((5050 + 120) / 141)
