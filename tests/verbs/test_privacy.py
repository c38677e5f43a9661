"""No patient's name, number, date or free text leaves DICOM objects and `key.json`."""

import gzip
from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from lepton_monai.cli.main import run
from sample_data.dicom_files import SeriesOptions, identity, series_uid_of, sop_uid_of, write_series
from sample_data.label_files import write_rtstruct
from tests.verbs.exports import AFFINE, CONFIG, SHAPE, ball

CANARIES = {
    "PatientID": "CANARYID",
    "PatientName": "CANARYNAME^ANNA",
    "PatientBirthDate": "19310405",
    "OtherPatientNames": "CANARYOTHER",
    "PatientAddress": "CANARYSTREET 1",
    "PatientComments": "CANARYCOMMENT",
    "InstitutionName": "CANARYHOSPITAL",
    "InstitutionAddress": "CANARYCITY",
    "ReferringPhysicianName": "CANARYDOCTOR",
    "PerformingPhysicianName": "CANARYPERFORMER",
    "OperatorsName": "CANARYOPERATOR",
    "AccessionNumber": "CANARYACC",
    "StudyID": "CANARYSTID",
    "StudyDescription": "CANARYSTUDY",
    "SeriesDescription": "CANARYSERIES",
    "ProtocolName": "CANARYPROTOCOL",
    "StudyDate": "19870607",
    "SeriesDate": "19870608",
    "AcquisitionDate": "19870609",
    "ContentDate": "19870610",
    "StudyTime": "031415",
    "DeviceSerialNumber": "CANARYSERIAL",
    "StationName": "CANARYSTATION",
    "ImageComments": "CANARYIMAGE",
    "RequestedProcedureDescription": "CANARYREQUEST",
    "AdditionalPatientHistory": "CANARYHISTORY",
    "Occupation": "CANARYJOB",
    "EthnicGroup": "CANARYGROUP",
    "MedicalRecordLocator": "CANARYRECORD",
    "CurrentPatientLocation": "CANARYWARD",
    "PatientInsurancePlanCodeSequence": "nested",
    "private": "CANARYPRIVATE",
}


def _with_canaries(number: int) -> SeriesOptions:
    def put(k: int, dataset: Dataset) -> None:
        for keyword, value in CANARIES.items():
            if keyword == "private":
                dataset.private_block(0x0099, "CANARYCREATOR", create=True).add_new(1, "LO", value)
            elif keyword.endswith("Sequence"):
                item = Dataset()
                item.CodeMeaning = "CANARYNESTED"
                setattr(dataset, keyword, [item])
            elif keyword == "PatientID":
                dataset.PatientID = f"{value}{number}"
            else:
                setattr(dataset, keyword, value)
        dataset.InstanceNumber = k + 1

    return SeriesOptions(rescale_intercept=-1024.0, per_slice=put)


def _write(root: Path, number: int) -> None:
    who = identity(f"canary {number}", patient_id=f"CANARYID{number}", patient_name="CANARYNAME^ANNA")
    stored, mask = ball(number)
    options = _with_canaries(number)
    folder = root / f"CANARYFOLDER{number}"
    write_series(folder / "ct", stored, AFFINE, who, options)
    uid = series_uid_of(who, options)
    rois = {"Ball CANARYROI": mask}
    write_rtstruct(folder / "rs.dcm", rois, AFFINE, who, uid, [sop_uid_of(uid, k) for k in range(SHAPE[2])])


def test_a_whole_run_writes_no_canary(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root, kept = tmp_path / "export", tmp_path / "kept"
    for number in range(6):
        _write(root, number)
    _write(root, 6)
    (root / "CANARYFOLDER6" / "ct" / "IM0005").unlink()  # a refusal must keep still too
    (root / "CANARYjunk.txt").write_text("CANARYNAME", encoding="utf-8")
    (tmp_path / "salt").write_bytes(b"s" * 32)
    config = tmp_path / "task.yaml"
    config.write_text(CONFIG.format(root=root), encoding="utf-8")
    salt = ["--salt", str(tmp_path / "salt")]
    documents = ""
    for arguments, code in (
        (["index", str(root), "--json"], 0),
        (["check", str(config), "--pictures", str(kept / "pictures"), "--json"], 0),
        (["train", str(config), "--run", str(kept / "run"), "--json"], 0),
        (["evaluate", str(kept / "run"), "--json"], 0),
        (
            ["predict", str(kept / "run"), str(root), "--out", str(kept / "out"), "--json"],
            4,
        ),  # one is refused
    ):
        assert run([*arguments, *salt]) == code
        documents += "".join(capfd.readouterr())
    values = [value.split("^")[0] for value in CANARIES.values() if value not in {"nested", "031415"}]
    wanted = [*{value.encode() for value in values}, b"CANARY", b"031415."]
    written = [path for path in kept.rglob("*") if path.is_file() and path.name != "key.json"]
    assert len(written) > 20
    found = [(path.name, one) for path in written for one in wanted if one in _content(path)]
    found += [(str(path.relative_to(kept)), b"path") for path in kept.rglob("*CANARY*")]
    found += [("stdout or stderr", one) for one in wanted if one in documents.encode()]
    print(f"{len(wanted)} canaries, {len(written)} files, {len(found)} found")
    assert found == []
    assert "CANARYID0" in (kept / "run" / "key.json").read_text(encoding="utf-8")


def _content(path: Path) -> bytes:
    content = path.read_bytes()
    return content + gzip.decompress(content) if path.suffix == ".gz" else content
