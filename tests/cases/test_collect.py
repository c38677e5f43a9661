from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from pydicom.dataset import Dataset

from lepton_monai.cases.case import load_case
from lepton_monai.cases.collect import Collection, DataChoice, LabelChoice, collect, nifti_files
from lepton_monai.cases.images import ImageChoice
from lepton_monai.core.errors import InputError
from lepton_monai.core.findings import Finding
from lepton_monai.core.pseudonyms import Pseudonyms
from lepton_monai.labels.labelset import LabelClass, LabelSet
from sample_data.dicom_files import (
    SeriesOptions,
    identity,
    series_uid_of,
    sop_uid_of,
    write_series,
)
from sample_data.label_files import (
    StructureOptions,
    mask_contours,
    write_contours,
    write_rtstruct,
    write_seg,
)
from tests.verbs.exports import AFFINE, SHAPE, ball, write_export, write_patient

NAMES = Pseudonyms(b"s" * 32)
BALL = LabelSet((LabelClass("ball", ("Ball*",)),))
LABEL = LabelChoice("rtstruct", BALL, empty_is_negative=False, folder=None)
NOBODY: Mapping[str, str] = MappingProxyType({})


def _collect(
    root: Path,
    *,
    description: str | None = None,
    source: str = "rtstruct",
    negative: bool = False,
    same_person: Mapping[str, str] = NOBODY,
) -> Collection:
    image = ImageChoice("ct", "CT", description, None)
    label = LabelChoice(source, BALL, negative, None)  # type: ignore[arg-type] # a test's own text
    return collect(DataChoice(root, (), image, label, same_person), NAMES)


def _codes(collection: Collection) -> list[str]:
    return sorted(finding.code for _, finding in collection.findings)


def test_a_label_goes_to_the_series_that_it_references_and_to_no_other(tmp_path: Path) -> None:
    """Two series of one frame of reference, as most patients have them."""
    who = write_patient(tmp_path, 1)
    stored, _ = ball(1)
    write_series(tmp_path / "thin", stored, AFFINE, who, SeriesOptions(description="THIN"))
    collection = _collect(tmp_path)
    assert len(collection.cases) == 1
    assert _codes(collection) == ["label_absent"]
    loaded = load_case(collection.cases[0], BALL, empty_is_negative=False)
    assert not isinstance(loaded, Finding)
    assert (loaded.mask.array > 0).sum() == ball(1)[1].sum()


def test_a_description_narrows_the_series(tmp_path: Path) -> None:
    who = write_patient(tmp_path, 1)
    stored, _ = ball(1)
    write_series(tmp_path / "thin", stored, AFFINE, who, SeriesOptions(description="THIN lung"))
    assert len(_collect(tmp_path, description="*thin*", negative=True).cases) == 1
    with pytest.raises(InputError, match="described as bone"):
        _collect(tmp_path, description="bone")


def test_a_refused_series_of_the_wanted_kind_is_named(tmp_path: Path) -> None:
    write_patient(tmp_path, 1)
    next((tmp_path / write_patient(tmp_path, 2).patient_id / "ct").glob("*6*")).unlink()
    stored, _ = ball(3)
    other = SeriesOptions(modality="MR")
    write_series(tmp_path / "mr", stored, AFFINE, identity("somebody"), other)[6].unlink()
    collection = _collect(tmp_path)
    assert len(collection.cases) == 1
    told = [(name, finding.code) for name, finding in collection.findings]
    assert told == [(collection.refused[0], "missing_slice")]


def test_where_all_that_would_fit_is_refused_the_reason_is_told(tmp_path: Path) -> None:
    next((tmp_path / write_patient(tmp_path, 2).patient_id / "ct").glob("*6*")).unlink()
    stored, _ = ball(3)
    write_series(tmp_path / "mr", stored, AFFINE, identity("somebody"), SeriesOptions(modality="MR"))
    with pytest.raises(InputError, match=r"1 that would fit are refused: missing_slice"):
        _collect(tmp_path)


def test_a_label_whose_image_is_not_here_is_told(tmp_path: Path) -> None:
    write_patient(tmp_path, 1)
    alone = tmp_path / write_patient(tmp_path, 2).patient_id
    for path in (alone / "ct").iterdir():
        path.unlink()
    ((name, finding),) = _collect(tmp_path).findings
    assert (name, finding.code, finding.path) == ("file", "label_without_image", alone / "rs.dcm")


def test_a_label_that_no_case_has_is_told_beside_those_that_are_there(tmp_path: Path) -> None:
    write_patient(tmp_path, 1, roi="Bal")
    with pytest.raises(InputError, match="matches ball") as refused:
        _collect(tmp_path)
    assert refused.value.names == ("Bal",)
    assert "`Bal`" not in str(refused.value)


def test_a_case_without_a_wanted_label_is_told_beside_those_that_it_has(tmp_path: Path) -> None:
    write_patient(tmp_path, 0)
    write_patient(tmp_path, 1, roi="Bal")
    (found,) = [finding for _, finding in _collect(tmp_path).findings]
    assert (found.code, found.names) == ("label_absent", ("Bal",))


def test_a_modality_that_nothing_has_is_told_beside_those_that_are_there(tmp_path: Path) -> None:
    write_patient(tmp_path, 1)
    choice = DataChoice(tmp_path, (), ImageChoice("mr", "MRI", None, None), LABEL, NOBODY)
    with pytest.raises(InputError, match=r"usable series is of modality MRI; they are CT\."):
        collect(choice, NAMES)


