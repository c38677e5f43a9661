"""What is written as SEG comes back as the mask, by highdicom's reading and by ours."""

from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset

from lepton_monai.core.errors import ObjectError
from lepton_monai.dicom import Series, scan
from lepton_monai.exports.seg import write_seg
from lepton_monai.labels.seg import read_segments
from tests.dicom.catalogue import CATALOGUE
from tests.exports.test_rtstruct import CLASSES, only_series, prediction_of, two_classes
from tests.phantoms import orientations, tiny_ct


def _written(series: Series, folder: Path, classes: NDArray[np.uint8] | None = None) -> Path:
    write_seg(prediction_of(series, classes), folder / "mask.seg.dcm")
    return folder / "mask.seg.dcm"


def _require_mask(path: Path, series: Series, classes: NDArray[np.uint8]) -> None:
    drawn = read_segments(path, series.grid)
    assert [region.names[0] for region in drawn.regions] == list(CLASSES)
    for number, region in enumerate(drawn.regions, start=1):
        np.testing.assert_array_equal(region.mask, classes == number)


@pytest.mark.parametrize("directions", orientations(), ids=str)
def test_orientations_come_back(tmp_path: Path, directions: NDArray[np.float64]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = directions * [0.9, 1.3, 2.7]
    tiny_ct(tmp_path / "ct", affine_lps=affine)
    series = only_series(tmp_path / "ct")
    _require_mask(_written(series, tmp_path), series, two_classes(series.grid.shape))


def test_highdicom_finds_each_slice_by_the_instance_it_was_made_of(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    series = only_series(tmp_path / "ct")
    seg = hd.seg.segread(_written(series, tmp_path))
    frames = seg.get_pixels_by_source_instance(image.sop_uids, assert_missing_frames_are_empty=True)
    classes = two_classes(image.shape).transpose(2, 1, 0)
    np.testing.assert_array_equal(frames, np.stack([classes == 1, classes == 2], axis=-1))


def test_who_it_is_about_and_what_made_it_is_said(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    seg = hd.seg.segread(_written(only_series(tmp_path / "ct"), tmp_path))
    source = dcmread(image.paths[0])
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg.get(keyword) == source.get(keyword)
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID
    assert [one.SegmentLabel for one in seg.SegmentSequence] == list(CLASSES)
    assert {one.SegmentAlgorithmType for one in seg.SegmentSequence} == {"AUTOMATIC"}
    assert seg.DeviceSerialNumber == "ab" * 8


def test_an_empty_mask_is_a_segment_without_a_voxel(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    series = only_series(tmp_path / "ct")
    classes = np.zeros(image.shape, np.uint8)
    _require_mask(_written(series, tmp_path, classes), series, classes)


@pytest.mark.parametrize(
    "name", ["enhanced CT, oblique", "shuffled frames, oblique", "enhanced MR, echoes"]
)
def test_each_frame_of_one_file_is_named(tmp_path: Path, name: str) -> None:
    CATALOGUE[name].write(tmp_path / "ct")
    series = scan([tmp_path / "ct"]).series[-1]
    path = _written(series, tmp_path)
    _require_mask(path, series, two_classes(series.grid.shape))
    source = dcmread(series.headers[0].path).PerFrameFunctionalGroupsSequence
    for frame in dcmread(path).PerFrameFunctionalGroupsSequence:
        (named,) = frame.DerivationImageSequence[0].SourceImageSequence
        origin = source[named.ReferencedFrameNumber - 1].PlanePositionSequence[0]
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(position, origin.ImagePositionPatient, atol=1e-9)


def test_a_header_that_does_not_bear_it_is_refused_without_its_values(tmp_path: Path) -> None:
    tiny_ct(tmp_path / "ct", per_slice=lambda _, dataset: delattr(dataset, "PatientName"))
    _written(only_series(tmp_path / "ct"), tmp_path)  # which may be absent
    tiny_ct(tmp_path / "other", per_slice=lambda _, dataset: delattr(dataset, "FrameOfReferenceUID"))
    with pytest.raises(ObjectError, match="FrameOfReferenceUID of its image is absent or no UID"):
        _written(only_series(tmp_path / "other"), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def _geometry(path: Path) -> tuple[float, float, list[float]]:
    shared = dcmread(path).SharedFunctionalGroupsSequence[0]
    measures = shared.PixelMeasuresSequence[0]
    spacing = [float(one) for one in measures.PixelSpacing]
    return float(measures.SliceThickness), float(measures.SpacingBetweenSlices), spacing


def test_the_spacing_is_that_of_the_positions_whatever_the_header_says(tmp_path: Path) -> None:
    def lie(_: int, dataset: Dataset) -> None:
        dataset.SliceThickness, dataset.SpacingBetweenSlices = 10.0, 10.0

    tiny_ct(tmp_path / "ct", per_slice=lie)
    thickness, between, spacing = _geometry(_written(only_series(tmp_path / "ct"), tmp_path))
    np.testing.assert_allclose([thickness, between, *spacing], [2.7, 2.7, 1.3, 0.9], rtol=1e-6)


def test_an_absent_thickness_and_a_jitter_of_directions_are_borne(tmp_path: Path) -> None:
    def worse(k: int, dataset: Dataset) -> None:
        del dataset.SliceThickness
        if k == 2:
            first, *rest = dataset.ImageOrientationPatient
            dataset.ImageOrientationPatient = [round(float(first) + 1e-5, 6), *rest]

    tiny_ct(tmp_path / "ct", per_slice=worse)
    series = only_series(tmp_path / "ct")
    _require_mask(_written(series, tmp_path), series, two_classes(series.grid.shape))


@pytest.mark.parametrize("name", ["mosaic of 9, axial"])
def test_the_tiles_of_a_mosaic_are_refused(tmp_path: Path, name: str) -> None:
    CATALOGUE[name].write(tmp_path / "mr")
    with pytest.raises(ObjectError, match="tiles of a mosaic"):
        _written(only_series(tmp_path / "mr"), tmp_path)
