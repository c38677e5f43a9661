"""All figures of one class of one case, on one grid."""

import math
from dataclasses import fields

import numpy as np
import pytest
from numpy.typing import NDArray

from lepton_monai.core.errors import GeometryError
from lepton_monai.core.grid import Grid
from lepton_monai.evaluation.lesions import LesionCounts, count
from lepton_monai.evaluation.segmentation import SegmentationFigures, figures

SHAPE = (14, 12, 10)
SPACING = (0.5, 1.0, 4.0)


def _grid() -> Grid:
    """Return a grid that is turned, mirrored and far from the centre; a voxel holds 2 mm3."""
    turn, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(3, 3)))
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(SPACING)
    affine[:3, 3] = (-80.0, 44.0, 900.5)
    return Grid(SHAPE, affine)


def _box(first: int, last: int) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, dtype=np.bool_)
    mask[first:last, 2:8, 3:7] = True
    return mask


def _undefined(found: SegmentationFigures) -> set[str]:
    names = [field.name for field in fields(found) if field.name != "lesions"]
    return {name for name in names if math.isnan(getattr(found, name))}


def test_a_shifted_box_has_its_analytic_figures() -> None:
    """8 x 6 x 4 voxels, two further along i, which is 1 mm: the shared part is 6 x 6 x 4."""
    found = figures(_box(4, 12), _box(2, 10), _grid(), tolerance_mm=1.0)
    assert found.dice == pytest.approx(2 * 144 / 384)
    assert found.iou == pytest.approx(144 / 240)
    assert found.nsd == 1.0
    assert found.hd95_mm == pytest.approx(1.0)
    assert found.volume_ml == found.truth_ml == pytest.approx(192 * 0.002)
    assert found.volume_error_ml == 0.0
    assert found.volume_error_percent == 0.0
    assert count(found.lesions) == LesionCounts(1, 0, 0)
    assert not found.correctly_empty
    assert figures(_box(4, 12), _box(2, 10), _grid(), tolerance_mm=0.9).nsd < 1.0


def test_a_box_that_is_too_small_has_a_negative_error() -> None:
    found = figures(_box(2, 8), _box(2, 10), _grid())
    assert found.volume_error_ml == pytest.approx(-48 * 0.002)
    assert found.volume_error_percent == pytest.approx(-25.0)
    assert found.tolerance_mm == 2.0


def test_nothing_found_where_nothing_is_counts_as_correctly_empty() -> None:
    empty = np.zeros(SHAPE, dtype=np.bool_)
    found = figures(empty, empty, _grid())
    assert found.correctly_empty
    assert _undefined(found) == {"dice", "iou", "nsd", "hd95_mm", "assd_mm", "volume_error_percent"}
    assert found.volume_ml == found.truth_ml == found.volume_error_ml == 0.0
    assert count(found.lesions) == LesionCounts(0, 0, 0)


def test_something_found_where_nothing_is_has_dice_0_and_no_distances() -> None:
    found = figures(_box(2, 10), np.zeros(SHAPE, dtype=np.bool_), _grid())
    assert not found.correctly_empty
    assert found.dice == found.iou == found.nsd == 0.0
    assert _undefined(found) == {"hd95_mm", "assd_mm", "volume_error_percent"}
    assert found.volume_error_ml == pytest.approx(192 * 0.002)
    assert count(found.lesions) == LesionCounts(0, 0, 1)


def test_nothing_found_where_something_is_has_dice_0_and_no_distances() -> None:
    found = figures(np.zeros(SHAPE, dtype=np.bool_), _box(2, 10), _grid())
    assert not found.correctly_empty
    assert found.dice == found.iou == found.nsd == 0.0
    assert _undefined(found) == {"hd95_mm", "assd_mm"}
    assert found.volume_error_percent == -100.0
    assert count(found.lesions) == LesionCounts(0, 1, 0)


def test_the_order_of_voxels_in_memory_changes_nothing() -> None:
    generator = np.random.default_rng(4)
    predicted, truth = generator.random((2, *SHAPE)) < 0.3
    ours = figures(predicted, truth, _grid(), hit_iou=0.05)
    assert ours == figures(np.asfortranarray(predicted), np.asfortranarray(truth), _grid(), hit_iou=0.05)


@pytest.mark.parametrize("shape", [(12, 14, 10), (14, 12, 11), (1, 12, 10)])
def test_a_mask_that_is_not_on_the_grid_is_refused(shape: tuple[int, int, int]) -> None:
    mask, other = np.ones(SHAPE, dtype=np.bool_), np.ones(shape, dtype=np.bool_)
    for pair in ((mask, other), (other, mask), (other, other)):
        with pytest.raises(GeometryError):
            figures(*pair, _grid())
