"""Contours to masks: what the tracer wrote comes back, and everything odd has a name."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray

from lepton_monai.core.errors import LabelError
from lepton_monai.core.grid import Grid
from lepton_monai.dicom import scan
from lepton_monai.labels.labelset import Regions
from lepton_monai.labels.rtstruct import Contour, Structure, rasterise, read_structures
from sample_data.dicom_files import identity
from sample_data.label_files import write_rtstruct
from tests.phantoms import SHAPE, oblique_affine, orientations, rough_mask

SPACING = (0.9, 1.3, 2.7)
OBLIQUE = Grid((11, 8, 5), oblique_affine())
STRAIGHT = Grid((11, 8, 5), oblique_affine(angles_deg=(0.0, 0.0, 0.0)))


def _turned(number: int, angles_deg: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return one of the 48 orientations, turned by some angles."""
    affine = oblique_affine((1.0, 1.0, 1.0), angles_deg)
    affine[:3, :3] = affine[:3, :3] @ orientations()[number] * SPACING
    return affine


def _through_a_file(path: Path, mask: NDArray[np.bool_], affine: NDArray[np.float64]) -> Regions:
    uids = [f"1.2.{k}" for k in range(mask.shape[2])]
    write_rtstruct(path, {"GTV": mask}, affine, identity("rt"), "1.2.3", uids)
    i, j, k = mask.shape
    return rasterise(read_structures(path), Grid((i, j, k), affine))


def _draw(
    grid: Grid, *outlines: tuple[ArrayLike, float], kind: str = "CLOSED_PLANAR", name: str = "GTV"
) -> Structure:
    """Make an ROI of outlines ``(n, 2)`` in voxel indices, each with its place ``k``."""
    contours = []
    for outline, k in outlines:
        corners = np.asarray(outline, dtype=np.float64)
        points = grid.to_world(np.column_stack([corners, np.full(len(corners), k)]))
        contours.append(Contour(points, kind))
    return Structure(name, tuple(contours))


def _box(low: float, high: float) -> NDArray[np.float64]:
    return np.array([(low, low), (high, low), (high, high), (low, high)])


def _square(k: int, low: int, high: int) -> NDArray[np.bool_]:
    mask = np.zeros(OBLIQUE.shape, dtype=np.bool_)
    mask[low : high + 1, low : high + 1, k] = True
    return mask


def _codes(drawn: Regions) -> list[str]:
    return [finding.code for finding in drawn.findings]


@pytest.mark.parametrize("number", range(48))
def test_a_traced_mask_comes_back_in_every_orientation(tmp_path: Path, number: int) -> None:
    mask = rough_mask(SHAPE)
    drawn = _through_a_file(tmp_path / "rt", mask, _turned(number, (11.0, -17.0, 23.0)))
    np.testing.assert_array_equal(drawn.regions[0].mask, mask)


