"""Lesions found, missed and made up: built by hand, and counted anew with SimpleITK."""

import math

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

from lepton_monai.core.errors import GeometryError
from lepton_monai.evaluation.lesions import (
    Lesion,
    LesionCounts,
    Lesions,
    count,
    count_by_size,
    match_lesions,
    pooled,
)

SHAPE = (20, 11, 9)
VOXEL_ML = 0.012

MaskArray = NDArray[np.bool_]


def _bars(*extents: tuple[int, int]) -> MaskArray:
    """Return bars along i, two voxels wide, each from the first to before the second index."""
    mask = np.zeros(SHAPE, dtype=np.bool_)
    for first, last in extents:
        mask[first:last, 3:5, 4:6] = True
    return mask


def _counts(predicted: MaskArray, truth: MaskArray, hit_iou: float = 0.1) -> tuple[int, int, int]:
    found = count(match_lesions(predicted, truth, VOXEL_ML, hit_iou))
    return found.hit, found.missed, found.false


def test_a_lesion_is_hit_missed_or_made_up() -> None:
    truth, predicted = _bars((0, 4), (6, 9)), _bars((1, 5), (12, 14), (16, 18))
    assert _counts(predicted, truth) == (1, 1, 2)
    found = match_lesions(predicted, truth, VOXEL_ML)
    assert [one.hit_iou for one in found.truth] == pytest.approx([3 / 5, 0])
    assert [one.volume_ml for one in found.truth] == pytest.approx([16 * VOXEL_ML, 12 * VOXEL_ML])
    figures = count(found)
    assert figures.sensitivity == pytest.approx(1 / 2)
    assert figures.precision == pytest.approx(1 / 3)
    assert figures.f1 == pytest.approx(2 / 5)


def test_one_component_that_covers_two_lesions_hits_the_better_one_and_the_other_is_missed() -> None:
    truth, predicted = _bars((0, 3), (5, 10)), _bars((0, 10))
    assert _counts(predicted, truth) == (1, 1, 0)
    large, small = match_lesions(predicted, truth, VOXEL_ML).truth
    assert large.hit_iou == pytest.approx(5 / 10)
    assert small.hit_iou == 0


def test_of_two_components_on_one_lesion_the_better_one_hits_and_the_other_is_false() -> None:
    truth, predicted = _bars((0, 10)), _bars((0, 3), (5, 10))
    assert _counts(predicted, truth) == (1, 0, 1)
    large, small = match_lesions(predicted, truth, VOXEL_ML).predicted
    assert large.hit_iou == pytest.approx(5 / 10)
    assert small.hit_iou == 0


def test_a_component_whose_best_lesion_is_taken_may_hit_the_next() -> None:
    truth, predicted = np.zeros((2, *SHAPE), dtype=np.bool_)
    truth[0:10, 3:8, 4] = truth[11:14, 6:11, 4] = True
    predicted[0:10, 3:5, 4] = predicted[3:14, 6:8, 4] = True
    found = match_lesions(predicted, truth, VOXEL_ML)
    # The second component has 14 / 58 with the first lesion, which the first takes with 20 / 50.
    assert [one.hit_iou for one in found.truth] == pytest.approx([20 / 50, 6 / 31])
    assert count(found) == LesionCounts(2, 0, 0)


@pytest.mark.parametrize(("hit_iou", "hits"), [(0.0, 1), (0.099, 1), (0.1, 0), (0.5, 0)])
def test_a_hit_exceeds_the_threshold(hit_iou: float, hits: int) -> None:
    """One voxel layer of ten: an IoU of exactly 0.1."""
    assert _counts(_bars((0, 10)), _bars((9, 10)), hit_iou) == (hits, 1 - hits, 1 - hits)


def test_voxels_that_meet_at_a_corner_are_one_lesion() -> None:
    truth = np.zeros(SHAPE, dtype=np.bool_)
    truth[3, 3, 3] = truth[4, 4, 4] = truth[5, 3, 5] = True
    assert len(match_lesions(truth, truth, VOXEL_ML).truth) == 1
    truth[7, 3, 5] = True
    assert len(match_lesions(truth, truth, VOXEL_ML).truth) == 2


