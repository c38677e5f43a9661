"""What is written as RTSTRUCT comes back as the mask, and names whom and what its image names."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from lepton_monai.core.errors import GeometryError, ObjectError
from lepton_monai.core.grid import Grid
from lepton_monai.dicom import Series, scan
from lepton_monai.dicom.identity import is_uid
from lepton_monai.exports.dicom_object import Prediction
from lepton_monai.exports.rtstruct import write_rtstruct
from lepton_monai.labels.labelset import Mask
from lepton_monai.labels.rtstruct import rasterise, read_structures
from tests.phantoms import Phantom, orientations, rough_mask, tiny_ct

CLASSES = ("tumour", "Läsion, 2")


def two_classes(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return both classes, with holes, islands and voxels that touch by a corner."""
    classes = rough_mask(shape).astype(np.uint8)
    classes[rough_mask(shape, seed=3) & (classes == 0)] = 2
    return classes


def only_series(folder: Path) -> Series:
    """Return the series of a folder."""
    (series,) = scan([folder]).series
    return series


def prediction_of(series: Series, classes: NDArray[np.uint8] | None = None) -> Prediction:
    """Return the prediction of a model for a series: both classes, or what is given."""
    mask = Mask(two_classes(series.grid.shape) if classes is None else classes, series.grid)
    return Prediction(mask, series, CLASSES, "ab" * 32, "1.2.3")


def _written(image: Phantom, folder: Path, classes: NDArray[np.uint8] | None = None) -> tuple[Path, Series]:
    series = only_series(image.paths[0].parent)
    write_rtstruct(prediction_of(series, classes), folder / "rtstruct.dcm")
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
    assert [region.names for region in drawn.regions] == [(name,) for name in CLASSES]
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


def test_the_same_prediction_has_the_same_uid_and_any_other_its_own(tmp_path: Path) -> None:
    series = only_series(tiny_ct(tmp_path / "ct").paths[0].parent)
    other = two_classes(series.grid.shape)
    other[0, 0, 0] = 1 - other[0, 0, 0]
    first, again, changed = prediction_of(series), prediction_of(series), prediction_of(series, other)
    by_another = Prediction(first.mask, series, CLASSES, "cd" * 32, "1.2.3")
    uids = [one.uid("SEG") for one in (first, again, changed, by_another)]
    assert uids[0] == uids[1]
    assert len({*uids, first.uid("RTSTRUCT")}) == 4
    assert all(is_uid(one) for one in uids)


def test_a_long_contour_stays_what_it_is(tmp_path: Path) -> None:
    """An explicit DS ends at 64 KB: pydicom would write more as UN without a word."""
    stored = np.broadcast_to(np.arange(3, dtype=np.int16), (130, 130, 3))
    series = only_series(tiny_ct(tmp_path / "ct", stored=stored).paths[0].parent)
    classes = np.zeros(series.grid.shape, np.uint8)
    classes[1:-1, 1:-1, 1] = 1
    classes[2:-2:3, 2:-2:3, 1] = 0  # holes, which one contour holds
    write_rtstruct(prediction_of(series, classes), tmp_path / "rtstruct.dcm")
    (contour,) = dcmread(tmp_path / "rtstruct.dcm").ROIContourSequence[0].ContourSequence
    assert contour.NumberOfContourPoints > 10_000
    assert contour["ContourData"].VR == "DS"
    _require_mask(tmp_path / "rtstruct.dcm", series, classes)


def test_a_mask_on_another_grid_is_refused(tmp_path: Path) -> None:
    series = only_series(tiny_ct(tmp_path / "ct").paths[0].parent)
    moved = series.grid.affine.copy()
    moved[0, 3] += 1.0
    mask = Mask(two_classes(series.grid.shape), Grid(series.grid.shape, moved))
    with pytest.raises(GeometryError):
        Prediction(mask, series, CLASSES, "ab" * 32, "1.2.3")


def test_a_class_without_a_voxel_is_an_roi_without_contours(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct")
    path, series = _written(image, tmp_path, np.zeros(image.shape, np.uint8))
    assert all("ContourSequence" not in one for one in dcmread(path).ROIContourSequence)
    _require_mask(path, series, np.zeros(image.shape, np.uint8))


@pytest.mark.parametrize("keyword", ["FrameOfReferenceUID", "StudyInstanceUID"])
def test_an_image_without_what_it_is_found_by_is_refused_by_name(tmp_path: Path, keyword: str) -> None:
    image = tiny_ct(tmp_path / "ct", per_slice=lambda _, dataset: delattr(dataset, keyword))
    with pytest.raises(ObjectError, match=f"{keyword} of its image is absent or no UID"):
        _written(image, tmp_path)
    assert not (tmp_path / "rtstruct.dcm").exists()


def test_what_the_source_says_twice_is_copied_as_it_is(tmp_path: Path) -> None:
    image = tiny_ct(tmp_path / "ct", per_slice=lambda _, dataset: setattr(dataset, "StudyID", "A\\B"))
    path, _ = _written(image, tmp_path)
    assert dcmread(path).StudyID == dcmread(image.paths[0]).StudyID
