"""Arrays with a known truth as DICOM image series.

Nothing here reads a clock or a random number: the same call writes the same files. Nothing is
shared with the package under test either, so that a test compares two independent opinions.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)
from pydicom.valuerep import format_number_as_ds

SOFTWARE = "LEPTON SAMPLE 1"

SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "PT": "1.2.840.10008.5.1.4.1.1.128",
    "OT": "1.2.840.10008.5.1.4.1.1.7",
}
"""Classic storage classes, PS3.6 table A-1 (2026a)."""

MODALITY_TAGS: dict[str, dict[str, Any]] = {
    "CT": {
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "KVP": "120",
        "RescaleType": "HU",
        "ConvolutionKernel": "STANDARD",
        "WindowCenter": "40",
        "WindowWidth": "400",
    },
    "MR": {
        "ImageType": ["ORIGINAL", "PRIMARY", "M"],
        "ScanningSequence": "SE",
        "SequenceVariant": "NONE",
        "ScanOptions": "",
        "MRAcquisitionType": "2D",
        "RepetitionTime": "600",
        "EchoTime": "12",
        "EchoNumbers": "1",
        "EchoTrainLength": "1",
        "MagneticFieldStrength": "1.5",
    },
    "PT": {
        "ImageType": ["ORIGINAL", "PRIMARY"],
        "SeriesType": ["WHOLE BODY", "IMAGE"],
        "Units": "BQML",
        "CountsSource": "EMISSION",
        "CorrectedImage": ["DECY", "ATTN", "SCAT"],
        "DecayCorrection": "START",
        "FrameReferenceTime": "0",
        "ActualFrameDuration": "120000",
    },
    "OT": {"ImageType": ["DERIVED", "SECONDARY"], "ConversionType": "WSD"},
}
"""What the modules of each modality ask for: PS3.3 C.8.2.1, C.8.3.1, C.8.9 (2026a)."""


@dataclass(frozen=True)
class Identity:
    """Who and what a file belongs to, above the series."""

    patient_id: str
    patient_name: str
    study_uid: str
    frame_of_reference_uid: str
    birth_date: str = "19500101"
    sex: str = "O"
    study_date: str = "20240102"
    study_time: str = "101500"
    study_description: str = "THORAX"
    study_id: str = "1"
    accession_number: str = "A0001"


@dataclass(frozen=True)
class SeriesOptions:
    """How a series is written.

    ``rescale_slope`` and ``rescale_intercept`` are one number, one for each slice, or None for a
    series without them (an MR series with slope 1 and intercept 0 has none either). A value of
    None in `extra` removes that attribute. `per_slice` changes slice ``k`` last, after its pixels
    were compressed.
    """

    modality: str = "CT"
    description: str = "SERIES"
    series_uid: str | None = None
    series_number: int = 1
    rescale_slope: float | Sequence[float] | None = 1.0
    rescale_intercept: float | Sequence[float] | None = 0.0
    transfer_syntax: str = ExplicitVRLittleEndian
    bits_stored: int | None = None
    manufacturer: str = "LEPTON"
    extra: Mapping[str, object] = field(default_factory=dict)
    per_slice: Callable[[int, Dataset], None] | None = None
    file_names: Sequence[str] | None = None


def uid(*parts: object) -> str:
    """Derive a UID (``2.25.`` and a 128-bit number) from a text."""
    text = "/".join(str(part) for part in parts)
    return f"2.25.{int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], 'big')}"


def identity(seed_text: str, **changes: str) -> Identity:
    """Make an identity whose UIDs follow from a text alone."""
    name = "".join(letter if letter.isalnum() else "-" for letter in seed_text).upper()
    made = Identity(
        patient_id=name,
        patient_name=f"PHANTOM^{name}",
        study_uid=uid("study", seed_text),
        frame_of_reference_uid=uid("frame of reference", seed_text),
    )
    return replace(made, **changes)


def series_uid_of(who: Identity, options: SeriesOptions) -> str:
    """Return the UID that :func:`write_series` gives the series."""
    return options.series_uid or uid(who.study_uid, options.modality, options.description)


def sop_uid_of(series_uid: str, k: int) -> str:
    """Return the UID of the instance of slice ``k`` of a series."""
    return uid(series_uid, "slice", k)


def write_series(
    folder: Path,
    stored: NDArray[np.integer[Any]],
    affine_lps: NDArray[np.float64],
    who: Identity,
    options: SeriesOptions | None = None,
) -> list[Path]:
    """Write one single-frame file a slice.

    Parameters
    ----------
    folder
        Made where it doesn't exist.
    stored
        Stored values ``(i, j, k)``: column, row, slice.
    affine_lps
        ``(4, 4)``, voxel index to LPS, mm. Its first two columns are orthogonal; each slice's
        position is written from it, whatever the third column.
    who
        Patient, study and frame of reference.
    options
        Everything else.

    Returns
    -------
    list of Path
        Files in the order of ``k``.
    """
    options = options or SeriesOptions()
    folder.mkdir(parents=True, exist_ok=True)
    names = options.file_names or [f"IM{k + 1:04d}" for k in range(stored.shape[2])]
    paths = []
    for k in range(stored.shape[2]):
        dataset = _slice(stored[:, :, k], affine_lps, k, who, options)
        if options.modality == "PT":
            dataset.NumberOfSlices, dataset.ImageIndex = stored.shape[2], k + 1
        for keyword, value in options.extra.items():
            if value is not None:
                setattr(dataset, keyword, value)
            elif keyword in dataset:
                delattr(dataset, keyword)
        if options.per_slice is not None:
            options.per_slice(k, dataset)
        paths.append(save(dataset, folder / names[k]))
    return paths


def save(dataset: Dataset, path: Path) -> Path:
    """Write a data set that has its file meta, completed with constant tags."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.file_meta.ImplementationClassUID = UID(uid(SOFTWARE))
    dataset.file_meta.ImplementationVersionName = SOFTWARE
    dataset.save_as(path, enforce_file_format=True)
    return path