def test_empty_masks_have_no_lesions_and_undefined_shares() -> None:
    empty, one = _bars(), _bars((2, 6))
    nothing = count(match_lesions(empty, empty, VOXEL_ML))
    assert nothing == LesionCounts(0, 0, 0)
    assert all(math.isnan(figure) for figure in (nothing.sensitivity, nothing.precision, nothing.f1))
    made_up, overlooked = (count(match_lesions(*pair, VOXEL_ML)) for pair in ((one, empty), (empty, one)))
    assert made_up == LesionCounts(0, 0, 1)
    assert math.isnan(made_up.sensitivity)
    assert made_up.precision == made_up.f1 == 0
    assert overlooked == LesionCounts(0, 1, 0)
    assert math.isnan(overlooked.precision)
    assert overlooked.sensitivity == overlooked.f1 == 0


def test_masks_of_two_shapes_are_refused() -> None:
    with pytest.raises(GeometryError, match="can't be compared"):
        match_lesions(np.ones((3, 4, 5), dtype=np.bool_), np.ones((1, 4, 5), dtype=np.bool_), VOXEL_ML)


def test_a_diameter_is_that_of_the_sphere_of_equal_volume() -> None:
    assert Lesion(4 / 3 * np.pi * 12**3 / 1000, 0.0).diameter_mm == pytest.approx(24.0)


def test_strata_hold_every_lesion_once_and_a_hit_goes_by_the_size_of_its_lesion() -> None:
    def of(diameter_mm: float, hit_iou: float) -> Lesion:
        return Lesion(np.pi / 6 * diameter_mm**3 / 1000, hit_iou)

    lesions = Lesions(
        truth=(of(35, 0.8), of(25, 0.0), of(15, 0.4), of(4, 0.0), of(3, 0.2)),
        predicted=(of(33, 0.8), of(21, 0.4), of(12, 0.2), of(11, 0.0), of(2, 0.0)),
    )
    small, middle, large = count_by_size(lesions)
    assert small == LesionCounts(hit=1, missed=1, false=1)
    assert middle == LesionCounts(hit=1, missed=0, false=1)
    assert large == LesionCounts(hit=1, missed=1, false=0)
    assert pooled([small, middle, large]) == count(lesions) == LesionCounts(3, 2, 2)
    assert count_by_size(lesions, (4.5,))[0] == small


def test_pooling_weighs_lesions_not_patients() -> None:
    together = pooled([LesionCounts(1, 0, 0), LesionCounts(1, 9, 3)])
    assert together.sensitivity == pytest.approx(2 / 11)
    assert together.precision == pytest.approx(2 / 5)
    assert pooled([]) == LesionCounts(0, 0, 0)


def _by_itk(predicted: MaskArray, truth: MaskArray, hit_iou: float) -> tuple[int, int, int]:
    """Label with SimpleITK, and take pair after pair from the whole table of IoU."""
    found, true = (
        sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True))
        for mask in (predicted, truth)
    )
    table = np.array(
        [
            [((found == one) & (true == other)).sum() / ((found == one) | (true == other)).sum()
             for other in range(1, true.max() + 1)]
            for one in range(1, found.max() + 1)
        ]
    ).reshape(found.max(), true.max())  # fmt: skip
    hits = 0
    while table.size and table.max() > hit_iou:
        one, other = np.unravel_index(table.argmax(), table.shape)
        table[one, :] = table[:, other] = 0
        hits += 1
    return hits, int(true.max()) - hits, int(found.max()) - hits


@pytest.mark.parametrize("hit_iou", [0.0, 0.1, 0.3])
def test_random_masks_have_the_counts_of_another_implementation(hit_iou: float) -> None:
    generator = np.random.default_rng(6)
    seen = np.zeros(3, dtype=np.int64)
    for _ in range(50):
        shape = tuple(generator.integers(6, 16, 3))
        base = ndimage.gaussian_filter(generator.normal(size=shape), 1.0)
        noise = ndimage.gaussian_filter(generator.normal(size=(2, *shape)), (0, 0.7, 0.7, 0.7))
        predicted, truth = base + 0.4 * noise > generator.uniform(0.1, 0.35)
        expected = _by_itk(predicted, truth, hit_iou)
        assert _counts(predicted, truth, hit_iou) == expected
        seen += expected
    assert (seen > 50).all(), "every outcome has to occur"
