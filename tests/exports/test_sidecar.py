"""The JSON beside an image: what BIDS calls it, in its units, and nobody's name."""

import json
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset

from lepton_monai.core.findings import RULES, Finding
from lepton_monai.dicom.dataset import foreign_file, read_head
from lepton_monai.dicom.read import read_series
from lepton_monai.exports.sidecar import Origin, sidecar
from tests.dicom.changed import the_series
from tests.phantoms import tiny_ct, tiny_mr, tiny_pet
from tests.verbs.test_privacy import CANARIES


def _content(folder: Path, findings: tuple[Finding, ...] | None = None, **origin: str) -> dict[str, Any]:
    series = the_series(folder)
    volume = read_series(series)
    if findings is not None:
        object.__setattr__(volume, "findings", findings)
    with foreign_file():
        dataset = read_head(series.headers[0].path)
        return sidecar(volume, Origin(dataset, [series.headers[0]], "MR-0123456789", **origin))


def test_times_are_in_seconds_under_the_names_of_bids(tmp_path: Path) -> None:
    extra = {
        "InversionTime": "900",
        "FlipAngle": "8",
        "Manufacturer": "ACME",
        "ManufacturerModelName": "A 3",
    }
    tiny_mr(tmp_path, extra=extra)
    content = _content(tmp_path)
    expected = {
        "Modality": "MR",
        "Manufacturer": "ACME",
        "ManufacturersModelName": "A 3",
        "MagneticFieldStrength": 1.5,
        "EchoTime": 0.012,
        "RepetitionTime": 0.6,
        "InversionTime": 0.9,
        "FlipAngle": 8.0,
        "ScanningSequence": ["SE"],
        "MRAcquisitionType": "2D",
        "Units": "1",
        "Series": "MR-0123456789",
    }
    assert {name: content[name] for name in expected} == expected


def test_a_pet_has_its_unit_and_its_dose(tmp_path: Path) -> None:
    drug = Dataset()
    drug.Radiopharmaceutical = "FDG"
    drug.RadionuclideTotalDose = "3.7e8"
    tiny_pet(tmp_path, extra={"RadiopharmaceuticalInformationSequence": [drug]})
    content = _content(tmp_path)
    found = [content[name] for name in ("Units", "TracerName", "InjectedRadioactivity", "FrameDuration")]
    assert found == ["SUVbw", "FDG", 3.7e8, 120.0]


def test_what_an_enhanced_image_says_of_all_frames_is_found_in_its_shared_groups(tmp_path: Path) -> None:
    phantom = tiny_mr(tmp_path)
    dataset = pydicom.dcmread(phantom.paths[0])
    del dataset.EchoTime, dataset.RepetitionTime
    echo, timing, shared = Dataset(), Dataset(), Dataset()
    echo.EffectiveEchoTime, timing.RepetitionTime = 33.0, 2000.0
    shared.MREchoSequence, shared.MRTimingAndRelatedParametersSequence = [echo], [timing]
    dataset.SharedFunctionalGroupsSequence = [shared]
    series = the_series(tmp_path)
    content = sidecar(read_series(series), Origin(dataset, series.headers[:1], "MR-0"))
    assert (content["EchoTime"], content["RepetitionTime"]) == (0.033, 2.0)


def test_a_value_that_is_rubbish_is_left_out(tmp_path: Path) -> None:
    phantom = tiny_mr(tmp_path)
    for path in phantom.paths:
        whole = (
            path.read_bytes()
            .replace(b"DS\x04\x00600 ", b"DS\x04\x00soon")
            .replace(b"DS\x04\x001.5 ", b"DS\x04\x001e99")
        )
        path.write_bytes(whole)
    content = _content(tmp_path)
    assert "RepetitionTime" not in content
    assert content["EchoTime"] == 0.012


def test_a_finding_is_told_with_what_was_done(tmp_path: Path) -> None:
    tiny_ct(tmp_path)
    finding = Finding("regularised", "Gaps run from 2 to 4 mm.", "1.2.3", tmp_path / "SECRET")
    content = _content(tmp_path, (finding,), part="2 of 3", valid_mask="CT-1_valid.nii.gz")
    sentence = f"Gaps run from 2 to 4 mm. {RULES['regularised'].advice}"
    assert content["Findings"] == [{"code": "regularised", "message": sentence}]
    assert (content["Part"], content["ValidMask"]) == ("2 of 3", "CT-1_valid.nii.gz")


@pytest.mark.parametrize(
    ("keyword", "name", "typed"),
    [
        ("Manufacturer", "Manufacturer", "ACME for Anna"),
        ("ManufacturerModelName", "ManufacturersModelName", "room canaryid7"),
        ("ImageType", "ImageType", ["ORIGINAL", "CANARYNAME"]),
    ],
)
def test_a_name_that_was_typed_into_a_field_for_the_device_takes_the_field_with_it(
    tmp_path: Path, keyword: str, name: str, typed: str | list[str]
) -> None:
    extra = {"PatientName": "CANARYNAME^ANNA", "PatientID": "CANARYID7", keyword: typed}
    tiny_ct(tmp_path, extra=extra)
    assert name not in _content(tmp_path)


def test_no_canary_of_any_other_field_is_in_it(tmp_path: Path) -> None:
    canaries: dict[str, object] = {
        keyword: value
        for keyword, value in CANARIES.items()
        if keyword != "private" and not keyword.endswith("Sequence")
    }
    tiny_ct(tmp_path, extra=canaries)
    text = str(_content(tmp_path))
    assert [value for value in canaries.values() if str(value).split("^")[0] in text] == []


def test_a_name_that_was_typed_into_the_stacks_id_takes_it_with_it(tmp_path: Path) -> None:
    tiny_ct(tmp_path / "named", extra={"PatientName": "CANARYNAME^ANNA", "StackID": "CanaryName 2"})
    assert "anna" not in json.dumps(_content(tmp_path / "named")).casefold()
    assert "canaryname" not in json.dumps(_content(tmp_path / "named")).casefold()
    tiny_ct(tmp_path / "plain", extra={"PatientName": "CANARYNAME^ANNA", "StackID": "2"})
    assert _content(tmp_path / "plain")["Volumes"][0]["StackID"] == "2"