def new_dataset(sop_class: str, sop_uid: str, transfer_syntax: str, who: Identity) -> Dataset:
    """Start a data set: file meta, patient, study and SOP common."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = UID(sop_class)
    dataset.file_meta.MediaStorageSOPInstanceUID = UID(sop_uid)
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, sop_uid
    dataset.PatientID, dataset.PatientName = who.patient_id, who.patient_name
    dataset.PatientBirthDate, dataset.PatientSex = who.birth_date, who.sex
    dataset.StudyInstanceUID, dataset.StudyID = who.study_uid, who.study_id
    dataset.StudyDate, dataset.StudyTime = who.study_date, who.study_time
    dataset.StudyDescription = who.study_description
    dataset.AccessionNumber = who.accession_number
    dataset.ReferringPhysicianName = ""
    dataset.FrameOfReferenceUID = who.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    return dataset


def _slice(
    stored: NDArray[np.integer[Any]],
    affine_lps: NDArray[np.float64],
    k: int,
    who: Identity,
    options: SeriesOptions,
) -> Dataset:
    series_uid = series_uid_of(who, options)
    syntax = options.transfer_syntax
    sop_class = SOP_CLASSES[options.modality]
    dataset = new_dataset(sop_class, sop_uid_of(series_uid, k), syntax, who)
    dataset.Modality, dataset.Manufacturer = options.modality, options.manufacturer
    dataset.SeriesInstanceUID, dataset.SeriesNumber = series_uid, options.series_number
    dataset.SeriesDescription = options.description
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = who.study_date
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = who.study_time
    dataset.AcquisitionNumber, dataset.InstanceNumber = 1, k + 1
    dataset.PatientPosition = "HFS"
    for keyword, value in MODALITY_TAGS[options.modality].items():
        setattr(dataset, keyword, value)
    _place(dataset, affine_lps, k)
    _rescale(dataset, k, options)
    _pixels(dataset, stored.T, options)
    return dataset


def _place(dataset: Dataset, affine_lps: NDArray[np.float64], k: int) -> None:
    columns = np.asarray(affine_lps, dtype=np.float64)[:3]
    spacing = np.linalg.norm(columns[:, :3], axis=0)
    position = columns @ np.array([0.0, 0.0, k, 1.0])
    dataset.ImagePositionPatient = decimals(position)
    dataset.ImageOrientationPatient = decimals((columns[:, :2] / spacing[:2]).T)
    # The spacing between rows comes first: PS3.3 10.7.1.3.
    dataset.PixelSpacing = decimals(spacing[[1, 0]])
    dataset.SliceThickness = decimals(spacing[2:])[0]
    if dataset.Modality == "MR":
        dataset.SpacingBetweenSlices = dataset.SliceThickness


def _rescale(dataset: Dataset, k: int, options: SeriesOptions) -> None:
    slope, intercept = options.rescale_slope, options.rescale_intercept
    if slope is None or intercept is None:
        return
    if options.modality == "MR" and (slope, intercept) == (1.0, 0.0):
        return
    dataset.RescaleSlope = decimals(slope if isinstance(slope, int | float) else slope[k])[0]
    one = intercept if isinstance(intercept, int | float) else intercept[k]
    dataset.RescaleIntercept = decimals(one)[0]


def _pixels(dataset: Dataset, rows: NDArray[np.integer[Any]], options: SeriesOptions) -> None:
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows, dataset.Columns = rows.shape
    dataset.BitsAllocated = 8 * rows.dtype.itemsize
    dataset.BitsStored = options.bits_stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(np.issubdtype(rows.dtype, np.signedinteger))
    big_endian = options.transfer_syntax == ExplicitVRBigEndian
    raw = rows.astype(rows.dtype.newbyteorder(">" if big_endian else "<")).tobytes()
    dataset.PixelData = raw + b"\0" * (len(raw) % 2)
    dataset["PixelData"].VR = "OB" if rows.dtype.itemsize == 1 else "OW"
    # imagecodecs codes all allocated bits; a stream for fewer is a good deal smaller.
    few_bits = dataset.BitsStored < dataset.BitsAllocated
    if options.transfer_syntax == RLELossless or (options.transfer_syntax == JPEGLSLossless and few_bits):
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian  # what compress starts from
        dataset.compress(options.transfer_syntax, generate_instance_uid=False)
    elif options.transfer_syntax in ENCODERS:
        stream = ENCODERS[options.transfer_syntax](np.ascontiguousarray(rows))
        dataset.PixelData = encapsulate([stream])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True


def _jpeg_ls(rows: NDArray[np.integer[Any]]) -> bytes:
    """Encode without the SPIFF header that the codec puts in front of the frame."""
    stream = bytes(imagecodecs.jpegls_encode(rows.view(f"u{rows.dtype.itemsize}")))
    return b"\xff\xd8" + stream[stream.index(b"\xff\xf7") :]


def _jpeg_2000(rows: NDArray[np.integer[Any]]) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(rows, codecformat="j2k", reversible=True, mct=False))


ENCODERS: dict[str, Callable[[NDArray[np.integer[Any]]], bytes]] = {
    JPEGLSLossless: _jpeg_ls,
    JPEG2000Lossless: _jpeg_2000,
}


def decimals(numbers: Any) -> list[str]:
    """Format numbers as decimal strings: at most 16 characters, PS3.5 6.2."""
    return [format_number_as_ds(float(number)) for number in np.ravel(numbers)]
