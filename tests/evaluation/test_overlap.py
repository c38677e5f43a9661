"""Overlap and volume, against MONAI, scipy and counting."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import DiceMetric, MeanIoU
from numpy.typing import NDArray
from scipy.spatial.distance import dice as dissimilarity
from scipy.spatial.distance import jaccard

from lepton_monai.core.errors import GeometryError
from lepton_monai.evaluation.overlap import dice, iou, shared_box, volume_error_percent, volume_ml

masks = arrays(np.bool_, (4, 3, 5))


def _box(shape: tuple[int, int, int], *extents: slice) -> NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=np.bool_)
    mask[extents] = True
    return mask


@given(masks, masks)
def test_dice_is_that_of_scipy_and_of_counting(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> None:
    found = dice(predicted, truth)
    shared = sum(1 for a, b in zip(predicted.flat, truth.flat, strict=True) if a and b)
    both = sum(map(int, predicted.flat)) + sum(map(int, truth.flat))
    if both == 0:
        assert math.isnan(found)
        return
    assert found == pytest.approx(2 * shared / both, abs=1e-15)
    assert found == pytest.approx(1 - dissimilarity(predicted.ravel(), truth.ravel()), abs=1e-12)
    assert found == dice(truth, predicted)
    assert 0 <= found <= 1


@given(masks, masks)
def test_iou_is_that_of_scipy_and_follows_from_dice(
    predicted: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> None:
    found = iou(predicted, truth)
    if not (predicted | truth).any():
        assert math.isnan(found)
        return
    assert found == pytest.approx(1 - jaccard(predicted.ravel(), truth.ravel()), abs=1e-12)
    assert found == pytest.approx(dice(predicted, truth) / (2 - dice(predicted, truth)), abs=1e-12)


def test_dice_and_iou_are_those_of_monai() -> None:
    generator = np.random.default_rng(0)
    predicted, truth = generator.random((2, 6, 4, 3, 5)) < 0.4
    for metric, ours in ((DiceMetric(reduction="none"), dice), (MeanIoU(reduction="none"), iou)):
        theirs = metric(*(torch.from_numpy(one[:, None].astype(np.float32)) for one in (predicted, truth)))
        found = [ours(one, other) for one, other in zip(predicted, truth, strict=True)]
        np.testing.assert_allclose(found, np.asarray(theirs)[:, 0], rtol=1e-6)


def test_known_boxes_have_their_dice() -> None:
    shape = (10, 9, 8)
    first = _box(shape, slice(0, 4), slice(0, 4), slice(0, 4))
    half = _box(shape, slice(0, 4), slice(0, 4), slice(2, 6))
    assert dice(first, first) == 1.0
    assert dice(first, half) == 0.5
    assert dice(first, ~first) == 0.0


def test_two_empty_masks_are_undefined_and_one_is_zero() -> None:
    empty, full = np.zeros((2, 3, 4), dtype=np.bool_), np.ones((2, 3, 4), dtype=np.bool_)
    for figure in (dice, iou):
        assert math.isnan(figure(empty, empty))
        assert figure(empty, full) == 0.0
        assert figure(full, empty) == 0.0


@pytest.mark.parametrize("shape", [(1, 3, 5), (4, 3, 1), (5, 3, 4), (60,), (1,)])
def test_masks_of_two_shapes_are_refused_instead_of_stretched(shape: tuple[int, ...]) -> None:
    for figure in (dice, iou, shared_box):
        with pytest.raises(GeometryError, match=r"\(4, 3, 5\).*can't be compared"):
            figure(np.ones((4, 3, 5), dtype=np.bool_), np.ones(shape, dtype=np.bool_))


def test_a_large_mask_is_counted_without_overflow() -> None:
    full = np.ones((2048, 2048, 2), dtype=np.bool_)
    assert dice(full, full) == 1.0


@given(masks, st.floats(1e-6, 10))
def test_a_volume_is_the_count_times_that_of_a_voxel(mask: NDArray[np.bool_], voxel_ml: float) -> None:
    assert volume_ml(mask, voxel_ml) == pytest.approx(int(np.count_nonzero(mask)) * voxel_ml, rel=1e-12)


def test_a_volume_error_has_the_sign_of_what_is_too_much() -> None:
    assert volume_error_percent(12.0, 10.0) == pytest.approx(20.0)
    assert volume_error_percent(7.5, 10.0) == pytest.approx(-25.0)
    assert volume_error_percent(0.0, 10.0) == -100.0


def test_there_is_no_share_of_an_empty_truth() -> None:
    assert math.isnan(volume_error_percent(3.0, 0.0))
    assert math.isnan(volume_error_percent(0.0, 0.0))


@given(masks, masks)
def test_a_shared_box_holds_both_masks_and_no_empty_border(
    first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> None:
    box = shared_box(first, second)
    either = (first | second)[box]
    assert either.sum() == (first | second).sum()
    for axis in range(3) if either.size else ():
        assert either.take(0, axis).any()
        assert either.take(-1, axis).any()
    assert bool(either.size) == bool(first.any() or second.any())
