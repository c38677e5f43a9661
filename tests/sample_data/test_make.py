"""The committed export is what the program writes, and what it says about itself is true."""

import json
import logging
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from sample_data.junk import JUNK_FILES
from sample_data.make import make_export, series_uid
from sample_data.patients import PLANS, SPLIT, PatientPlan, SamplePatient, sample_patient, usable_ct_plans

SAMPLE = Path(__file__).parents[2] / "sample_data"
COMMITTED = SAMPLE / "export"

SEG_TAGS = (
    *("SOPInstanceUID", "PatientID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("Rows", "Columns", "NumberOfFrames", "SegmentationType"),
)
"""What is compared of a SEG beside its mask: the rest of it is up to the version of highdicom."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("sample") / "export"
    make_export(target, [patient_of(plan) for plan in PLANS])
    return target


@cache
def patient_of(plan: PatientPlan) -> SamplePatient:
    return sample_patient(plan)


@cache
def headers() -> tuple[tuple[Path, Dataset], ...]:
    """Every DICOM file of the committed export, without its pixels."""
    found = []
    for path in sorted(COMMITTED.rglob("*")):
        if path.is_file():
            try:
                found.append((path, pydicom.dcmread(path, stop_before_pixels=True)))
            except InvalidDicomError:
                continue
    return tuple(found)


def plan_of(number: int) -> PatientPlan:
    return next(plan for plan in PLANS if plan.number == number)


def labelled(truth: str) -> list[PatientPlan]:
    return [plan for plan in PLANS if plan.truth == truth and plan.number < 19]


def image_files(patient: SamplePatient) -> list[Path]:
    """Files of the image series in the order of ``k``, each position once, without a localizer."""
    uid = series_uid(patient)
    positions = {
        tuple(np.round(np.array(header.ImagePositionPatient, dtype=float), 2)): path
        for path, header in headers()
        if header.get("SeriesInstanceUID") == uid and header.Rows == patient.stored.shape[1]
    }
    steps = np.arange(patient.stored.shape[2])[:, None] * patient.affine_lps[:3, 2]
    expected = np.round(patient.affine_lps[:3, 3] + steps, 2)
    return [positions[tuple(position)] for position in expected]


def label_file(patient: SamplePatient, modality: str) -> Path:
    return next(
        path
        for path, header in headers()
        if header.get("Modality") == modality and header.StudyInstanceUID == patient.who.study_uid
    )


def relative_names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def differences(first: Path, second: Path) -> Iterator[str]:
    """Yield what differs between two files; the bytes of a compressed stream may."""
    if first.read_bytes() == second.read_bytes():
        return
    if not pydicom.misc.is_dicom(first):
        yield "content"
        return
    one, other = pydicom.dcmread(first), pydicom.dcmread(second)
    if one.Modality == "SEG":
        yield from (tag for tag in SEG_TAGS if one[tag] != other[tag])
        if not np.array_equal(one.pixel_array, other.pixel_array):
            yield "mask"
        return
    if "PixelData" in one and len(one.PixelData) and one.PixelData != other.PixelData:
        if not np.array_equal(one.pixel_array, other.pixel_array):
            yield "pixels"
        one.PixelData = other.PixelData
    yield from (element.name for element in one if element != other.get(element.tag))
    yield from (element.name for element in other if element.tag not in one)


def test_the_program_writes_the_committed_export(made: Path) -> None:
    assert relative_names(made) == relative_names(COMMITTED)
    found = {name: list(differences(made / name, COMMITTED / name)) for name in relative_names(made)}
    assert not {name: list_ for name, list_ in found.items() if list_}


def test_a_changed_tag_and_a_changed_pixel_are_told_apart(tmp_path: Path) -> None:
    path = image_files(patient_of(plan_of(1)))[3]
    dataset = pydicom.dcmread(path)
    dataset.PatientID = "SOMEBODY ELSE"
    dataset.save_as(tmp_path / "tag")
    assert list(differences(path, tmp_path / "tag")) == ["Patient ID"]
    dataset = pydicom.dcmread(path)
    pixels = dataset.pixel_array.copy()
    pixels[0, 0] += 1
    dataset.decompress()
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(tmp_path / "pixel")
    assert "pixels" in list(differences(path, tmp_path / "pixel"))


def test_the_sample_data_are_small_and_of_many_patients() -> None:
    size = sum(
        path.stat().st_size for path in SAMPLE.rglob("*") if path.is_file() and path.suffix != ".pyc"
    )
    patients = {header.PatientID for _, header in headers() if "PatientID" in header}
    assert size <= 5_000_000
    assert len({plan.patient_id for plan in usable_ct_plans()}) == 16
    assert {plan.patient_id for plan in PLANS} <= patients
    assert json.loads((SAMPLE / "split.json").read_text()) == SPLIT


def test_every_patient_has_enough_lesion_to_measure_a_dice() -> None:
    for plan in usable_ct_plans():
        patient = patient_of(plan)
        voxel_ml = abs(np.linalg.det(patient.affine_lps[:3, :3])) / 1000.0
        assert np.count_nonzero(patient.mask) * voxel_ml >= 25.0, plan.patient_id


def test_no_threshold_and_no_window_of_hu_finds_the_lesions() -> None:
    edges = np.arange(-1100, 1400, 5)
    inside, everything, lesions = [], [], []
    for plan in usable_ct_plans():
        patient = patient_of(plan)
        values, mask = patient.values[patient.valid], patient.mask[patient.valid]
        inside.append(np.cumsum([0, *np.histogram(values[mask], edges)[0]]))
        everything.append(np.cumsum([0, *np.histogram(values, edges)[0]]))
        lesions.append(np.count_nonzero(mask))
    # [patient, lower edge, upper edge]: the sums between two edges are those of a window.
    both, volume = (
        counts[:, None, :] - counts[:, :, None] for counts in map(np.array, (inside, everything))
    )
    total = np.maximum(volume + np.array(lesions)[:, None, None], 1)
    dice = np.triu((2.0 * both / total).mean(axis=0))
    logging.getLogger(__name__).info("best window %.3f, best threshold %.3f", dice.max(), dice[:, -1].max())
    assert dice.max() < 0.3


@pytest.mark.parametrize("number", [1, 4, 6, 7, 9, 10, 11, 16, 18])
def test_simpleitk_reads_the_values_at_the_positions_of_the_truth(number: int) -> None:
    patient = patient_of(plan_of(number))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in image_files(patient)])
    image = reader.Execute()
    values = sitk.GetArrayFromImage(image).transpose(2, 1, 0)
    np.testing.assert_allclose(values, patient.values, rtol=0.0, atol=1e-3)
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    corner = np.array(patient.stored.shape) - 1.0
    expected = patient.affine_lps
    if np.linalg.det(expected[:3, :3]) < 0.0:  # SimpleITK has right-handed directions only
        affine[:3, 2] *= -1.0
    np.testing.assert_allclose((affine - expected) @ [*corner, 1.0], 0.0, atol=0.01)


@pytest.mark.parametrize("plan", labelled("SEG"), ids=lambda plan: plan.patient_id)
def test_highdicom_reads_the_true_masks_from_every_seg(plan: PatientPlan) -> None:
    patient = patient_of(plan)
    seg = hd.seg.segread(label_file(patient, "SEG"))
    uids = [pydicom.dcmread(path, specific_tags=["SOPInstanceUID"]) for path in image_files(patient)]
    frames = seg.get_pixels_by_source_instance([header.SOPInstanceUID for header in uids])
    assert [seg.get_segment_description(n).segment_label for n in seg.segment_numbers] == list(
        patient.masks
    )
    for number, mask in enumerate(patient.masks.values()):
        np.testing.assert_array_equal(frames[..., number].transpose(2, 1, 0), mask)


def filled(contours: list[NDArray[np.float64]], patient: SamplePatient) -> NDArray[np.bool_]:
    """Fill by the even-odd rule with matplotlib, an implementation of its own."""
    shape = patient.stored.shape
    mask = np.zeros(shape, dtype=bool)
    centres = np.stack(np.meshgrid(*map(np.arange, shape[:2]), indexing="ij"), axis=-1).reshape(-1, 2)
    to_index = np.linalg.inv(patient.affine_lps)
    for points in contours:
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        k = round(index[0, 2])
        np.testing.assert_allclose(index[:, 2], k, atol=1e-3)
        inside = Polygon(np.vstack([index[:, :2], index[:1, :2]]), closed=True).contains_points(centres)
        mask[:, :, k] ^= inside.reshape(shape[:2])
    return mask


@pytest.mark.parametrize("plan", labelled("RTSTRUCT"), ids=lambda plan: plan.patient_id)
def test_the_filled_contours_of_every_rtstruct_are_the_true_masks(plan: PatientPlan) -> None:
    patient = patient_of(plan)
    structures = pydicom.dcmread(label_file(patient, "RTSTRUCT"))
    names = [item.ROIName for item in structures.StructureSetROISequence]
    assert names == list(patient.masks)
    for name, roi in zip(names, structures.ROIContourSequence, strict=True):
        contours = [np.array(item.ContourData, dtype=float).reshape(-1, 3) for item in roi.ContourSequence]
        np.testing.assert_array_equal(filled(contours, patient), patient.masks[name])


def test_the_mess_is_as_the_readme_says(made: Path) -> None:
    series: dict[str, list[Dataset]] = {}
    for _, header in headers():
        series.setdefault(header.get("SeriesInstanceUID", ""), []).append(header)
    duplicated = series[series_uid(patient_of(plan_of(8)))]
    assert len(duplicated) == len({header.SOPInstanceUID for header in duplicated}) + 1
    localized = series[series_uid(patient_of(plan_of(12)))]
    assert len({tuple(header.ImageOrientationPatient) for header in localized}) == 2
    incomplete = sorted(header.SliceLocation for header in series[series_uid(patient_of(plan_of(19)))])
    assert sorted(np.round(np.diff(incomplete), 3))[-2:] == [9.5, 19.0]
    cut = [
        path
        for path, header in headers()
        if header.get("PatientID") == "LEP-0020" and header.Modality == "CT"
        if len(pydicom.dcmread(path).PixelData) < 2 * header.Rows * header.Columns
    ]
    assert len(cut) == 1
    assert sum("ImagePositionPatient" not in h for _, h in headers() if h.get("Modality") == "OT") == 1
    assert all((made / name).read_bytes() == content for name, content in JUNK_FILES.items())


def test_an_export_is_written_over_and_a_strange_folder_is_not(tmp_path: Path, made: Path) -> None:
    (tmp_path / "mine.txt").write_text("a thesis")
    with pytest.raises(FileExistsError, match=r"mine\.txt"):
        make_export(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(made, copy)
    (copy / "DICOM" / "notes.txt").write_text("a thesis")
    with pytest.raises(FileExistsError, match=r"1 files .*notes\.txt"):
        make_export(copy)
    assert (copy / "DICOM" / "notes.txt").read_text() == "a thesis"