@settings(max_examples=40, deadline=None)
@given(
    mask=arrays(np.bool_, st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 4))),
    number=st.integers(0, 47),
    angles=st.tuples(*[st.floats(-45, 45)] * 3),
)
def test_any_mask_comes_back_from_any_angle(
    tmp_path_factory: pytest.TempPathFactory,
    mask: NDArray[np.bool_],
    number: int,
    angles: tuple[float, float, float],
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.dcm"
    drawn = _through_a_file(path, mask, _turned(number, angles))
    np.testing.assert_array_equal(drawn.regions[0].mask, mask)
    assert set(_codes(drawn)) <= {"nested_contours_as_holes"}


def test_a_sheared_image_gets_its_mask_too(tmp_path: Path) -> None:
    affine = oblique_affine()
    affine[:3, 2] += 0.6 * affine[:3, 0] - 0.25 * affine[:3, 1]
    mask = rough_mask(SHAPE)
    np.testing.assert_array_equal(_through_a_file(tmp_path / "rt", mask, affine).regions[0].mask, mask)


@pytest.mark.parametrize("kind", ["CLOSED_PLANAR", "CLOSEDPLANAR_XOR"])
def test_a_hole_and_an_island_in_it_come_from_nested_contours(kind: str) -> None:
    rings = [(_box(-0.5, 6.5), 2), (_box(1.5, 4.5), 2), (_box(2.5, 3.5), 2)]
    expected = _square(2, 0, 6) & ~_square(2, 2, 4) | _square(2, 3, 3)
    for order in (rings, rings[::-1]):
        drawn = rasterise((_draw(OBLIQUE, *order, kind=kind),), OBLIQUE)
        np.testing.assert_array_equal(drawn.regions[0].mask, expected)
        assert _codes(drawn) == ["nested_contours_as_holes"] * (kind == "CLOSED_PLANAR")


def test_a_keyhole_contour_has_its_hole_without_a_word() -> None:
    keyhole = np.vstack([_box(-0.5, 6.5), [(-0.5, -0.5), (1.5, 1.5)], _box(1.5, 4.5)[[3, 2, 1, 0]]])
    drawn = rasterise((_draw(OBLIQUE, (keyhole, 1)),), OBLIQUE)
    np.testing.assert_array_equal(drawn.regions[0].mask, _square(1, 0, 6) & ~_square(1, 2, 4))
    assert drawn.findings == ()


@pytest.mark.parametrize("grid", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_edges_through_centres_take_the_lower_side_at_any_angle(grid: Grid) -> None:
    drawn = rasterise((_draw(grid, (_box(1, 5), 3)),), grid)
    np.testing.assert_array_equal(drawn.regions[0].mask, _square(3, 1, 4))


HOURGLASS = _box(0.5, 5.5)[[0, 2, 1, 3]]


@pytest.mark.parametrize(
    "again",
    [
        _box(0.5, 5.5),
        np.roll(_box(0.5, 5.5), 2, axis=0),
        _box(0.5, 5.5)[::-1],
        np.vstack([_box(0.5, 5.5), _box(0.5, 5.5)[:1]]),
        np.repeat(_box(0.5, 5.5), 2, axis=0),
        _box(0.5, 5.5) + 1e-7,
    ],
    ids=["same", "other start", "reversed", "closed", "every point twice", "rounded otherwise"],
)
def test_a_contour_that_is_there_twice_counts_once(again: NDArray[np.float64]) -> None:
    drawn = rasterise((_draw(OBLIQUE, (_box(0.5, 5.5), 1), (again, 1)),), OBLIQUE)
    np.testing.assert_array_equal(drawn.regions[0].mask, _square(1, 1, 5))
    assert _codes(drawn) == ["contours_counted_once"]


def test_two_contours_with_the_same_corners_are_two() -> None:
    """A square and an hourglass share all four; what the hourglass covers is a hole."""
    alone = rasterise((_draw(OBLIQUE, (HOURGLASS, 1)),), OBLIQUE).regions[0].mask
    both = rasterise((_draw(OBLIQUE, (_box(0.5, 5.5), 1), (HOURGLASS, 1)),), OBLIQUE)
    assert 0 < alone.sum() < 25
    np.testing.assert_array_equal(both.regions[0].mask, _square(1, 1, 5) & ~alone)
    assert _codes(both) == ["nested_contours_as_holes"]


def test_one_outline_on_two_slices_or_in_two_rois_is_no_duplicate() -> None:
    first = _draw(OBLIQUE, (_box(0.5, 5.5), 1), (_box(0.5, 5.5), 3))
    drawn = rasterise((first, _draw(OBLIQUE, (_box(0.5, 5.5), 1), name="CTV")), OBLIQUE)
    np.testing.assert_array_equal(drawn.regions[0].mask, _square(1, 1, 5) | _square(3, 1, 5))
    np.testing.assert_array_equal(drawn.regions[1].mask, _square(1, 1, 5))
    assert drawn.findings == ()


@pytest.mark.parametrize(
    ("k", "slice_", "mm"), [(1.3, 1, "0.81"), (2.55, 3, "1.22"), (-0.4, 0, "1.08"), (4.45, 4, "1.22")]
)
def test_a_contour_between_slices_goes_to_the_nearest_with_a_finding(
    k: float, slice_: int, mm: str
) -> None:
    drawn = rasterise((_draw(OBLIQUE, (_box(0.5, 5.5), k)),), OBLIQUE)
    np.testing.assert_array_equal(drawn.regions[0].mask, _square(slice_, 1, 5))
    assert _codes(drawn) == ["contour_between_slices"]
    assert f"{mm} mm" in drawn.findings[0].message


def test_contours_half_way_between_slices_never_meet_on_one() -> None:
    outlines = [(_box(0.5, 5.5), k + 0.5) for k in range(4)]
    drawn = rasterise((_draw(OBLIQUE, *outlines),), OBLIQUE)
    np.testing.assert_array_equal(drawn.regions[0].mask.sum(axis=(0, 1)), [0, 25, 25, 25, 25])


@pytest.mark.parametrize(("k", "mm"), [(-0.6, "1.6"), (-3.0, "8.1"), (4.6, "1.6"), (6.0, "5.4")])
def test_a_contour_outside_the_slices_is_refused_with_its_distance(k: float, mm: str) -> None:
    with pytest.raises(LabelError, match=rf"lies {mm} mm outside"):
        rasterise((_draw(OBLIQUE, (_box(0.5, 5.5), k)),), OBLIQUE)


def test_contours_of_a_finer_image_are_refused_instead_of_cancelled() -> None:
    """Two equal outlines on one slice would be combined to nothing."""
    finer = [(_box(0.5, 5.5 + k), k) for k in (1.0, 1.4, 1.8)]
    with pytest.raises(LabelError, match=r"1\.08 mm apart fall on one slice of 2\.70 mm"):
        rasterise((_draw(OBLIQUE, *finer),), OBLIQUE)


def test_a_contour_across_slices_is_refused_with_its_span() -> None:
    outline = np.column_stack([_box(0.5, 5.5), [1.0, 1.0, 2.0, 2.0]])
    tilted = Structure("GTV", (Contour(OBLIQUE.to_world(outline), "CLOSED_PLANAR"),))
    with pytest.raises(LabelError, match=r"spans 2\.70 mm across slices"):
        rasterise((tilted,), OBLIQUE)


@pytest.mark.parametrize("kind", ["POINT", "OPEN_PLANAR", "OPEN_NONPLANAR", ""])
def test_an_open_contour_is_named_and_not_filled(kind: str) -> None:
    drawn = rasterise((_draw(OBLIQUE, (_box(0.5, 5.5), 1), kind=kind),), OBLIQUE)
    assert not drawn.regions[0].mask.any()
    assert _codes(drawn) == ["contour_not_filled"]
    assert (kind or "unnamed") in drawn.findings[0].message


def test_contours_outside_the_picture_are_cut_at_its_border() -> None:
    drawn = rasterise((_draw(OBLIQUE, (_box(-40, 3.5), 1), (_box(100, 200), 1)),), OBLIQUE)
    np.testing.assert_array_equal(drawn.regions[0].mask, _square(1, 0, 3))


@pytest.mark.data
def test_the_72_structures_of_sts_give_their_nifti_masks_exactly(data_folder: Path) -> None:
    folder = data_folder / "sts"
    index = scan([folder / "dicom"])
    images = {series.uid: series for series in index.series}
    wrong = []
    for annotation in index.annotations:
        (uid,) = annotation.referenced_series_uids
        patient, kind = annotation.path.relative_to(folder / "dicom").parts[:2]
        truth = nibabel.load(folder / "nifti_masks" / patient / f"{kind}_mask.nii.gz")
        assert isinstance(truth, nibabel.Nifti1Image)
        grid = images[uid].grid
        (region,) = rasterise(read_structures(annotation.path), grid).regions
        same_place = Grid.from_ras(grid.shape, np.asarray(truth.affine)).corner_distance_mm(grid) < 0.01
        if not same_place or not np.array_equal(np.asarray(truth.dataobj) > 0, region.mask):
            wrong.append(f"{patient} {kind}")
    assert len(index.annotations) == 72
    assert wrong == []
