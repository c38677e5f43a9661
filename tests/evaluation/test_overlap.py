"""Dice and volume, against MONAI, scipy and counting."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import DiceMetric
from numpy.typing import NDArray
from scipy.spatial.distance import dice as dissimilarity

from lepton_monai.core.errors import GeometryError
from lepton_monai.evaluation.overlap import dice, volume_ml

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


def test_dice_is_that_of_monai() -> None:
    generator = np.random.default_rng(0)
    predicted, truth = generator.random((2, 6, 4, 3, 5)) < 0.4
    metric = DiceMetric(reduction="none")
    theirs = metric(*(torch.from_numpy(one[:, None].astype(np.float32)) for one in (predicted, truth)))
    ours = [dice(one, other) for one, other in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(ours, np.asarray(theirs)[:, 0], rtol=1e-6)


def test_known_boxes_have_their_dice() -> None:
    shape = (10, 9, 8)
    first = _box(shape, slice(0, 4), slice(0, 4), slice(0, 4))
    half = _box(shape, slice(0, 4), slice(0, 4), slice(2, 6))
    assert dice(first, first) == 1.0
    assert dice(first, half) == 0.5
    assert dice(first, ~first) == 0.0


def test_two_empty_masks_are_undefined_and_one_is_zero() -> None:
    empty, full = np.zeros((2, 3, 4), dtype=np.bool_), np.ones((2, 3, 4), dtype=np.bool_)
    assert math.isnan(dice(empty, empty))
    assert dice(empty, full) == 0.0
    assert dice(full, empty) == 0.0


@pytest.mark.parametrize("shape", [(1, 3, 5), (4, 3, 1), (5, 3, 4), (60,), (1,)])
def test_masks_of_two_shapes_are_refused_instead_of_stretched(shape: tuple[int, ...]) -> None:
    with pytest.raises(GeometryError, match=r"\(4, 3, 5\).*can't be compared"):
        dice(np.ones((4, 3, 5), dtype=np.bool_), np.ones(shape, dtype=np.bool_))


def test_a_large_mask_is_counted_without_overflow() -> None:
    full = np.ones((2048, 2048, 2), dtype=np.bool_)
    assert dice(full, full) == 1.0


@given(masks, st.floats(1e-6, 10))
def test_a_volume_is_the_count_times_that_of_a_voxel(mask: NDArray[np.bool_], voxel_ml: float) -> None:
    assert volume_ml(mask, voxel_ml) == pytest.approx(int(np.count_nonzero(mask)) * voxel_ml, rel=1e-12)
