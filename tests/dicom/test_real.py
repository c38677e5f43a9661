"""Real series of many vendors beside another converter's opinion; the headers decide between the two."""

import re
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from lepton_monai.core.grid import SAME_GRID_MM
from lepton_monai.core.volume import Volume
from lepton_monai.dicom import Series, read_series, regularise, repair, scan
from tests.dicom.changed import codes, the_series, the_volume

pytestmark = pytest.mark.data

EQUAL = {
    "failing/slicecount/001": 1,
    "vendors/ge/anatomical/001": 1,
    "vendors/ge/dti/001": 2,
    "vendors/generic/anatomical/001": 1,
    "vendors/generic/anatomical/001_implicit": 1,
    "vendors/generic/anatomical/002_non_isotropic": 1,
    "vendors/generic/compressed_j2k/001": 1,
    "vendors/generic/compressed_jpeg/001": 1,
    "vendors/generic/compressed_jpegls/001": 1,
    "vendors/generic/compressed_rle/001": 1,
    "vendors/hitachi/anatomical/001": 1,
    "vendors/hyperfine/anatomical/001": 1,
    "vendors/philips/anatomical/001": 1,
    "vendors/philips/dti/001": 4,
    "vendors/philips/dti/002": 4,
    "vendors/philips_enhanced/anatomical/001": 1,
    "vendors/philips_enhanced/anatomical/001_implicit": 1,
    "vendors/philips_enhanced/fmri/001": 4,
    "vendors/siemens/anatomical/001": 1,
    "vendors/siemens/dti_classic/001": 2,
    "vendors/siemens/fmri_classic/001": 2,
    "vendors/siemens_multiframe/anatomical/001": 1,
}
"""Folder and number of volumes: affine and values are those of the ground truth."""

EQUAL_ON_REQUEST = {
    "vendors/ge/dti/002": 4,
    "vendors/ge/fmri/001": 2,
    "vendors/philips/fmri/001": 4,
}
"""No element tells their volumes apart: `by_instance_number` does."""

DIFFERENT = {
    "vendors/philips_enhanced/dti/001": "the truth has its last direction first, and three empty volumes",
    "vendors/siemens/dti/001": "the truth turns the tiles over and leaves the first position where it was",
    "vendors/siemens/fmri/001": "the same",
    "failing/sliceincrement/002": "the truth invents the missing slice, and its step is the tilted one",
}

REFUSED = {
    "failing/gantrytilting/001": "gantry_tilt",
    "failing/notavolume/001": "conflicting_duplicate",
    "failing/sliceincrement/001": "missing_slice",
    "failing/sliceincrement/002": "missing_slice",
    "vendors/ge/anatomical/001_single_slice": "unknown_slice_spacing",
    **dict.fromkeys(EQUAL_ON_REQUEST, "conflicting_duplicate"),
}

PASSED_OVER = {"vendors/generic/rgb/001": "colour"}


def _truth(folder: Path) -> nibabel.Nifti1Image:
    image = nibabel.load(folder.with_name(f"{folder.name}_ground_truth.nii.gz"))
    assert isinstance(image, nibabel.Nifti1Image)
    return image


def _upright(array: NDArray[np.generic], affine_ras: NDArray[np.float64]) -> nibabel.Nifti1Image:
    """Bring an image to the nearest axes: two converters may run along them in other directions."""
    image = nibabel.as_closest_canonical(nibabel.Nifti1Image(np.asarray(array, np.float64), affine_ras))
    assert isinstance(image, nibabel.Nifti1Image)
    return image


def _differences(volumes: list[Volume], truth: nibabel.Nifti1Image) -> tuple[float, float]:
    """Return how far apart corners lie in mm, and values in parts of the largest."""
    ours = [_upright(volume.array, volume.grid.ras()) for volume in volumes]
    expected = _upright(np.asarray(truth.dataobj), np.asarray(truth.affine))
    values = np.stack([np.asarray(one.dataobj) for one in ours], axis=-1)
    wanted = np.asarray(expected.dataobj).reshape(values.shape)
    last = [*(extent - 1 for extent in values.shape[:3]), 1]
    ends = np.array([[0.0, 0.0, 0.0, 1.0], last])
    apart = [ends @ (np.asarray(one.affine) - np.asarray(expected.affine)).T for one in ours]
    return float(np.abs(apart).max()), float(np.abs(values - wanted).max() / np.abs(wanted).max())


