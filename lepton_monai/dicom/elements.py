"""The values that we keep of a header, and how each is read: plain bytes until somebody asks.

What is kept has one form whatever the file's encoding was: little endian, as in PS3.5 annex A.2. So a value
means the same whether it comes from a file, from the index or from the macro of a frame. A tag is its four
bytes read as one little-endian number, (0028,0010) is 0x00100028: that spares the walker a step an element.
"""

import struct
import warnings
from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword

Vector = tuple[float, ...]

KEPT: tuple[str, ...] = (
    # who and what
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "PatientID",
    "IssuerOfPatientID",
    "Modality",
    "SeriesDescription",
    # where
    "Rows",
    "Columns",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    # the pixels
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PlanarConfiguration",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "NumberOfFrames",
    # their meaning
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "Units",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    # what tells slices apart
    "InstanceNumber",
    "SliceLocation",
    "AcquisitionNumber",
    "FrameAcquisitionNumber",
    "KVP",
    "ImageType",
    "FrameType",
    "ComplexImageComponent",
    "EchoTime",
    "EffectiveEchoTime",
    "EchoNumbers",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "FrameReferenceTime",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "StackID",
    "InStackPositionNumber",
    "DimensionIndexValues",
    "NumberOfSlices",
    "ImagesInAcquisition",
    "BurnedInAnnotation",
    # PET
    "SUVType",
    "DecayCorrection",
    "PatientWeight",
    "SeriesDate",
    "SeriesTime",
    "AcquisitionDate",
    "AcquisitionTime",
    "RadiopharmaceuticalStartTime",
    "RadiopharmaceuticalStartDateTime",
    "RadionuclideTotalDose",
    "RadionuclideHalfLife",
)
"""Keywords of what the walker keeps: PS3.6 chapter 6."""

