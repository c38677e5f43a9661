"""The report gives each class's volume, and names the segment that it is of."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from lepton_monai.exports.seg import write_seg
from lepton_monai.exports.sr import write_sr
from tests.exports.test_rtstruct import CLASSES, only_series, prediction_of, two_classes
from tests.phantoms import tiny_ct


@pytest.fixture
def both(tmp_path: Path) -> tuple[Dataset, Dataset]:
    tiny_ct(tmp_path / "ct")
    series = only_series(tmp_path / "ct")
    write_seg(prediction_of(series), tmp_path / "seg.dcm")
    write_sr(prediction_of(series), tmp_path / "sr.dcm")
    return dcmread(tmp_path / "sr.dcm"), dcmread(tmp_path / "seg.dcm")


def named_items(item: Dataset, meaning: str) -> list[Dataset]:
    """Return the content items of a name, wherever they stand."""
    found = []
    for child in item.get("ContentSequence", []):
        named = child.get("ConceptNameCodeSequence")
        if named and named[0].CodeMeaning == meaning:
            found.append(child)
        found += named_items(child, meaning)
    return found


def test_each_volume_is_that_of_its_voxels(both: tuple[Dataset, Dataset]) -> None:
    report, _ = both
    classes = two_classes((7, 6, 5))
    volumes = [float(item.MeasuredValueSequence[0].NumericValue) for item in named_items(report, "Volume")]
    voxel_cm3 = 0.9 * 1.3 * 2.7 / 1000
    counts = np.array([(classes == 1).sum(), (classes == 2).sum()])
    np.testing.assert_allclose(volumes, counts * voxel_cm3, rtol=1e-5)
    assert [
        item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue
        for item in named_items(report, "Volume")
    ] == ["cm3", "cm3"]
    assert [item.TextValue for item in named_items(report, "Tracking Identifier")] == list(CLASSES)


def test_it_refers_to_the_segments_of_the_seg(both: tuple[Dataset, Dataset]) -> None:
    report, seg = both
    named = [item.ReferencedSOPSequence[0] for item in named_items(report, "Referenced Segment")]
    assert [one.ReferencedSOPInstanceUID for one in named] == [seg.SOPInstanceUID] * 2
    assert [one.ReferencedSegmentNumber for one in named] == [1, 2]
    (study,) = report.CurrentRequestedProcedureEvidenceSequence
    (inside,) = study.ReferencedSeriesSequence
    assert (study.StudyInstanceUID, inside.SeriesInstanceUID) == (
        seg.StudyInstanceUID,
        seg.SeriesInstanceUID,
    )
    assert inside.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == seg.SOPInstanceUID


def test_it_is_about_the_patient_of_its_image_and_not_verified(both: tuple[Dataset, Dataset]) -> None:
    report, seg = both
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID"):
        assert report.get(keyword) == seg.get(keyword)
    assert report.VerificationFlag == "UNVERIFIED"


def test_a_small_voxel_is_no_zero(tmp_path: Path) -> None:
    tiny_ct(tmp_path / "ct", affine_lps=np.diag([0.1, 0.1, 0.1, 1.0]))
    series = only_series(tmp_path / "ct")
    classes = np.zeros(series.grid.shape, np.uint8)
    classes[2, 2, 2] = 1
    write_sr(prediction_of(series, classes), tmp_path / "sr.dcm")
    volumes = named_items(dcmread(tmp_path / "sr.dcm"), "Volume")
    found = [float(item.MeasuredValueSequence[0].NumericValue) for item in volumes]
    np.testing.assert_allclose(found, [1e-6, 0.0], rtol=1e-5)
