"""What is known of one frame before its pixels: plain values, made of what the walker has kept."""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from lepton_monai.dicom.elements import MAKERS_B_VALUE, MAKERS_GRADIENT, TAGS, Elements, Vector, numbers
from lepton_monai.dicom.file import ParsedFile, PixelElement
from lepton_monai.dicom.identity import Identity, identity_of
from lepton_monai.dicom.pet import PetDose, read_pet_dose


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
    """How the stored values lie in the file: PS3.3 C.7.6.3, PS3.5 section 8.

    The matrix of `rows` and `columns` is the whole of a mosaic, not one tile.
    """

    transfer_syntax_uid: str
    rows: int
    columns: int
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
    """What can tell two slices at one position apart, and what the header says of the whole.

    A `gradient` is the direction of diffusion in axes of the scanner's maker; empty: none is known.
    """

    acquisition_number: float | None
    image_type: tuple[str, ...]
    energy_kv: float | None
    echo: tuple[float | None, int | None]
    b_value: tuple[float | None, Vector | None]
    gradient: Vector
    temporal_position: float | None
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
    tile
        First row and column of the slice in the matrix of a mosaic; None: the matrix is the slice.
    pixels
        Where the pixel data of all frames of the file lie; None: there are none.
    """

    file: str
    frame: int
    tile: tuple[int, int] | None
    modality: str
    description: str
    identity: Identity
    instance_number: int | None
    slice_location_mm: float | None
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


def header_of(parsed: ParsedFile, elements: Elements, path: Path | str, frame: int) -> Header | None:
    """Describe one frame.

    Parameters
    ----------
    parsed
        The file.
    elements
        Values of the frame.
    path, frame
        The file, and the number of the frame in it from 0 on.

    Returns
    -------
    header
        None where the frame has no position or no orientation.

    Raises
    ------
    KeyError, ValueError, struct.error
        A value is absent or is not what it should be.
    """
    get = elements.get
    common, values, acquisition = _shared(parsed.transfer_syntax_uid, tuple(map(get, _SHARED)))
    position = elements.vector("ImagePositionPatient", 3)
    layout, plane = common.layout, common.plane
    pet = read_pet_dose(elements) if common.modality == "PT" else None
    if position is None or plane is None:
        return None
    return Header(
        str(path),
        frame,
        None,
        common.modality,
        common.description,
        Identity(*common.owner[:4], elements.text("SOPInstanceUID"), *common.owner[4:]),
        elements.whole("InstanceNumber"),
        elements.number("SliceLocation"),
        Placement(layout.rows, layout.columns, position, *plane),
        layout,
        parsed.pixels,
        values,
        acquisition,
        pet,
        parsed.has_preamble,
    )


def layout_of(parsed: ParsedFile) -> PixelLayout:
    """Describe the pixels of a file.

    Raises
    ------
    KeyError, ValueError, struct.error
        A value is absent or is not what it should be.
    """
    return _common(parsed.transfer_syntax_uid, tuple(map(parsed.elements.get, _COMMON))).layout


# The slices of a series share most of their values: what was made of the same bytes is not made again.

_Raw = tuple[bytes | None, ...]


def _tags(keywords: str) -> tuple[int, ...]:
    return tuple(TAGS[keyword] for keyword in ("SpecificCharacterSet", *keywords.split()))


def _restored(tags: tuple[int, ...], raw: _Raw) -> Elements:
    return Elements({tag: value for tag, value in zip(tags, raw, strict=True) if value is not None})


_COMMON = _tags(
    "PatientID IssuerOfPatientID StudyInstanceUID SeriesInstanceUID SOPClassUID FrameOfReferenceUID "
    "Modality SeriesDescription ImageOrientationPatient PixelSpacing SliceThickness SpacingBetweenSlices "
    "Rows Columns SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit "
    "PixelRepresentation NumberOfFrames"
)
_VALUES = _tags(
    "RescaleSlope RescaleIntercept RescaleType Units ModalityLUTSequence RealWorldValueMappingSequence "
    "PixelPaddingValue PixelPaddingRangeLimit"
)
_ACQUISITION = (
    MAKERS_B_VALUE,
    MAKERS_GRADIENT,
    *_tags(
        "AcquisitionNumber FrameAcquisitionNumber ImageType FrameType ComplexImageComponent KVP EchoTime "
        "EffectiveEchoTime EchoNumbers DiffusionBValue DiffusionGradientOrientation "
        "TemporalPositionIdentifier TemporalPositionIndex FrameReferenceTime TriggerTime "
        "NominalCardiacTriggerDelayTime StackID "
        "NumberOfSlices ImagesInAcquisition BurnedInAnnotation"
    ),
)


class _Common(NamedTuple):
    """What all slices of a plain series share; the owner is an identity without its instance."""

    owner: tuple[str, str, str, str, str, str]
    modality: str
    description: str
    plane: tuple[Vector, float, float, float | None, float | None] | None
    layout: PixelLayout


_SHARED = (*_COMMON, *_VALUES, *_ACQUISITION)


@lru_cache(maxsize=64)
def _shared(transfer_syntax_uid: str, raw: _Raw) -> tuple[_Common, ValueMapping, Acquisition]:
    common, values = len(_COMMON), len(_COMMON) + len(_VALUES)
    return (
        _common(transfer_syntax_uid, raw[:common]),
        _values(raw[common:values]),
        _acquisition(raw[values:]),
    )


@lru_cache(maxsize=64)
def _common(transfer_syntax_uid: str, raw: _Raw) -> _Common:
    elements = _restored(_COMMON, raw)
    of = identity_of(elements)
    return _Common(
        (of.patient_id, of.issuer, of.study_uid, of.series_uid, of.class_uid, of.frame_of_reference_uid),
        elements.text("Modality").upper(),
        elements.text("SeriesDescription"),
        _plane(elements),
        _layout(elements, transfer_syntax_uid),
    )


def _plane(elements: Elements) -> tuple[Vector, float, float, float | None, float | None] | None:
    orientation = elements.vector("ImageOrientationPatient", 6)
    spacing = elements.vector("PixelSpacing", 2) or (math.nan, math.nan)
    thickness, between = elements.number("SliceThickness"), elements.number("SpacingBetweenSlices")
    if orientation is None:
        return None
    # The first spacing is the distance between rows, so along j: PS3.3 10.7.1.1.
    return orientation, spacing[0], spacing[1], thickness, between


def _layout(elements: Elements, transfer_syntax_uid: str) -> PixelLayout:
    bits_allocated = elements.required("BitsAllocated")
    bits_stored = elements.whole("BitsStored") or bits_allocated
    high_bit = elements.whole("HighBit")
    return PixelLayout(
        transfer_syntax_uid=transfer_syntax_uid,
        rows=elements.required("Rows"),
        columns=elements.required("Columns"),
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
    # A classic object has the first of each pair, a frame of an enhanced one the second. The time points of
    # a dynamic PET have nothing but their reference time.
    image_type = elements.texts("FrameType") or elements.texts("ImageType")
    return Acquisition(
        acquisition_number=_first(elements, "AcquisitionNumber", "FrameAcquisitionNumber"),
        image_type=tuple(part.upper() for part in (*image_type, *elements.texts("ComplexImageComponent"))),
        energy_kv=elements.number("KVP"),
        echo=(_first(elements, "EchoTime", "EffectiveEchoTime"), elements.whole("EchoNumbers")),
        b_value=(_b_value(elements), elements.vector("DiffusionGradientOrientation", 3)),
        gradient=numbers(MAKERS_GRADIENT, elements.get(MAKERS_GRADIENT, b"")),
        temporal_position=_first(
            elements, "TemporalPositionIdentifier", "TemporalPositionIndex", "FrameReferenceTime"
        ),
        trigger_time_ms=_first(elements, "TriggerTime", "NominalCardiacTriggerDelayTime"),
        stack_id=elements.text("StackID"),
        slices_declared=elements.whole("NumberOfSlices") or elements.whole("ImagesInAcquisition"),
        burned_in_annotation=elements.text("BurnedInAnnotation").upper() == "YES",
    )


def _b_value(elements: Elements) -> float | None:
    stated = elements.number("DiffusionBValue")
    makers = numbers(MAKERS_B_VALUE, elements.get(MAKERS_B_VALUE, b""))
    return makers[0] if stated is None and makers else stated


def _first(elements: Elements, *keywords: str) -> float | None:
    """Return the number of the first of some tags that is there."""
    return next((one for one in map(elements.number, keywords) if one is not None), None)
