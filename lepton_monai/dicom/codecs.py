"""Decoders of compressed frames, each behind a look at what its stream claims."""

import re
import struct
import sys
from collections.abc import Callable
from threading import Lock
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from lepton_monai.dicom.header import PixelLayout
from lepton_monai.dicom.tags import RLE

Problem = tuple[str, str] | None
"""Code and message of a finding."""

Decoder = Callable[[bytes, PixelLayout], tuple[NDArray[Any], Problem]]
"""From a frame to its matrix ``(rows, columns)``, in colour ``(rows, columns, samples)``."""

_Size = tuple[int, int, int]

_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Markers of JPEG (SOF0 to SOF15) and JPEG-LS (SOF55): T.81 table B.1, T.87 annex C.2."""

NOTHING: NDArray[Any] = np.empty((0, 0), np.uint8)
"""The matrix of a frame that can't be decoded."""


def _rle(frame: bytes, layout: PixelLayout) -> tuple[NDArray[Any], Problem]:
    kind = np.dtype(f"<u{layout.bits_allocated // 8}")
    pixels = layout.rows * layout.columns
    size = pixels * layout.samples_per_pixel * kind.itemsize
    decoded = np.frombuffer(imagecodecs.dicomrle_decode(frame, kind, out=size), kind)
    if layout.samples_per_pixel == 1:
        return decoded.reshape(layout.rows, layout.columns), None
    planes = decoded.reshape(layout.samples_per_pixel, layout.rows, layout.columns)
    return np.moveaxis(planes, 0, -1), None


_only_one = Lock()


def _htj2k(frame: bytes) -> NDArray[Any]:
    """Decode, and fail where imagecodecs would tell nobody and return what was in memory before."""
    ignored: list[Any] = []
    with _only_one:  # the hook is the interpreter's
        hook, sys.unraisablehook = sys.unraisablehook, ignored.append
        try:
            decoded: NDArray[Any] = imagecodecs.htj2k_decode(frame)
        finally:
            sys.unraisablehook = hook
    if ignored:
        raise ValueError(str(ignored[0].exc_value))
    return decoded


def _by(codec: Callable[[bytes], NDArray[Any]], stated_size: Callable[[bytes], _Size]) -> Decoder:
    """Decode after a look at what the stream claims: decoders allocate that before they fail."""

    def decode(frame: bytes, layout: PixelLayout) -> tuple[NDArray[Any], Problem]:
        # Some decoders would fill up with grey. One byte of padding may follow, of any value.
        if b"\xff\xd9" not in frame.rstrip(b"\0")[-3:]:
            return NOTHING, ("truncated_pixel_data", "The compressed image has no end.")
        size, expected = stated_size(frame), (layout.rows, layout.columns, layout.samples_per_pixel)
        if size != expected:
            message = f"The compressed image is {size}, the header says {expected}."
            return NOTHING, ("undecodable_pixel_data", message)
        return np.asarray(codec(frame)), None

    return decode


def _jpeg_size(frame: bytes) -> _Size:
    """Return rows, columns and components of a JPEG or JPEG-LS stream: T.81 annex B.2.2."""
    at = 2
    while frame[at + 1] not in _FRAME_HEADERS:
        at += 2 + int.from_bytes(frame[at + 2 : at + 4], "big")
    _, rows, columns, components = struct.unpack_from(">BHHB", frame, at + 4)
    return rows, columns, components


def _jpeg_2000_size(frame: bytes) -> _Size:
    """Return rows, columns and components of a JPEG 2000 stream, in a JP2 box or not: T.800 A.5.1.

    Raises
    ------
    ValueError
        Tiles are missing: the decoder would give zeros for them.
    """
    at = frame.index(b"\xff\x4f\xff\x51") + 8
    right, lower, left, upper, *tile, components = struct.unpack_from(">8IH", frame, at)
    width, height, tiles_left, tiles_upper = tile
    wanted = -(-(right - tiles_left) // width) * -(-(lower - tiles_upper) // height)
    found = set(re.findall(rb"\xff\x90\x00\x0a(..)", frame, re.DOTALL))
    if len(found) < wanted:
        message = f"{len(found)} of {wanted} tiles"
        raise ValueError(message)
    return lower - upper, right - left, components


DECODERS: dict[str, Decoder] = {
    RLE: _rle,
    "1.2.840.10008.1.2.4.50": _by(imagecodecs.jpeg8_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.51": _by(imagecodecs.jpeg_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.57": _by(imagecodecs.ljpeg_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.70": _by(imagecodecs.ljpeg_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.80": _by(imagecodecs.jpegls_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.81": _by(imagecodecs.jpegls_decode, _jpeg_size),
    "1.2.840.10008.1.2.4.90": _by(imagecodecs.jpeg2k_decode, _jpeg_2000_size),
    "1.2.840.10008.1.2.4.91": _by(imagecodecs.jpeg2k_decode, _jpeg_2000_size),
    "1.2.840.10008.1.2.4.201": _by(_htj2k, _jpeg_2000_size),
    "1.2.840.10008.1.2.4.202": _by(_htj2k, _jpeg_2000_size),
    "1.2.840.10008.1.2.4.203": _by(_htj2k, _jpeg_2000_size),
}
"""Encapsulated transfer syntaxes that we decode: PS3.5 annex A.4."""
