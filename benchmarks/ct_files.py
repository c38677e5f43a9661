"""CT series to be read: one that fills a scanner's matrix, trees of headers, and many tiny files.

Written with `sample_data`, which shares nothing with the package. Values vary from slice to slice as they
do on a scanner, in content and in length: UIDs, numbers, positions, times, tube current, private counters.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from sample_data.dicom_files import SeriesOptions, identity, sop_uid_of, write_series

AFFINE = np.array([[0.7, 0, 0, -179.2], [0, 0.7, 0, -211.4], [0, 0, 1.25, -603.5], [0, 0, 0, 1]])


def body(slices: int, size: int) -> NDArray[np.uint16]:
    """Return ``(size, size, slices)`` of 12 bits: an ellipse with structure and noise in air."""
    x, y = np.meshgrid(np.linspace(-1, 1, size), np.linspace(-1, 1, size), indexing="ij")
    noise = np.random.default_rng(7).integers(-20, 20, (size, size))
    stored = np.zeros((size, size, slices), np.uint16, order="F")
    for k in range(slices):
        tissue = 1060 + 300 * np.sin(9 * x + k / 20) * np.cos(7 * y) + np.roll(noise, k)
        stored[:, :, k] = np.where(x**2 / 0.6 + y**2 / 0.4 < 1, tissue, 0)
    return stored


def write_volume(
    folder: Path, slices: int, *, syntax: str = ExplicitVRLittleEndian, size: int = 512
) -> None:
    """Write a CT as most scanners store it: 12 bits unsigned of 16, rescale intercept -1024."""
    options = SeriesOptions(rescale_intercept=-1024.0, bits_stored=12, transfer_syntax=syntax)
    write_series(folder, body(slices, size), AFFINE, identity(f"volume {syntax}"), options)


def write_tree(folder: Path, series: int, slices: int, *, fat: bool) -> None:
    """Write series of 512 x 512, with lean headers (1.2 KB) or fat ones (14 KB, private blocks).

    The matrix is that of a CT: some readers take in the whole file, whatever is asked of them.
    """
    stored = body(slices, 512)
    for number in range(series):
        options = SeriesOptions(
            description=f"SERIES {number}",
            rescale_intercept=-1024.0,
            bits_stored=12,
            per_slice=_fatten if fat else _vary,
        )
        write_series(folder / f"{number:03}", stored, AFFINE, identity(f"patient {number}"), options)


def write_tiny(folder: Path, files: int, slices: int = 100) -> None:
    """Write many files of 16 x 16, each series a copy of the first with UIDs of its own."""
    who, options = identity("tiny"), SeriesOptions(series_uid=_uid(0))
    paths = write_series(folder / "00000", body(slices, 16), AFFINE, who, options)
    first = [path.read_bytes() for path in paths]
    for number in range(1, files // slices):
        place = folder / f"{number:05}"
        place.mkdir()
        for k, content in enumerate(first):
            renamed: Mapping[str, str] = {
                who.study_uid: _uid(number, "study", len(who.study_uid)),
                _uid(0): _uid(number),
                sop_uid_of(_uid(0), k): _uid(number, k, len(sop_uid_of(_uid(0), k))),
            }
            for old, new in renamed.items():
                content = content.replace(old.encode(), new.encode())
            (place / f"{k:03}").write_bytes(content)


def _uid(number: int, k: int | str = "series", length: int = 40) -> str:
    """Make a UID of a given length for slice ``k``, the series or the study of a number."""
    kind = k if isinstance(k, int) else 900 + len(str(k))
    return f"2.25.{f'1{kind:03}{number:08}'.ljust(length - 5, '0')}"


def _vary(k: int, dataset: Dataset) -> None:
    """Write what changes from slice to slice on a scanner."""
    position = float(dataset.ImagePositionPatient[2])
    dataset.SliceLocation = f"{position:g}"
    dataset.AcquisitionTime = dataset.ContentTime = f"1015{k // 10 % 60:02}.{k * 37 % 1000:03}"
    dataset.XRayTubeCurrent = 90 + k * 7 % 60
    dataset.Exposure = 9 + k % 5


def _fatten(k: int, dataset: Dataset) -> None:
    """Add what a vendor adds: some 40 standard attributes, sequences, and 170 private elements."""
    _vary(k, dataset)
    for keyword, value in _STANDARD.items():
        setattr(dataset, keyword, value)
    dataset.ReferencedImageSequence = [_reference(k, at) for at in range(3)]
    dataset.ProcedureCodeSequence = [_code()]
    for group, creator in ((0x0019, "LEPTON ACQU 1"), (0x0021, "LEPTON RELA 1"), (0x0043, "LEPTON PARM 1")):
        block = dataset.private_block(group, creator, create=True)
        for element in range(56):
            vr, value = _private(k, element)
            block.add_new(element, vr, value)
    blob = np.random.default_rng(group).integers(0, 256, 9000, np.uint8).tobytes()
    dataset.private_block(0x0045, "LEPTON BLOB 1", create=True).add_new(1, "OB", blob)


def _private(k: int, element: int) -> tuple[str, Any]:
    """Return an element of a private block; every fourth differs from slice to slice."""
    counter = k if element % 4 == 0 else 0
    kinds: tuple[tuple[str, Any], ...] = (
        ("DS", f"{element * 1.37 + counter:.4g}"),
        ("SS", element - 20),
        ("LO", f"PARAMETER {element} VALUE {counter}"),
        ("FD", [element / 3, counter / 7]),
        ("IS", str(element * 1000 + counter)),
        ("SH", "ON"),
        ("UL", 70000 + element),
    )
    return kinds[element % len(kinds)]


def _reference(k: int, at: int) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    item.ReferencedSOPInstanceUID = f"2.25.{10**30 + k * 10 + at}"
    return item


def _code() -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "CTCHEST", "LOCAL", "CT of the chest"
    return item


_STANDARD: Mapping[str, Any] = {
    "InstanceCreationDate": "20240102",
    "InstanceCreationTime": "101512",
    "InstitutionName": "HOSPITAL",
    "InstitutionAddress": "SOME STREET 1, SOME TOWN",
    "StationName": "CT01",
    "ManufacturerModelName": "MODEL 64",
    "ProtocolName": "5.1 THORAX ROUTINE",
    "SoftwareVersions": "07MW18.4",
    "DeviceSerialNumber": "000000123",
    "PatientAge": "073Y",
    "PatientWeight": "71",
    "PatientSize": "1.7",
    "BodyPartExamined": "CHEST",
    "ScanOptions": "HELICAL MODE",
    "DataCollectionDiameter": "500",
    "ReconstructionDiameter": "358.4",
    "DistanceSourceToDetector": "949.07",
    "DistanceSourceToPatient": "541",
    "GantryDetectorTilt": "0",
    "TableHeight": "151.5",
    "RotationDirection": "CW",
    "ExposureTime": "600",
    "FilterType": "BODY FILTER",
    "GeneratorPower": "24000",
    "FocalSpots": "0.7",
    "RevolutionTime": 0.6,
    "SingleCollimationWidth": 0.625,
    "TotalCollimationWidth": 40.0,
    "TableSpeed": 92.0,
    "TableFeedPerRotation": 55.0,
    "SpiralPitchFactor": 1.375,
    "WindowCenterWidthExplanation": "SOFT TISSUE",
    "RequestingService": "RADIOLOGY",
    "RequestedProcedureDescription": "CT THORAX WITH CONTRAST",
    "PerformedProcedureStepStartDate": "20240102",
    "PerformedProcedureStepStartTime": "101500",
    "PerformedProcedureStepID": "PPS1",
    "PerformedProcedureStepDescription": "CT THORAX",
    "ContrastBolusAgent": "OMNI 350",
}