def test_symbolic_links_are_not_followed_and_that_is_told(tmp_path: Path) -> None:
    write_patient(tmp_path / "export", 0)
    write_patient(tmp_path / "elsewhere", 1)
    (tmp_path / "export" / "linked").symlink_to(tmp_path / "elsewhere")
    collection = _collect(tmp_path / "export")
    assert len(collection.cases) == 1
    assert _codes(collection) == ["symbolic_link"]
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "all").symlink_to(tmp_path / "export")
    with pytest.raises(InputError, match="among 0 files: symbolic_link"):
        _collect(tmp_path / "links")


def test_two_labels_for_one_series_are_a_finding_and_not_a_guess(tmp_path: Path) -> None:
    write_export(tmp_path, 2)
    who = identity("patient 0")
    _, mask = ball(0)
    uid = series_uid_of(who, SeriesOptions())
    instances = [sop_uid_of(uid, k) for k in range(SHAPE[2])]
    options = StructureOptions(description="SECOND READER")
    contours = mask_contours({"Ball again": mask}, AFFINE, instances)
    write_contours(tmp_path / "second.dcm", contours, who, uid, options)
    collection = _collect(tmp_path)
    assert len(collection.cases) == 1
    assert _codes(collection) == ["label_ambiguous"]


def test_a_label_without_a_wanted_region_does_not_compete(tmp_path: Path) -> None:
    write_export(tmp_path, 1)
    who = identity("patient 0")
    _, mask = ball(0)
    uid = series_uid_of(who, SeriesOptions())
    instances = [sop_uid_of(uid, k) for k in range(SHAPE[2])]
    write_rtstruct(tmp_path / "organs.dcm", {"Lung": mask}, AFFINE, who, uid, instances)
    assert len(_collect(tmp_path).cases) == 1


def test_segmentations_and_structures_are_read_side_by_side(tmp_path: Path) -> None:
    write_patient(tmp_path, 0)
    who = write_patient(tmp_path, 1, label=False)
    _, mask = ball(1)
    images = sorted((tmp_path / who.patient_id / "ct").iterdir())
    write_seg(tmp_path / "seg.dcm", {"Ball": mask}, images)
    assert len(_collect(tmp_path, source="seg").cases) == 1
    collection = _collect(tmp_path, source="dicom")
    assert len(collection.cases) == 2
    for case, number in zip(collection.cases, (0, 1), strict=True):
        loaded = load_case(case, BALL, empty_is_negative=False)
        assert not isinstance(loaded, Finding)
        assert (loaded.mask.array > 0).sum() == ball(number)[1].sum()


def test_two_ids_with_one_frame_of_reference_are_one_person(tmp_path: Path) -> None:
    who = write_patient(tmp_path, 0)
    again = identity("alias", frame_of_reference_uid=who.frame_of_reference_uid)
    write_patient(tmp_path, 1, again)
    write_patient(tmp_path, 2)
    collection = _collect(tmp_path)
    assert len({case.person for case in collection.cases}) == 2
    assert _codes(collection) == ["same_patient_twice"]


def test_a_table_joins_two_ids(tmp_path: Path) -> None:
    first, second, _ = write_export(tmp_path, 3)
    joined = _collect(tmp_path, same_person={first.patient_id: "anna", second.patient_id: "anna"})
    assert len({case.person for case in joined.cases}) == 2
    assert _codes(joined) == []


def test_without_a_patient_id_the_study_is_the_patient(tmp_path: Path) -> None:
    for number in (0, 1):
        write_patient(tmp_path, number, identity(f"nobody {number}", patient_id=""))
    collection = _collect(tmp_path)
    assert len({case.person for case in collection.cases}) == 2
    assert _codes(collection) == ["patient_id_absent", "patient_id_absent"]


def test_burned_in_annotation_is_left_out(tmp_path: Path) -> None:
    write_export(tmp_path, 1)
    stored, _ = ball(5)

    def flag(_: int, dataset: Dataset) -> None:
        dataset.BurnedInAnnotation = "YES"

    write_series(tmp_path / "x", stored, AFFINE, identity("x"), SeriesOptions(per_slice=flag))
    collection = _collect(tmp_path, negative=True)
    assert len(collection.cases) == 1
    assert _codes(collection) == ["burned_in_annotation"]


def test_a_label_that_lies_off_its_image_is_a_finding(tmp_path: Path) -> None:
    who = write_patient(tmp_path, 1, label=False)
    _, mask = ball(1)
    uid = series_uid_of(who, SeriesOptions())
    moved = AFFINE.copy()
    moved[2, 3] += 500
    instances = [sop_uid_of(uid, k) for k in range(SHAPE[2])]
    write_rtstruct(tmp_path / "rs.dcm", {"Ball": mask}, moved, who, uid, instances)
    loaded = load_case(_collect(tmp_path).cases[0], BALL, empty_is_negative=False)
    assert isinstance(loaded, Finding)
    assert loaded.code == "label_unreadable"
    assert "outside the slices of its image" in loaded.message


def test_pseudonyms_are_the_same_whatever_folder_the_export_lies_in(tmp_path: Path) -> None:
    names = []
    for folder in ("a", "b"):
        write_export(tmp_path / folder, 2)
        names.append([case.pseudonym for case in _collect(tmp_path / folder).cases])
    assert names[0] == names[1]
    assert len(set(names[0])) == 2


def test_two_nifti_files_of_one_name_are_no_guess(tmp_path: Path) -> None:
    (tmp_path / "a.nii").touch()
    (tmp_path / "b.nii.gz").touch()
    (tmp_path / "._b.nii").touch()  # macOS leaves such
    assert list(nifti_files(tmp_path)) == ["a", "b"]
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(InputError, match="1 file differ from another in the ending alone"):
        nifti_files(tmp_path)