def _positions_in_protocol(path: Path, count: int) -> NDArray[np.float64]:
    """Return where the protocol of a Siemens scanner puts the middle of each slice, LPS, mm."""
    header = pydicom.dcmread(path)[0x0029, 0x1020].value.decode("latin-1")
    pattern = r"asSlice\[{}\]\.sPosition\.d{}\s*=\s*(\S+)"
    axes = ("Sag", "Cor", "Tra")
    found = [[re.search(pattern.format(k, axis), header) for axis in axes] for k in range(count)]
    return np.array([[float(one[1]) for one in row if one] for row in found])


def test_every_ground_truth_is_in_one_of_the_tables(data_folder: Path) -> None:
    root = data_folder / "series"
    ending = "_ground_truth.nii.gz"
    there = {str(path.relative_to(root)).removesuffix(ending) for path in root.rglob(f"*{ending}")}
    assert there <= {*EQUAL, *DIFFERENT, *REFUSED, *PASSED_OVER}
    assert len(there) == 31


@pytest.mark.parametrize(("folder", "count"), EQUAL.items())
def test_the_volumes_are_those_of_the_ground_truth(data_folder: Path, folder: str, count: int) -> None:
    place = data_folder / "series" / folder
    index = scan([place])
    assert (len(index.series), index.refused, index.findings) == (count, (), ())
    apart_mm, difference = _differences([read_series(one) for one in index.series], _truth(place))
    assert apart_mm < 2e-3  # positions are rounded to 0.001 mm in some headers, and by the other converter
    assert difference < 2e-7  # float32


@pytest.mark.parametrize(("folder", "count"), EQUAL_ON_REQUEST.items())
def test_volumes_that_no_element_tells_apart_are_those_of_the_ground_truth_on_request(
    data_folder: Path, folder: str, count: int
) -> None:
    place = data_folder / "series" / folder
    (refused,) = scan([place]).refused
    found = repair(refused, {"by_instance_number"})
    assert len(found) == count
    assert all("split_by_instance_number" in codes(series) for series in found)
    apart_mm, difference = _differences([read_series(one) for one in found], _truth(place))
    assert (apart_mm < 2e-3, difference) == (True, 0.0)


@pytest.mark.parametrize(("folder", "code"), REFUSED.items())
def test_what_is_no_volume_is_refused_by_its_name(data_folder: Path, folder: str, code: str) -> None:
    index = scan([data_folder / "series" / folder])
    assert index.series == ()
    assert [refused.finding.code for refused in index.refused] == [code]


@pytest.mark.parametrize(("folder", "code"), PASSED_OVER.items())
def test_what_is_no_slice_is_passed_over_by_its_name(data_folder: Path, folder: str, code: str) -> None:
    index = scan([data_folder / "series" / folder])
    assert (index.series, index.refused) == ((), ())
    assert {finding.code for finding in index.findings} == {code}


@pytest.mark.parametrize("kind", ["dti", "fmri"])
def test_the_tiles_of_a_mosaic_lie_where_the_protocol_of_the_scanner_puts_its_slices(
    data_folder: Path, kind: str
) -> None:
    place = data_folder / "series" / "vendors" / "siemens" / kind / "001"
    series = scan([place]).series
    assert len(series) == 2
    columns, rows, count = series[0].grid.shape
    middles = series[0].grid.to_world([(columns / 2, rows / 2, k) for k in range(count)])
    protocol = _positions_in_protocol(series[0].headers[0].path, count)
    np.testing.assert_allclose(middles, protocol, atol=1e-5)
    # The other converter has the same values, one stack too high: its first slice is our last.
    apart_mm, difference = _differences([read_series(one) for one in series], _truth(place))
    assert difference == 0
    assert apart_mm == pytest.approx((count - 1) * series[0].grid.spacing_mm[2], rel=0.02)


