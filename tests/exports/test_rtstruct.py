"""What is written as RTSTRUCT comes back as the mask, and names whom and what its image names."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from lepton_monai.core.errors import ObjectError
from lepton_monai.dicom import Series, scan
from lepton_monai.exports.dicom_object import Maker
from lepton_monai.exports.rtstruct import write_rtstruct
from lepton_monai.labels.labelset import Mask
from lepton_monai.labels.rtstruct import rasterise, read_structures
from tests.phantoms import Phantom, orientations, rough_mask, tiny_ct

MAKER = Maker("ab" * 32, ("tumour", "Läsion, 2"))


def two_classes(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return both classes, with holes, islands and voxels that touch by a corner."""
    classes = rough_mask(shape).astype(np.uint8)
    classes[rough_mask(shape, seed=3) & (classes == 0)] = 2
    return classes


def only_series(folder: Path) -> Series:
    """Return the series of a folder."""
    (series,) = scan([folder]).series
    return series


def _written(image: Phantom, folder: Path, classes: NDArray[np.uint8] | None = None) -> tuple[Path, Series]:
    series = only_series(image.paths[0].parent)
    mask = Mask(two_classes(series.grid.shape) if classes is None else classes, series.grid)
    write_rtstruct(mask, series, MAKER, folder / "rtstruct.dcm")
    return folder / "rtstruct.dcm", series


@pytest.mark.parametrize("directions", orientations(), ids=str)
def test_every_orientation_comes_back(tmp_path: Path, directions: NDArray[np.float64]) -> None:
    affine = np.eye(4)
    affine[:3, :3] = directions * [0.9, 1.3, 2.7]
    path, series = _written(tiny_ct(tmp_path / "ct", affine_lps=affine), tmp_path)
    _require_mask(path, series, two_classes(series.grid.shape))


def test_an_oblique_one_too(tmp_path: Path) -> None:
    path, series = _written(tiny_ct(tmp_path / "ct"), tmp_path)
    _require_mask(path, series, two_classes(series.grid.shape))


def _require_mask(path: Path, series: Series, classes: NDArray[np.uint8]) -> None:
    drawn = rasterise(read_structures(path), series.grid)
    assert [region.names for region in drawn.regions] == [(name,) for name in MAKER.classes]
    for number, region in enumerate(drawn.regions, start=1):
        np.testing.assert_array_equal(region.mask, classes == number)
    # Each contour holds its holes by itself, for readers that don't combine contours.
    assert drawn.findings == ()


def test_each_contour_names_the_slice_that_it_lies_on(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    path, series = _written(image, tmp_path)
    dataset = dcmread(path)
    for roi in dataset.ROIContourSequence:
        for contour in roi.ContourSequence:
            (named,) = contour.ContourImageSequence
            points = np.array(contour.ContourData, dtype=float).reshape(-1, 3)
            k = image.sop_uids.index(named.ReferencedSOPInstanceUID)
            np.testing.assert_allclose(series.grid.to_index(points)[:, 2], k, atol=1e-3)
            assert contour.NumberOfContourPoints == len(points)
    (frame,) = dataset.ReferencedFrameOfReferenceSequence
    (inside,) = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence
    assert inside.SeriesInstanceUID == image.series_uid
    assert {one.ReferencedSOPInstanceUID for one in inside.ContourImageSequence} == set(image.sop_uids)


def test_patient_and_study_are_those_of_the_image(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    path, _ = _written(image, tmp_path)
    dataset, source = dcmread(path), dcmread(image.paths[0])
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "StudyDate"):
        assert dataset.get(keyword) == source.get(keyword)
    assert dataset.FrameOfReferenceUID == image.who.frame_of_reference_uid
    assert dataset.StructureSetROISequence[1].ROIName == "Läsion, 2"
    assert dataset.StructureSetROISequence[0].ROIGenerationAlgorithm == "AUTOMATIC"
    assert dataset.ApprovalStatus == "UNAPPROVED"


def test_the_same_model_gives_the_same_uid_and_another_one_its_own(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    first, series = _written(image, tmp_path / "a")
    again, _ = _written(image, tmp_path / "b")
    assert dcmread(first).SOPInstanceUID == dcmread(again).SOPInstanceUID
    assert Maker("cd" * 32, MAKER.classes).uid(series, "RTSTRUCT") != dcmread(first).SOPInstanceUID


def test_a_class_without_a_voxel_is_an_roi_without_contours(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    path, series = _written(image, tmp_path, np.zeros(image.shape, np.uint8))
    assert all("ContourSequence" not in one for one in dcmread(path).ROIContourSequence)
    _require_mask(path, series, np.zeros(image.shape, np.uint8))


def test_an_image_without_a_frame_of_reference_is_refused_by_name(tmp_path: Path) -> None:
    def without(_: int, dataset: object) -> None:
        del dataset.FrameOfReferenceUID  # type: ignore[attr-defined] # pydicom's data set

    image = tiny_ct(tmp_path / "ct", per_slice=without)
    with pytest.raises(ObjectError, match="no frame of reference"):
        _written(image, tmp_path)
    assert not (tmp_path / "rtstruct.dcm").exists()
