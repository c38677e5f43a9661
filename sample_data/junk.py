"""What else lies in an export: files that are no image, and images that are no volume."""

from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from sample_data.dicom_files import SeriesOptions, identity, new_dataset, save, uid, write_series
from sample_data.patients import SamplePatient

CONTENTS = "CONTENTS.TXT"
TITLE = "SYNTHETIC EXPORT OF lepton_monai, NO PATIENT DATA"

JUNK_FILES = {
    "AUTORUN.INF": b"[autorun]\r\nopen=VIEWER\\VIEWER.EXE\r\nlabel=PATIENT CD\r\n",
    "DICOM/Thumbs.db": bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504),
    "DICOM/.DS_Store": b"\0\0\0\1Bud1" + bytes(248),
    "DICOM/0003/IM0000": b"",
    "DICOM/0007/REPORT.PDF": b"%PDF-1.4\n% a synthetic report\n%%EOF\n",
    "DICOM/0011/IM9999.dcm": b"<html><body>503 Service Unavailable</body></html>\n",
}
"""Path in the export to content."""


def write_junk(target: Path) -> None:
    """Write what a burning station, a desktop and a failed download leave behind."""
    for name, content in JUNK_FILES.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    _write_dicomdir(target / "DICOMDIR")


def _write_dicomdir(path: Path) -> None:
    """Write a directory without records: nobody should follow it."""
    who = identity("dicomdir")
    directory = new_dataset(MediaStorageDirectoryStorage, uid("dicomdir"), ExplicitVRLittleEndian, who)
    records = Dataset()
    records.file_meta = directory.file_meta
    records.SOPInstanceUID = uid("dicomdir")
    records.FileSetID = "LEPTON"
    records.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity = 0
    records.OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity = 0
    records.FileSetConsistencyFlag = 0
    records.DirectoryRecordSequence = []
    save(records, path)


def write_localizer(folder: Path, patient: SamplePatient, options: SeriesOptions) -> list[Path]:
    """Write a frontal overview into the series of `options`: another orientation and matrix."""
    frontal = patient.values.mean(axis=1)[:, ::-1]
    stored = np.repeat(np.round(frontal), 2, axis=1)[:, :, None].astype(np.int16)
    affine = np.eye(4)
    i_mm, _, k_mm = patient.plan.spacing_mm
    affine[:3, :3] = np.array([[i_mm, 0, 0], [0, 0, 5], [0, -k_mm / 2, 0]], dtype=np.float64)
    affine[:3, 3] = [patient.affine_lps[0, 3], 0.0, 100.0]
    scout = SeriesOptions(
        series_uid=options.series_uid,
        description=options.description,
        series_number=options.series_number,
        transfer_syntax=options.transfer_syntax,
        manufacturer=options.manufacturer,
        extra={
            "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"],
            "SOPInstanceUID": uid(options.series_uid, "localizer"),
            "InstanceNumber": 0,
        },
    )
    return write_series(folder / "localizer", stored, affine, patient.who, scout)


def write_capture(folder: Path, patient: SamplePatient) -> list[Path]:
    """Write a picture of the middle slice as a secondary capture, which has no position."""
    middle = patient.values[:, :, patient.stored.shape[2] // 2]
    picture = np.clip((middle + 160.0) / 400.0 * 255.0, 0.0, 255.0).astype(np.uint8)
    without = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
    options = SeriesOptions(
        modality="OT",
        description="SCREEN SAVE",
        series_number=99,
        rescale_slope=None,
        extra=dict.fromkeys((*without, "SliceThickness", "FrameOfReferenceUID"), None),
    )
    return write_series(folder / "capture", picture[:, :, None], np.eye(4), patient.who, options)