def test_the_directions_of_an_enhanced_series_are_volumes_of_their_own(data_folder: Path) -> None:
    place = data_folder / "series/vendors/philips_enhanced/dti/001"
    (path,) = place.iterdir()
    dataset = pydicom.dcmread(path)
    index = scan([place])
    assert len(index.series) == 4
    of_frames: dict[tuple[float, ...], list[int]] = {}
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        found = frame.MRDiffusionSequence[0].get("DiffusionGradientDirectionSequence")
        direction = tuple(map(float, found[0].DiffusionGradientOrientation)) if found else ()
        of_frames.setdefault(direction, []).append(number)
    slope = float(
        dataset.PerFrameFunctionalGroupsSequence[0].PixelValueTransformationSequence[0].RescaleSlope
    )
    for series in index.series:
        frames = of_frames[series.headers[0].acquisition.b_value[1] or ()]
        expected = dataset.pixel_array[frames].T * slope
        np.testing.assert_allclose(read_series(series).array, expected, rtol=1e-6)
    truth = np.asarray(_truth(place).dataobj)
    assert (truth[..., 0].max() > 0, truth[..., 1:].max()) == (True, 0)


def test_a_tilted_stack_with_a_gap_is_resampled_along_its_normal_and_the_gap_stays_empty(
    data_folder: Path,
) -> None:
    place = data_folder / "series/failing/sliceincrement/002"
    (refused,) = scan([place]).refused
    assert regularise(refused) is None
    volume = regularise(refused, fill_gaps=True)
    assert volume is not None
    assert volume.valid is not None
    assert [bool(volume.valid[:, :, k].any()) for k in range(5)] == [True, True, True, False, True]
    slices = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(place.iterdir())]
    orientation = np.array(slices[0].ImageOrientationPatient, float)
    normal = np.cross(orientation[:3], orientation[3:])
    step = np.subtract(slices[1].ImagePositionPatient, slices[0].ImagePositionPatient) @ normal
    assert volume.grid.spacing_mm[2] == pytest.approx(step, abs=1e-4)
    # The other converter takes the length of the tilted step: 3.8 % too thick.
    assert np.linalg.norm(np.asarray(_truth(place).affine)[:3, 2]) == pytest.approx(
        step / 0.96363, rel=1e-4
    )


def test_two_planes_in_one_series_are_two_volumes(data_folder: Path) -> None:
    index = scan([data_folder / "series/failing/sliceorientation"])
    assert index.refused == ()
    assert [one.grid.shape for one in index.series] == [(288, 288, 2)] * 2
    assert all(codes(one) == ["mixed_orientation", "two_slices"] for one in index.series)


@pytest.mark.parametrize("size", ["24x38x3", "23x38x3"])
def test_a_multi_frame_ct_is_its_classic_twin(data_folder: Path, size: str) -> None:
    place = data_folder / "series/dcmqi/segmentations" / size
    classic, multi_frame = the_volume(place / "image"), the_volume(place / "multiframe")
    assert classic.grid.corner_distance_mm(multi_frame.grid) < SAME_GRID_MM
    np.testing.assert_array_equal(classic.array, multi_frame.array)


def test_a_ct_with_padding_is_that_of_simpleitk_where_it_is_valid(data_folder: Path) -> None:
    series = the_series(data_folder / "series/dcmqi/segmentations/ct-3slice")
    volume = read_series(series)
    expected = sitk.GetArrayFromImage(sitk.ReadImage(_paths(series))).T
    assert volume.valid is not None
    np.testing.assert_array_equal(volume.array[volume.valid], expected[volume.valid])
    assert expected[~volume.valid].max() < volume.array.min()


def _paths(series: Series) -> list[str]:
    return [str(header.path) for header in series.headers]


def test_every_other_real_file_ends_in_a_volume_or_a_finding(data_folder: Path) -> None:
    index = scan([data_folder / "series"])
    volumes = [read_series(series) for series in index.series]
    print(f"{index.files} files: {len(volumes)} volumes, {len(index.refused)} refused series")
    assert all(np.isfinite(volume.array).all() for volume in volumes)
    assert (len(volumes), len(index.refused)) == (46, 8)
