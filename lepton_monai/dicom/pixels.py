"""Stored pixel values of one slice, exactly as the file holds them or not at all."""

import struct
from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.dicom.container import within
from lepton_monai.dicom.file import PixelElement
from lepton_monai.dicom.header import Header, PixelLayout
from lepton_monai.dicom.tags import EXPLICIT_BIG, NATIVE

Decoder = Callable[[bytes, Header], NDArray[Any]]
_Size = tuple[int, int, int]

MOST_PIXELS = 1 << 26
"""Of a compressed slice: 8192 x 8192. A few bytes can claim any size; native pixels must be there."""

_ITEM, _END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
"""Item and Sequence Delimitation Item of encapsulated pixel data: PS3.5 annex A.4."""

_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG (SOF0 to SOF15) and JPEG-LS (SOF55): T.81 table B.1, T.87 annex C.2."""


def _rle(frame: bytes, header: Header) -> NDArray[Any]:
    kind = np.dtype(f"<u{header.layout.bits_allocated // 8}")
    decoded = imagecodecs.dicomrle_decode(frame, kind, out=_expected_bytes(header))
    return np.frombuffer(decoded, kind).reshape(header.placement.rows, header.placement.columns)


def _by(codec: Callable[[bytes], NDArray[Any]], stated_size: Callable[[bytes], _Size]) -> Decoder:
    """Decode after a look at what the stream claims: decoders allocate that before they fail."""

    def decode(frame: bytes, header: Header) -> NDArray[Any]:
        # Some decoders would fill up with grey. One byte of padding may follow, of any value.
        if b"\xff\xd9" not in frame.rstrip(b"\0")[-3:]:
            raise _refused(header, "truncated_pixel_data", "The compressed image has no end.")
        size, expected = stated_size(frame), (header.placement.rows, header.placement.columns, 1)
        if size != expected:
            message = f"The compressed image is {size}, the header says {expected}."
            raise _refused(header, "undecodable_pixel_data", message)
        return np.asarray(codec(frame))

    return decode


def _jpeg_size(frame: bytes) -> _Size:
    """Return rows, columns and components of a JPEG or JPEG-LS stream: T.81 annex B.2.2."""
    at = 2
    while frame[at + 1] not in _FRAME_HEADERS:
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    _, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
    return rows, columns, components


def _jpeg_2000_size(frame: bytes) -> _Size:
    """Return rows, columns and components of a JPEG 2000 stream, in a JP2 box or not: T.800 A.5.1."""
    at = frame.index(b"\xff\x4f\xff\x51") + 8
    right, lower, left, upper, components = struct.unpack_from(">4I16xH", frame, at)
    return lower - upper, right - left, components


DECODERS: dict[str, Decoder] = {
    "1.2.840.10008.1.2.5": _rle,
    "1.2.840.10008.1.2.4.50": _by(imagecodecs.jpeg8_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.51": _by(imagecodecs.jpeg_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.57": _by(imagecodecs.ljpeg_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.70": _by(imagecodecs.ljpeg_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.80": _by(imagecodecs.jpegls_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.81": _by(imagecodecs.jpegls_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.90": _by(imagecodecs.jpeg2k_decode, _jpeg_2000_size),
    "1.2.840.10008.1.2.4.91": _by(imagecodecs.jpeg2k_decode, _jpeg_2000_size),
    "1.2.840.10008.1.2.4.201": _by(imagecodecs.htj2k_decode, _jpeg_2000_size),
    "1.2.840.10008.1.2.4.202": _by(imagecodecs.htj2k_decode, _jpeg_2000_size),
    "1.2.840.10008.1.2.4.203": _by(imagecodecs.htj2k_decode, _jpeg_2000_size),
}
"""Encapsulated transfer syntaxes that we decode: PS3.5 annex A.4."""


def pixel_finding(header: Header) -> Finding | None:
    """Say from the header and the file's size alone why the pixels can't be right; None: they may be.

    Returns
    -------
    finding
        `unsupported_transfer_syntax`, `truncated_pixel_data`, `bad_header`, or the remark
        `excess_pixel_data`.
    """
    layout, uid, path = header.layout, header.identity.series_uid, header.path
    if layout.transfer_syntax_uid not in NATIVE and layout.transfer_syntax_uid not in DECODERS:
        message = f"Transfer syntax {layout.transfer_syntax_uid[:64]} is not one that we decode."
        return Finding("unsupported_transfer_syntax", message, uid, path)
    if layout.bits_allocated not in {8, 16, 32} or not (
        0 < layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated
    ):
        message = (
            f"Bits allocated {layout.bits_allocated}, stored {layout.bits_stored} and high bit "
            f"{layout.high_bit} don't go together."
        )
        return Finding("bad_header", message, uid, path)
    return _length_finding(header)


def read_stored(header: Header) -> NDArray[Any]:
    """Read the stored values of one slice as :func:`read_pixels` does, without its remark."""
    return read_pixels(header)[0]


def read_pixels(header: Header) -> tuple[NDArray[Any], bool]:
    """Read the stored values of one slice.

    Returns
    -------
    stored : integer array ``(rows, columns)``
        Bits above the high bit masked, signed values extended from BitsStored: PS3.5 section 8.1.1.
    masked : bool
        Whether the bits outside of BitsStored held something: an overlay or rubbish.

    Raises
    ------
    SeriesRefused
        The pixel data are cut, damaged or of another size than the header says.
    """
    finding = pixel_finding(header)
    if finding and finding.severity == "refused":
        raise SeriesRefused(finding)
    try:
        raw = _native(header) if header.layout.transfer_syntax_uid in NATIVE else _decoded(header)
    except SeriesRefused:
        raise
    except Exception as error:  # the border: a decoder may raise anything
        message = f"The pixel data can't be decoded ({type(error).__name__})."
        raise _refused(header, "undecodable_pixel_data", message) from error
    expected = (header.placement.rows, header.placement.columns)
    if raw.shape != expected or raw.dtype.itemsize * 8 < header.layout.bits_stored:
        message = f"The pixels decode to {raw.shape} {raw.dtype}, the header says {expected}."
        raise _refused(header, "undecodable_pixel_data", message)
    stored = _meaningful_bits(raw, header.layout)
    return stored, _has_other_bits(raw, stored, header.layout)


def _refused(header: Header, code: str, message: str) -> SeriesRefused:
    return SeriesRefused(Finding(code, message, header.identity.series_uid, header.path))


def _length_finding(header: Header) -> Finding | None:
    layout, element = header.layout, header.pixels
    uid, path = header.identity.series_uid, header.path
    if element is None:
        return Finding("truncated_pixel_data", "The file has no pixel data.", uid, path)
    if layout.transfer_syntax_uid not in NATIVE:
        if header.placement.rows * header.placement.columns > MOST_PIXELS:
            message = f"A matrix of {header.placement.rows} x {header.placement.columns} is no slice."
            return Finding("bad_header", message, uid, path)
        return None
    expected = _expected_bytes(header)
    there = min(element.length or 0, element.available)
    if there < expected:
        message = f"The pixel data are {there} bytes, {expected} are needed."
        return Finding("truncated_pixel_data", message, uid, path)
    if there > expected + expected % 2:
        message = f"The pixel data are {there} bytes, {expected} are used."
        return Finding("excess_pixel_data", message, uid, path)
    return None


def _expected_bytes(header: Header) -> int:
    pixels = header.placement.rows * header.placement.columns * header.layout.samples_per_pixel
    return pixels * header.layout.frames * (header.layout.bits_allocated // 8)


def _native(header: Header) -> NDArray[Any]:
    layout = header.layout
    if header.pixels is None:
        raise ValueError
    content = _content(header, header.pixels)
    big = layout.transfer_syntax_uid == EXPLICIT_BIG
    if big and layout.bits_allocated == 8 and header.pixels.vr == "OW":
        # Two pixels share a big-endian word: PS3.5 section 8.1.2 and annex A.3.
        content = np.frombuffer(content, ">u2").astype("<u2").tobytes()
    kind = np.dtype(f"{'>' if big else '<'}u{layout.bits_allocated // 8}")
    stored = np.frombuffer(content[: _expected_bytes(header)], dtype=kind)
    return stored.reshape(header.placement.rows, header.placement.columns)


def _decoded(header: Header) -> NDArray[Any]:
    layout = header.layout
    if header.pixels is None:
        raise ValueError
    content = _content(header, header.pixels)
    fragments = []
    at = 0
    while content[at : at + 4] == _ITEM:
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        fragments.append(content[at + 8 : at + 8 + length])
        at += 8 + length
    # Some writers forget the delimiter; then all fragments must be there at least.
    if content[at : at + 4] != _END and at != len(content):
        raise _refused(header, "truncated_pixel_data", "The compressed pixel data are cut.")
    # The first item is the offset table; a single frame is all of the others.
    return DECODERS[layout.transfer_syntax_uid](b"".join(fragments[1:]), header)


def _content(header: Header, pixels: PixelElement) -> bytes:
    """Read the value of Pixel Data, as long as it is stated or, encapsulated, to the end."""
    length = pixels.available if pixels.length is None else pixels.length
    return within(header.path, lambda container: container.read(length, pixels.offset))


def _meaningful_bits(raw: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    size = raw.dtype.itemsize
    unsigned = raw.astype(f"u{size}", copy=False)
    # Up: what lies above the high bit falls out; down: the sign (or zero) is drawn in.
    shift_up = size * 8 - 1 - min(layout.high_bit, size * 8 - 1)
    shifted = np.left_shift(unsigned, shift_up).view(f"{'i' if layout.signed else 'u'}{size}")
    return np.asarray(np.right_shift(shifted, size * 8 - layout.bits_stored))


def _has_other_bits(raw: NDArray[Any], stored: NDArray[Any], layout: PixelLayout) -> bool:
    """Tell whether a value is extended neither by zeros nor by its sign to the bits of `raw`."""
    size = raw.dtype.itemsize
    if layout.bits_stored == size * 8:
        return False
    plain = raw.astype(f"u{size}", copy=False)
    low = min(layout.high_bit, size * 8 - 1) + 1 - layout.bits_stored
    window = ((1 << layout.bits_stored) - 1) << low
    extended = np.left_shift(stored, low).view(f"u{size}")
    return not (np.array_equal(plain & plain.dtype.type(window), plain) or np.array_equal(extended, plain))
