"""What is known of one frame before its pixels: plain values, made of what the walker has kept."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lepton_monai.core.findings import Finding
from lepton_monai.dicom.annotation import LABEL_MODALITIES, Annotation, read_annotation
from lepton_monai.dicom.elements import TAGS, Elements, Vector
from lepton_monai.dicom.file import ParsedFile, PixelElement, parse_file
from lepton_monai.dicom.identity import Identity, identity_of, is_uid
from lepton_monai.dicom.pet import PetDose, read_pet_dose
from lepton_monai.dicom.tags import CLASSIC, ENHANCED, NOT_IMAGES


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
    """One frame of a file, most often its only one.

    Parameters
    ----------
    file, frame
        The path of the file, and the number of the frame in it from 0 on.
    pixels
        Where the pixel data of all frames of the file lie; None: there are none.
    """

    file: str
    frame: int
    modality: str
    description: str
    identity: Identity
    instance_number: int | None
    placement: Placement
    layout: PixelLayout
    pixels: PixelElement | None
    values: ValueMapping
    acquisition: Acquisition
    pet: PetDose | None
    has_preamble: bool

    @property
    def path(self) -> Path:
        """Of the file."""
        return Path(self.file)


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
        The first frame of an image; a `Finding` (`not_dicom`, `empty_file`, `unreadable_file`,
        `inflate_limit`, `no_position`, ...) where the file can't be used.
    """
    parsed = parse_file(path)
    if isinstance(parsed, Finding):
        return parsed
    other = not_an_image(parsed, path)
    if other is not None:
        return other
    headers = headers_of(parsed, path)
    return headers if isinstance(headers, Finding) else headers[0]


def not_an_image(parsed: ParsedFile, path: Path | str) -> Annotation | OtherObject | Finding | None:
    """Say what a file is that holds no image; None: an image."""
    elements = parsed.elements
    if TAGS["DirectoryRecordSequence"] in elements:
        return OtherObject(Path(path), "DICOMDIR")
    if not is_uid(elements.text("SeriesInstanceUID")) or not is_uid(elements.text("SOPInstanceUID")):
        return Finding("bad_uid", "The series or instance UID is no UID.", path=Path(path))
    modality = elements.text("Modality").upper()
    if modality in LABEL_MODALITIES:
        return _annotation(elements, Path(path), modality)
    class_uid = elements.text("SOPClassUID")
    kind = NOT_IMAGES.get(class_uid)
    if kind or (TAGS["Rows"] not in elements and class_uid not in CLASSIC):
        return OtherObject(Path(path), kind or modality or "unknown object")
    return None


def _annotation(elements: Elements, path: Path, modality: str) -> Annotation | Finding:
    try:
        return read_annotation(path, modality, identity_of(elements))
    except RecursionError:
        message = "Sequences are nested deeper than any real object."
        return Finding("nested_too_deep", message, path=path)
    except Exception as error:  # noqa: BLE001 - the border: a foreign file may raise anything
        return _bad_header(error, path)


def headers_of(parsed: ParsedFile, path: Path | str) -> Sequence[Header] | Finding:
    """Describe every frame of an image.

    Returns
    -------
    headers
        In the order of the file; a finding where one can't be a slice of a volume.
    """
    try:
        return _headers(parsed, path)
    except Exception as error:  # noqa: BLE001 - the border: any value of a foreign file may be rubbish
        return _bad_header(error, Path(path))


def _bad_header(error: Exception, path: Path) -> Finding:
    message = f"A value of the header is absent or can't be read ({type(error).__name__})."
    return Finding("bad_header", message, path=path)


def _headers(parsed: ParsedFile, path: Path | str) -> Sequence[Header] | Finding:
    elements = parsed.elements
    header = _header(parsed, elements, path, 0)
    if isinstance(header, Header):
        return [header]
    return header


