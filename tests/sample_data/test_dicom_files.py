"""The builders that every other test trusts, against pydicom, SimpleITK and matplotlib."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from sample_data.dicom_files import identity
from sample_data.outlines import outlines
from tests.phantoms import (
    Dose,
    oblique_affine,
    on_slice,
    orientations,
    rough_mask,
    tiny_ct,
    tiny_mr,
    tiny_pet,
    tiny_rtstruct,
    tiny_seg,
    unique_values,
)

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
)


@pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.uint8])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda syntax: syntax.name)
def test_pydicom_decodes_the_stored_values_of_every_syntax(
    tmp_path: Path, syntax: pydicom.uid.UID, dtype: type
) -> None:
    stored = unique_values(dtype=dtype, lowest=-90 if dtype is np.int16 else 0)
    phantom = tiny_ct(tmp_path, stored=stored, transfer_syntax=syntax)
    for k, path in enumerate(phantom.paths):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == syntax
        assert dataset.SOPInstanceUID == phantom.sop_uids[k]
        np.testing.assert_array_equal(dataset.pixel_array.T, stored[:, :, k])


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless], ids=lambda syntax: syntax.name)
def test_negative_values_of_thirteen_bits_survive(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    stored = unique_values(lowest=-100)
    phantom = tiny_ct(tmp_path, stored=stored, transfer_syntax=syntax, bits_stored=13)
    for k, path in enumerate(phantom.paths):
        np.testing.assert_array_equal(pydicom.dcmread(path).pixel_array.T, stored[:, :, k])


@pytest.mark.parametrize("turned", orientations(), ids=lambda turned: str(turned.astype(int).tolist()))
def test_simpleitk_finds_every_voxel_where_the_affine_says(
    tmp_path: Path, turned: NDArray[np.float64]
) -> None:
    affine = oblique_affine()
    affine[:3, :3] = turned * [0.9, 1.3, 2.7]
    phantom = tiny_ct(tmp_path, affine_lps=affine)
    for k, path in enumerate(phantom.paths):
        image = sitk.ReadImage(str(path))
        for i, j in ((0, 0), (4, 1)):
            point = image.TransformIndexToPhysicalPoint((i, j, 0))
            np.testing.assert_allclose(point, (affine @ [i, j, k, 1.0])[:3], atol=1e-9)
            assert image.GetPixel(i, j, 0) == phantom.values[i, j, k]


def test_there_are_forty_eight_orientations_half_of_them_right_handed() -> None:
    handedness = [round(np.linalg.det(turned)) for turned in orientations()]
    assert len({turned.tobytes() for turned in orientations()}) == 48
    assert (handedness.count(1), handedness.count(-1)) == (24, 24)


def test_the_oblique_affine_has_its_spacing_and_no_two_axes_meet_at_another_angle_than_ninety() -> None:
    affine = oblique_affine((0.9, 1.3, 2.7))
    np.testing.assert_allclose(
        affine[:3, :3].T @ affine[:3, :3], np.diag(np.square([0.9, 1.3, 2.7])), atol=1e-12
    )


def test_an_mr_has_no_rescale_and_a_pet_has_another_one_in_each_slice(tmp_path: Path) -> None:
    assert "RescaleSlope" not in pydicom.dcmread(tiny_mr(tmp_path / "mr").paths[0])
    pet = tiny_pet(tmp_path / "pet")
    datasets = [pydicom.dcmread(path) for path in pet.paths]
    assert len({float(dataset.RescaleSlope) for dataset in datasets}) == len(datasets)
    for k, dataset in enumerate(datasets):
        values = dataset.pixel_array.T * float(dataset.RescaleSlope)
        np.testing.assert_allclose(values, pet.values[:, :, k], rtol=1e-12)
        assert (dataset.Units, dataset.SUVType) == ("GML", "BW")


def test_a_dose_of_one_half_life_ago_doubles_the_suv() -> None:
    dose = Dose(weight_kg=70.0, activity_bq=7.0e4, half_life_s=3600.0, injected="091500", scanned="101500")
    assert dose.suv_per_bq_ml == pytest.approx(2.0)


def test_a_pet_in_bq_per_ml_carries_what_the_suv_needs(tmp_path: Path) -> None:
    dose = Dose()
    dataset = pydicom.dcmread(tiny_pet(tmp_path, dose=dose, extra={"PatientSize": None}).paths[1])
    drug = dataset.RadiopharmaceuticalInformationSequence[0]
    assert (dataset.Units, dataset.DecayCorrection) == ("BQML", "START")
    assert float(drug.RadionuclideTotalDose) == dose.activity_bq
    assert dataset.PatientWeight == dose.weight_kg


def test_the_same_call_writes_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("first", "second"):
        phantom = tiny_ct(tmp_path / folder)
        tiny_rtstruct(tmp_path / folder / "rtstruct", phantom)
        tiny_seg(tmp_path / folder / "seg", phantom)
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert len(names) == 7
    for name in names:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


def test_other_texts_give_other_identities() -> None:
    one, other = identity("one"), identity("other", patient_id="SAME")
    assert one.study_uid != other.study_uid
    assert other.patient_id == "SAME"
    assert max(map(len, (one.study_uid, one.frame_of_reference_uid))) <= 64


def test_a_slice_is_changed_alone_and_the_file_meta_follow(tmp_path: Path) -> None:
    def rename(dataset: pydicom.Dataset) -> None:
        dataset.SOPInstanceUID = "1.2.3"

    phantom = tiny_ct(tmp_path, per_slice=on_slice(2, rename), extra={"StudyID": None})
    found = [pydicom.dcmread(path) for path in phantom.paths]
    assert [dataset.SOPInstanceUID == "1.2.3" for dataset in found] == [k == 2 for k in range(5)]
    assert found[2].file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert "StudyID" not in found[0]


@given(arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 7))))
def test_the_outlines_of_any_mask_fill_to_the_mask(mask: NDArray[np.bool_]) -> None:
    centres = np.argwhere(np.ones_like(mask))
    filled = np.zeros(len(centres), dtype=bool)
    for polygon in outlines(mask):
        closed = np.vstack([polygon, polygon[:1]])
        filled ^= Polygon(closed, closed=True).contains_points(centres)
    np.testing.assert_array_equal(filled.reshape(mask.shape), mask)


def test_an_rtstruct_refers_to_the_instances_of_its_image(tmp_path: Path) -> None:
    phantom = tiny_ct(tmp_path / "ct")
    mask = rough_mask()
    structures = pydicom.dcmread(tiny_rtstruct(tmp_path / "rtstruct", phantom, {"GTV": mask}))
    frame = structures.ReferencedFrameOfReferenceSequence[0]
    series = frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == phantom.series_uid
    uids = [item.ReferencedSOPInstanceUID for item in series.ContourImageSequence]
    assert uids == phantom.sop_uids
    drawn_on = {
        contour.ContourImageSequence[0].ReferencedSOPInstanceUID
        for contour in structures.ROIContourSequence[0].ContourSequence
    }
    assert drawn_on == set(phantom.sop_uids[1:-1])
