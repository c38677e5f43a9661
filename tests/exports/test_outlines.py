"""Filled again, the outlines of a mask are the mask: by our own filling and by matplotlib's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

from lepton_monai.exports.outlines import outlines
from lepton_monai.labels.polygons import fill_even_odd

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


@given(MASKS)
def test_filled_again_they_are_the_mask(mask: NDArray[np.bool_]) -> None:
    filled = np.zeros_like(mask)
    for polygon in outlines(mask):
        filled ^= fill_even_odd(polygon, mask.shape)
    np.testing.assert_array_equal(filled, mask)


@given(MASKS)
def test_so_they_are_for_matplotlib(mask: NDArray[np.bool_]) -> None:
    centres = np.argwhere(np.ones_like(mask))
    inside = np.zeros(len(centres), dtype=np.int64)
    for polygon in outlines(mask):
        inside += Outline(polygon).contains_points(centres)
    np.testing.assert_array_equal(inside.reshape(mask.shape), mask)


def test_a_ring_is_one_polygon_whose_cut_is_passed_twice() -> None:
    mask = np.ones((7, 9), dtype=np.bool_)
    mask[2:5, 3:6] = False
    (polygon,) = outlines(mask)
    edges = list(zip(polygon.tolist(), np.roll(polygon, -1, axis=0).tolist(), strict=True))
    assert sum([end, start] in [list(edge) for edge in edges] for start, end in edges) == 6
    # Never over a voxel's centre, which some readers would leave out then.
    assert not any((corner == np.rint(corner)).all() for corner in polygon)
    np.testing.assert_array_equal(fill_even_odd(polygon, mask.shape), mask)


def test_no_corner_lies_on_a_voxel_centre_and_none_on_a_straight_stretch() -> None:
    mask = np.zeros((9, 8), dtype=np.bool_)
    mask[2:7, 3:6] = True
    (polygon,) = outlines(mask)
    assert ((polygon * 2) % 2).any(axis=1).all()
    assert len(polygon) == 8  # a rectangle with its corners cut


def test_an_empty_slice_has_none() -> None:
    assert outlines(np.zeros((5, 4), dtype=np.bool_)) == []


@pytest.mark.parametrize("axis", [0, 1])
def test_a_mask_at_the_border_of_the_image_is_closed(axis: int) -> None:
    mask = np.zeros((5, 4), dtype=np.bool_)
    mask.swapaxes(0, axis)[0] = True
    (polygon,) = outlines(mask)
    assert polygon[:, axis].min() == -0.5