def _header(parsed: ParsedFile, elements: Elements, path: Path | str, frame: int) -> Header | Finding:
    get = elements.get
    layout = _layout(parsed.transfer_syntax_uid, tuple(map(get, _LAYOUT)))
    acquisition = _acquisition(tuple(map(get, _ACQUISITION)))
    owner = _owner(tuple(map(get, _OWNER)))
    identity = Identity(*owner[:4], elements.text("SOPInstanceUID"), *owner[4:])
    position = elements.vector("ImagePositionPatient", 3)
    plane = _plane(tuple(map(get, _PLANE)))
    problem = _why_no_slice(identity, layout, acquisition)
    if problem is None and (position is None or plane is None):
        problem = ("no_position", "The image has no position in space.")
    if problem is not None or position is None or plane is None:
        code, message = problem or ("no_position", "")
        return Finding(code, message, identity.series_uid, Path(path))
    modality, description, is_pet = _kind(tuple(map(get, _KIND)))
    return Header(
        str(path),
        frame,
        modality,
        description,
        identity,
        elements.whole("InstanceNumber"),
        Placement(plane[0], plane[1], position, *plane[2:]),
        layout,
        parsed.pixels,
        _values(tuple(map(get, _VALUES))),
        acquisition,
        read_pet_dose(elements) if is_pet else None,
        parsed.has_preamble,
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


# The slices of a series share most of their values: what was made of the same bytes is not made again.

_Raw = tuple[bytes | None, ...]


def _tags(keywords: str) -> tuple[int, ...]:
    return tuple(TAGS[keyword] for keyword in ("SpecificCharacterSet", *keywords.split()))


def _restored(tags: tuple[int, ...], raw: _Raw) -> Elements:
    return Elements({tag: value for tag, value in zip(tags, raw, strict=True) if value is not None})


_OWNER = _tags(
    "PatientID IssuerOfPatientID StudyInstanceUID SeriesInstanceUID SOPClassUID FrameOfReferenceUID"
)
_KIND = _tags("Modality SeriesDescription")
_PLANE = _tags("Rows Columns ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices")
_LAYOUT = _tags(
    "SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation "
    "NumberOfFrames"
)
_VALUES = _tags(
    "RescaleSlope RescaleIntercept RescaleType Units ModalityLUTSequence RealWorldValueMappingSequence "
    "PixelPaddingValue PixelPaddingRangeLimit"
)
_ACQUISITION = _tags(
    "AcquisitionNumber ImageType EchoTime EchoNumbers DiffusionBValue DiffusionGradientOrientation "
    "TemporalPositionIdentifier TriggerTime StackID NumberOfSlices ImagesInAcquisition BurnedInAnnotation"
)


@lru_cache(maxsize=64)
def _owner(raw: _Raw) -> tuple[str, str, str, str, str, str]:
    one = identity_of(_restored(_OWNER, raw))
    return (
        one.patient_id,
        one.issuer,
        one.study_uid,
        one.series_uid,
        one.class_uid,
        one.frame_of_reference_uid,
    )


@lru_cache(maxsize=64)
def _kind(raw: _Raw) -> tuple[str, str, bool]:
    elements = _restored(_KIND, raw)
    modality = elements.text("Modality").upper()
    return modality, elements.text("SeriesDescription"), modality == "PT"


@lru_cache(maxsize=64)
def _plane(
    raw: _Raw,
) -> tuple[int, int, Vector, float, float, float | None, float | None] | None:
    elements = _restored(_PLANE, raw)
    orientation = elements.vector("ImageOrientationPatient", 6)
    spacing = elements.vector("PixelSpacing", 2) or (math.nan, math.nan)
    rows, columns = elements.required("Rows"), elements.required("Columns")
    if orientation is None:
        return None
    # The first value is the distance between rows, so along j: PS3.3 10.7.1.1.
    return (
        rows,
        columns,
        orientation,
        spacing[0],
        spacing[1],
        elements.number("SliceThickness"),
        elements.number("SpacingBetweenSlices"),
    )


@lru_cache(maxsize=64)
def _layout(transfer_syntax_uid: str, raw: _Raw) -> PixelLayout:
    elements = _restored(_LAYOUT, raw)
    bits_allocated = elements.required("BitsAllocated")
    bits_stored = elements.whole("BitsStored") or bits_allocated
    high_bit = elements.whole("HighBit")
    return PixelLayout(
        transfer_syntax_uid=transfer_syntax_uid,
        samples_per_pixel=elements.whole("SamplesPerPixel") or 1,
        photometric_interpretation=elements.text("PhotometricInterpretation"),
        bits_allocated=bits_allocated,
        bits_stored=bits_stored,
        high_bit=bits_stored - 1 if high_bit is None else high_bit,
        signed=elements.whole("PixelRepresentation") == 1,
        frames=elements.whole("NumberOfFrames") or 1,
    )


@lru_cache(maxsize=64)
def _values(raw: _Raw) -> ValueMapping:
    elements = _restored(_VALUES, raw)
    return ValueMapping(
        slope=elements.number("RescaleSlope"),
        intercept=elements.number("RescaleIntercept"),
        rescale_type=elements.text("RescaleType"),
        units=elements.text("Units").upper(),
        has_modality_lut=TAGS["ModalityLUTSequence"] in elements,
        has_real_world_map=TAGS["RealWorldValueMappingSequence"] in elements,
        padding_value=elements.whole("PixelPaddingValue"),
        padding_limit=elements.whole("PixelPaddingRangeLimit"),
    )


@lru_cache(maxsize=64)
def _acquisition(raw: _Raw) -> Acquisition:
    elements = _restored(_ACQUISITION, raw)
    return Acquisition(
        acquisition_number=elements.whole("AcquisitionNumber"),
        image_type=tuple(part.upper() for part in elements.texts("ImageType")),
        echo=(elements.number("EchoTime"), elements.whole("EchoNumbers")),
        b_value=(elements.number("DiffusionBValue"), elements.vector("DiffusionGradientOrientation", 3)),
        temporal_position=elements.whole("TemporalPositionIdentifier"),
        trigger_time_ms=elements.number("TriggerTime"),
        stack_id=elements.text("StackID"),
        slices_declared=elements.whole("NumberOfSlices") or elements.whole("ImagesInAcquisition"),
        burned_in_annotation=elements.text("BurnedInAnnotation").upper() == "YES",
    )
