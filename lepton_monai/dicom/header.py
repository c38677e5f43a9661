"""What is read of one DICOM file before its pixels: plain values, no pydicom object.

This is the border for foreign DICOM headers: whatever a file does, :func:`read_header` returns a value
or a :class:`Finding`.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.multival import MultiValue

from lepton_monai.core.findings import Finding
from lepton_monai.dicom.dataset import ParsedFile, PixelElement, foreign_file, read_dataset
from lepton_monai.dicom.pet import PetDose, read_pet_dose
from lepton_monai.dicom.tags import CLASSIC, ENHANCED, NOT_IMAGES

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Identity:
    """Who and what: the values that never leave the package but as a pseudonym."""

    patient_id: str
    issuer: str
    study_uid: str
    series_uid: str
    instance_uid: str
    class_uid: str
    frame_of_reference_uid: str

    @property
    def patient_key(self) -> str:
        """PatientID with its issuer; the study where there is no id."""
        if not self.patient_id:
            return f"study {self.study_uid}"
        return f"{self.patient_id}\x1f{self.issuer}" if self.issuer else self.patient_id


@dataclass(frozen=True)
class Placement:
    """Where a slice lies: PS3.3 C.7.6.2, patient space LPS, mm; an absent pixel spacing is NaN."""

    rows: int
    columns: int
    position: Vector
    orientation: Vector
    row_spacing_mm: float
    column_spacing_mm: float
    slice_thickness_mm: float | None
    spacing_between_slices_mm: float | None


@dataclass(frozen=True)
class PixelLayout:
    """How the stored values lie in the file: PS3.3 C.7.6.3, PS3.5 section 8."""

    transfer_syntax_uid: str
    samples_per_pixel: int
    photometric_interpretation: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    signed: bool
    frames: int
    element: PixelElement | None

    @property
    def kind(self) -> tuple[int, int, bool]:
        """Bits allocated, bits stored, signed: what must agree for one array type to do."""
        return self.bits_allocated, self.bits_stored, self.signed


@dataclass(frozen=True)
class ValueMapping:
    """From stored values to physical ones: PS3.3 C.11.1 and C.7.5.1.1.2."""

    slope: float | None
    intercept: float | None
    rescale_type: str
    units: str
    has_modality_lut: bool
    has_real_world_map: bool
    padding_value: int | None
    padding_limit: int | None


@dataclass(frozen=True)
class Acquisition:
    """What can tell two slices at one position apart, and what the header says of the whole."""

    instance_number: int | None
    acquisition_number: int | None
    image_type: tuple[str, ...]
    echo: tuple[float | None, int | None]
    b_value: tuple[float | None, Vector | None]
    temporal_position: int | None
    trigger_time_ms: float | None
    stack_id: str
    slices_declared: int | None
    burned_in_annotation: bool


@dataclass(frozen=True)
class Header:
    """One single-frame image in one file."""

    path: Path
    modality: str
    description: str
    identity: Identity
    placement: Placement
    layout: PixelLayout
    values: ValueMapping
    acquisition: Acquisition
    pet: PetDose | None
    has_preamble: bool


@dataclass(frozen=True)
class Annotation:
    """A label object: RTSTRUCT or SEG. Its contours or frames are read when they are needed."""

    path: Path
    modality: str
    identity: Identity
    referenced_series_uids: tuple[str, ...]
    referenced_instance_uids: frozenset[str]
    region_names: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class OtherObject:
    """A DICOM object that is no image and no label: its kind is all that is said of it."""

    path: Path
    kind: str


def read_header(path: Path) -> Header | Annotation | OtherObject | Finding:
    """Read one file up to its pixels, contours or frames.

    Parameters
    ----------
    path
        Any file.

    Returns
    -------
    result
        A `Finding` (`not_dicom`, `empty_file`, `unreadable_file`, `inflate_limit`, `multi_frame`, ...)
        where the file can't be used.
    """
    parsed = read_dataset(path)
    if isinstance(parsed, Finding):
        return parsed
    dataset = parsed.dataset
    try:
        with foreign_file():
            return _described(parsed, dataset, path)
    except Exception as error:  # noqa: BLE001 - the border: any value of a foreign file may be rubbish
        message = f"A value of the header is absent or can't be read ({type(error).__name__})."
        return Finding("bad_header", message, path=path)


def _described(parsed: ParsedFile, dataset: Any, path: Path) -> Header | Annotation | OtherObject | Finding:
    if "DirectoryRecordSequence" in dataset:
        return OtherObject(path, "DICOMDIR")
    identity = _identity(dataset)
    if not _is_uid(identity.series_uid) or not _is_uid(identity.instance_uid):
        return Finding("bad_uid", "The series or instance UID is no UID.", path=path)
    modality = _text(dataset, "Modality").upper()
    if modality in {"RTSTRUCT", "SEG"}:
        return _annotation(dataset, path, modality, identity)
    kind = NOT_IMAGES.get(identity.class_uid)
    if kind or ("Rows" not in dataset and identity.class_uid not in CLASSIC):
        return OtherObject(path, kind or modality or "unknown object")
    return _header(parsed, path, modality, identity)


def _header(parsed: ParsedFile, path: Path, modality: str, identity: Identity) -> Header | Finding:
    dataset = parsed.dataset
    layout = _layout(dataset, parsed.transfer_syntax_uid, parsed.pixels)
    acquisition = _acquisition(dataset)
    position = _vector(dataset, "ImagePositionPatient", 3)
    orientation = _vector(dataset, "ImageOrientationPatient", 6)
    problem = _why_no_slice(identity, layout, acquisition)
    if problem is None and (position is None or orientation is None):
        problem = ("no_position", "The image has no position in space.")
    if problem is not None or position is None or orientation is None:
        code, message = problem or ("no_position", "")
        return Finding(code, message, identity.series_uid, path)
    return Header(
        path=path,
        modality=modality,
        description=_text(dataset, "SeriesDescription"),
        identity=identity,
        placement=_placement(dataset, position, orientation),
        layout=layout,
        values=_values(dataset),
        acquisition=acquisition,
        pet=read_pet_dose(dataset) if modality == "PT" else None,
        has_preamble=parsed.has_preamble,
    )


def _why_no_slice(
    identity: Identity, layout: PixelLayout, acquisition: Acquisition
) -> tuple[str, str] | None:
    """Return code and message of what makes a file no slice of a volume."""
    if "MOSAIC" in acquisition.image_type:
        return "mosaic", "The image holds many slices as tiles."
    if layout.frames != 1 or identity.class_uid in ENHANCED:
        return "multi_frame", f"One file holds {layout.frames} frames."
    grey = layout.photometric_interpretation in {"MONOCHROME1", "MONOCHROME2"}
    if layout.samples_per_pixel != 1 or not grey:
        return "colour", f"The pixels are {layout.photometric_interpretation[:16]}."
    return None


def _identity(dataset: Any) -> Identity:
    return Identity(
        patient_id=_text(dataset, "PatientID"),
        issuer=_text(dataset, "IssuerOfPatientID"),
        study_uid=_text(dataset, "StudyInstanceUID"),
        series_uid=_text(dataset, "SeriesInstanceUID"),
        instance_uid=_text(dataset, "SOPInstanceUID"),
        class_uid=_text(dataset, "SOPClassUID"),
        frame_of_reference_uid=_text(dataset, "FrameOfReferenceUID"),
    )


def _placement(dataset: Any, position: Vector, orientation: Vector) -> Placement:
    spacing = _vector(dataset, "PixelSpacing", 2) or (math.nan, math.nan)
    return Placement(
        rows=int(dataset.Rows),
        columns=int(dataset.Columns),
        position=position,
        orientation=orientation,
        # The first value is the distance between rows, so along j: PS3.3 10.7.1.1.
        row_spacing_mm=spacing[0],
        column_spacing_mm=spacing[1],
        slice_thickness_mm=_number(dataset, "SliceThickness"),
        spacing_between_slices_mm=_number(dataset, "SpacingBetweenSlices"),
    )


def _layout(dataset: Any, transfer_syntax_uid: str, pixels: PixelElement | None) -> PixelLayout:
    bits_allocated = int(dataset.BitsAllocated)
    bits_stored = _whole(dataset, "BitsStored") or bits_allocated
    high_bit = _whole(dataset, "HighBit")
    return PixelLayout(
        transfer_syntax_uid=transfer_syntax_uid,
        samples_per_pixel=_whole(dataset, "SamplesPerPixel") or 1,
        photometric_interpretation=_text(dataset, "PhotometricInterpretation"),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        signed=_whole(dataset, "PixelRepresentation") == 1,
        frames=_whole(dataset, "NumberOfFrames") or 1,
        element=pixels,
    )


def _values(dataset: Any) -> ValueMapping:
    return ValueMapping(
        slope=_number(dataset, "RescaleSlope"),
        intercept=_number(dataset, "RescaleIntercept"),
        rescale_type=_text(dataset, "RescaleType"),
        units=_text(dataset, "Units").upper(),
        has_modality_lut="ModalityLUTSequence" in dataset,
        has_real_world_map="RealWorldValueMappingSequence" in dataset,
        padding_value=_whole(dataset, "PixelPaddingValue"),
        padding_limit=_whole(dataset, "PixelPaddingRangeLimit"),
    )


def _acquisition(dataset: Any) -> Acquisition:
    return Acquisition(
        instance_number=_whole(dataset, "InstanceNumber"),
        acquisition_number=_whole(dataset, "AcquisitionNumber"),
        image_type=tuple(str(part).upper() for part in _many(dataset, "ImageType")),
        echo=(_number(dataset, "EchoTime"), _whole(dataset, "EchoNumbers")),
        b_value=(
            _number(dataset, "DiffusionBValue"),
            _vector(dataset, "DiffusionGradientOrientation", 3),
        ),
        temporal_position=_whole(dataset, "TemporalPositionIdentifier"),
        trigger_time_ms=_number(dataset, "TriggerTime"),
        stack_id=_text(dataset, "StackID"),
        slices_declared=_whole(dataset, "NumberOfSlices") or _whole(dataset, "ImagesInAcquisition"),
        burned_in_annotation=_text(dataset, "BurnedInAnnotation").upper() == "YES",
    )


def _annotation(dataset: Any, path: Path, modality: str, identity: Identity) -> Annotation:
    series: list[str] = []
    instances: set[str] = set()
    # RTSTRUCT nests the series below frame of reference and study (PS3.3 C.8.8.5), SEG names it
    # in the common instance reference (PS3.3 C.12.2).
    references = list(_many(dataset, "ReferencedSeriesSequence"))
    for frame in _many(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in _many(frame, "RTReferencedStudySequence"):
            references += _many(study, "RTReferencedSeriesSequence")
    for reference in references:
        series.append(_text(reference, "SeriesInstanceUID"))
        listed = [
            *_many(reference, "ContourImageSequence"),
            *_many(reference, "ReferencedInstanceSequence"),
        ]
        instances.update(_text(item, "ReferencedSOPInstanceUID") for item in listed)
    for image in _many(dataset, "SourceImageSequence"):
        instances.add(_text(image, "ReferencedSOPInstanceUID"))
    return Annotation(
        path,
        modality,
        identity,
        referenced_series_uids=tuple(dict.fromkeys(series)),
        referenced_instance_uids=frozenset(instances),
        region_names=_region_names(dataset),
    )


def _region_names(dataset: Any) -> tuple[tuple[str, ...], ...]:
    """Return what every ROI or segment is called: its name, a segment by its number too."""
    rois = [(_text(roi, "ROIName"),) for roi in _many(dataset, "StructureSetROISequence")]
    segments = [
        (_text(segment, "SegmentLabel"), _text(segment, "SegmentNumber"))
        for segment in _many(dataset, "SegmentSequence")
    ]
    return (*rois, *segments)


def _is_uid(text: str) -> bool:
    return 0 < len(text) <= 64 and text.isascii() and all(part.isdigit() for part in text.split("."))


def _text(dataset: Any, keyword: str) -> str:
    value = dataset.get(keyword)
    if isinstance(value, MultiValue):  # a backslash in a text, which the standard reads as two values
        value = "\\".join(str(part) for part in value)
    return "" if value is None else str(value).strip(" \0")


def _many(dataset: Any, keyword: str) -> list[Any]:
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    if isinstance(value, bytes):
        raise TypeError(keyword)
    return [value] if isinstance(value, str | int | float) else list(value)


def _number(dataset: Any, keyword: str) -> float | None:
    values = _many(dataset, keyword)
    return float(values[0]) if values else None


def _whole(dataset: Any, keyword: str) -> int | None:
    values = _many(dataset, keyword)
    if not values:
        return None
    number = float(values[0])
    if not number.is_integer():
        raise ValueError(keyword)
    return int(number)


def _vector(dataset: Any, keyword: str, length: int) -> Vector | None:
    values = _many(dataset, keyword)
    return tuple(float(value) for value in values) if len(values) == length else None