SEQUENCES: tuple[str, ...] = (
    "DirectoryRecordSequence",
    "ModalityLUTSequence",
    "RealWorldValueMappingSequence",
    "RadiopharmaceuticalInformationSequence",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
"""Sequences of which the walker notes that and where they are."""

MACROS: tuple[str, ...] = (
    "FrameContentSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelMeasuresSequence",
    "PixelValueTransformationSequence",
    "CTImageFrameTypeSequence",
    "MRImageFrameTypeSequence",
    "PETFrameTypeSequence",
    "MREchoSequence",
    "MRDiffusionSequence",
    "DiffusionGradientDirectionSequence",
    "MRTimingAndRelatedParametersSequence",
    "CardiacSynchronizationSequence",
    "TemporalPositionSequence",
)
"""Functional groups whose values are those of a frame: PS3.3 C.7.6.16 and C.8.13 to C.8.22."""


class Private(NamedTuple):
    """An element of a maker of scanners: PS3.5 section 7.8.1.

    Parameters
    ----------
    group
        Odd.
    creator
        Who reserves its block.
    element
        Its number in the block.
    vr
        Of its value.
    """

    group: int
    creator: bytes
    element: int
    vr: str


PRIVATE: dict[str, Private] = {
    "PhilipsSuvFactor": Private(0x7053, b"Philips PET Private Group", 0x00, "DS"),
    "SiemensBValue": Private(0x0019, b"SIEMENS MR HEADER", 0x0C, "IS"),
    "SiemensGradient": Private(0x0019, b"SIEMENS MR HEADER", 0x0E, "FD"),
    "GeBValue": Private(0x0043, b"GEMS_PARM_01", 0x39, "IS"),
    "GeGradientX": Private(0x0019, b"GEMS_ACQU_01", 0xBB, "DS"),
    "GeGradientY": Private(0x0019, b"GEMS_ACQU_01", 0xBC, "DS"),
    "GeGradientZ": Private(0x0019, b"GEMS_ACQU_01", 0xBD, "DS"),
    "PhilipsBValue": Private(0x2001, b"Philips Imaging DD 001", 0x03, "FL"),
    "PhilipsGradientX": Private(0x2005, b"Philips MR Imaging DD 001", 0xB0, "FL"),
    "PhilipsGradientY": Private(0x2005, b"Philips MR Imaging DD 001", 0xB1, "FL"),
    "PhilipsGradientZ": Private(0x2005, b"Philips MR Imaging DD 001", 0xB2, "FL"),
}
"""What the walker keeps of private elements, as the conformance statements of their makers have them."""

BLOCKS = range(0x10, 0x100)
"""That may be reserved in a group."""

CREATORS = {block << 16 | one.group for one in PRIVATE.values() for block in BLOCKS}
"""Tags of those who have reserved them in the groups above."""


def swapped(tag: int) -> int:
    """Turn (group, element) as one number, group first, into the form used here, and back."""
    return (tag & 0xFFFF) << 16 | tag >> 16


def _standard(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


TAGS: dict[str, int] = {keyword: swapped(_standard(keyword)) for keyword in (*KEPT, *SEQUENCES, *MACROS)}

KINDS: dict[int, str] = {TAGS[keyword]: dictionary_VR(_standard(keyword)) for keyword in KEPT} | {
    TAGS["PixelPaddingValue"]: "US",
    TAGS["PixelPaddingRangeLimit"]: "US",
}
"""Value representation of each kept tag; US where the standard says US or SS."""

MOSAIC_TILES, MOSAIC_NORMAL = 0xFF010029, 0xFF020029
"""Number of tiles and slice normal of a Siemens mosaic, kept as text under private tags of our own."""

MAKERS_B_VALUE, MAKERS_GRADIENT = 0xFF030029, 0xFF040029
"""What the maker of a scanner alone says of diffusion, likewise; the gradient is in axes of its own."""


def private_tags(name: str) -> list[int]:
    """Return the tags that a private element may have."""
    return [_private_tag(PRIVATE[name], block) for block in BLOCKS]


def _private_tag(one: Private, block: int) -> int:
    return block << 24 | one.element << 16 | one.group


PRIVATE_KINDS = {_private_tag(one, block): one.vr for one in PRIVATE.values() for block in BLOCKS}
"""Value representation of each private element, in whichever block it stands."""

KINDS |= PRIVATE_KINDS | dict.fromkeys(CREATORS, "LO")
KINDS |= dict.fromkeys((MOSAIC_TILES, MOSAIC_NORMAL, MAKERS_B_VALUE, MAKERS_GRADIENT), "DS")

_DELIMITERS = {ord(letter) for letter in "\\\r\n\f\t"}
"""They end a code extension: PS3.5 section 6.1.2.5.3."""

_UNPACKED: dict[str, tuple[str, int]] = {"US": ("H", 2), "UL": ("I", 4), "FL": ("f", 4), "FD": ("d", 8)}


class Elements(dict[int, bytes]):
    """The kept values of one frame: tag to bytes, little endian."""

    def text(self, keyword: str) -> str:
        """Return a value as text without its padding; several values keep their backslash."""
        raw = self.get(TAGS[keyword])
        if raw is None:
            return ""
        if raw.isascii():
            return raw.decode("ascii").strip(" \0")
        return decoded(raw, self.get(TAGS["SpecificCharacterSet"], b"")).strip(" \0")

    def texts(self, keyword: str) -> tuple[str, ...]:
        """Return all values of a text."""
        text = self.text(keyword)
        return tuple(part.strip(" \0") for part in text.split("\\")) if text else ()

    def private(self, name: str) -> Vector:
        """Return the numbers of a private element, in a block of its creator; none where it is absent.

        Raises
        ------
        ValueError
            Its bytes are no numbers.
        """
        wanted = PRIVATE[name]
        tags = [
            _private_tag(wanted, block)
            for block, creator in self._creators(wanted.group).items()
            if creator == wanted.creator
        ]
        return next((numbers(tag, self[tag]) for tag in tags if tag in self), ())

    def unclaimed(self, name: str) -> Vector:
        """Return the same where anonymisers have left no creator of the group: makers begin with block 10.

        Raises
        ------
        ValueError
            Its bytes are no numbers.
        """
        wanted = PRIVATE[name]
        tag = _private_tag(wanted, BLOCKS[0])
        return () if self._creators(wanted.group) else numbers(tag, self.get(tag, b""))

    def _creators(self, group: int) -> dict[int, bytes]:
        return {
            tag >> 16: self[tag].strip(b" \0") for tag in self if tag & 0xFFFF == group and tag in CREATORS
        }

    def vector(self, keyword: str, length: int) -> Vector | None:
        """Return numbers, or None where there are not as many as should be."""
        found = numbers(TAGS[keyword], self.get(TAGS[keyword], b""))
        return found if len(found) == length else None

    def vectors(self, keyword: str) -> Vector:
        """Return all numbers of a value."""
        return numbers(TAGS[keyword], self.get(TAGS[keyword], b""))

    def number(self, keyword: str) -> float | None:
        """Return the first number of a value; None where it is absent or empty."""
        found = numbers(TAGS[keyword], self.get(TAGS[keyword], b""))
        return found[0] if found else None

    def whole(self, keyword: str) -> int | None:
        """Return the first number of a value, which must be an integer.

        Raises
        ------
        ValueError
            It has a fraction.
        """
        raw = self.get(TAGS[keyword])
        if raw is None:
            return None
        if len(raw) == 2 and KINDS[TAGS[keyword]] == "US":
            return raw[0] | raw[1] << 8
        found = numbers(TAGS[keyword], raw)
        if not found:
            return None
        if not found[0].is_integer():
            raise ValueError(keyword)
        return int(found[0])

    def required(self, keyword: str) -> int:
        """Return an integer that must be there.

        Raises
        ------
        KeyError
            It is absent.
        """
        number = self.whole(keyword)
        if number is None:
            raise KeyError(keyword)
        return number


def to_bytes(elements: Mapping[int, bytes]) -> bytes:
    """Write values as the index keeps them: their number, tags, lengths and bytes."""
    values = elements.values()
    count = len(values)
    return struct.pack(f"<H{2 * count}I", count, *elements, *map(len, values)) + b"".join(values)


def from_bytes(content: bytes) -> Elements:
    """Read what :func:`to_bytes` has written.

    Raises
    ------
    struct.error
        It is cut.
    """
    (count,) = struct.unpack_from("<H", content)
    tags_and_lengths = struct.unpack_from(f"<{2 * count}I", content, 2)
    ends = list(accumulate(tags_and_lengths[count:], initial=2 + 8 * count))
    values = [content[start:end] for start, end in pairwise(ends)]
    return Elements(zip(tags_and_lengths[:count], values, strict=True))


def numbers(tag: int, raw: bytes) -> Vector:
    """Decode the numbers of a value: PS3.5 section 6.2.

    Raises
    ------
    ValueError
        The text is no number, the bytes are no whole number of values.
    """
    binary = _UNPACKED.get(KINDS[tag])
    if binary is None:
        text = raw.strip(b" \0")
        return tuple(map(float, text.split(b"\\"))) if text else ()
    code, size = binary
    if len(raw) % size:
        message = f"{len(raw)} bytes are no {KINDS[tag]}"
        raise ValueError(message)
    return tuple(map(float, struct.unpack(f"<{len(raw) // size}{code}", raw)))


def packed(tag: int, values: Sequence[object]) -> bytes:
    """Bring parsed values to the form in which they are kept.

    Raises
    ------
    struct.error, ValueError
        A value doesn't fit its representation.
    """
    binary = _UNPACKED.get(KINDS[tag])
    if binary is None:
        return "\\".join(str(value) for value in values).encode("utf-8")
    if binary[0] in "HI":
        bits = 8 * binary[1]
        return b"".join(struct.pack(f"<{binary[0]}", int(str(value)) % (1 << bits)) for value in values)
    return b"".join(struct.pack(f"<{binary[0]}", float(str(value))) for value in values)


def decoded(raw: bytes, character_set: bytes) -> str:
    """Decode text by the file's character set: PS3.5 section 6.1."""
    names = character_set.decode("ascii", "replace").strip(" \0").split("\\")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a text that is no text is read as far as it goes
        return str(decode_bytes(raw, convert_encodings([name.strip() for name in names]), _DELIMITERS))


def merged(parts: Sequence[Mapping[int, bytes]]) -> Elements:
    """Lay values over each other; a later part wins."""
    together = Elements()
    for part in parts:
        together.update(part)
    return together
