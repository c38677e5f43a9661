"""Stored pixel values of one slice, exactly as the file holds them or not at all."""

from collections.abc import Callable
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import get_frame

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.dicom.dataset import foreign_file, pixel_bytes
from lepton_monai.dicom.header import Header, PixelLayout
from lepton_monai.dicom.tags import EXPLICIT_BIG, NATIVE

Decoder = Callable[[bytes, PixelLayout], NDArray[Any]]


def _rle(frame: bytes, layout: PixelLayout) -> NDArray[Any]:
    return np.asarray(imagecodecs.dicomrle_decode(frame, np.dtype(f"<u{layout.bits_allocated // 8}")))


def _by(codec: Callable[[bytes], NDArray[Any]]) -> Decoder:
    return lambda frame, _layout: np.asarray(codec(frame))


DECODERS: dict[str, Decoder] = {
    "1.2.840.10008.1.2.5": _rle,
    "1.2.840.10008.1.2.4.50": _by(imagecodecs.jpeg8_decode),
    "1.2.840.10008.1.2.4.51": _by(imagecodecs.jpeg_decode),
    "1.2.840.10008.1.2.4.57": _by(imagecodecs.ljpeg_decode),
    "1.2.840.10008.1.2.4.70": _by(imagecodecs.ljpeg_decode),
    "1.2.840.10008.1.2.4.80": _by(imagecodecs.jpegls_decode),
    "1.2.840.10008.1.2.4.81": _by(imagecodecs.jpegls_decode),
    "1.2.840.10008.1.2.4.90": _by(imagecodecs.jpeg2k_decode),
    "1.2.840.10008.1.2.4.91": _by(imagecodecs.jpeg2k_decode),
    "1.2.840.10008.1.2.4.201": _by(imagecodecs.htj2k_decode),
    "1.2.840.10008.1.2.4.202": _by(imagecodecs.htj2k_decode),
    "1.2.840.10008.1.2.4.203": _by(imagecodecs.htj2k_decode),
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
    """Read the stored values of one slice.

    Returns
    -------
    stored : integer array ``(rows, columns)``
        Bits above the high bit masked, signed values extended from BitsStored: PS3.5 section 8.1.1.

    Raises
    ------
    SeriesRefused
        The pixel data are cut, damaged or of another size than the header says.
    """
    finding = pixel_finding(header)
    if finding and finding.severity == "refused":
        raise SeriesRefused(finding)
    try:
        with foreign_file():
            raw = _native(header) if header.layout.transfer_syntax_uid in NATIVE else _decoded(header)
    except Exception as error:  # the border: a decoder may raise anything
        message = f"The pixel data can't be decoded ({type(error).__name__})."
        finding = Finding("undecodable_pixel_data", message, header.identity.series_uid, header.path)
        raise SeriesRefused(finding) from error
    expected = (header.placement.rows, header.placement.columns)
    if raw.shape != expected or raw.dtype.itemsize * 8 < header.layout.bits_stored:
        message = f"The pixels decode to {raw.shape} {raw.dtype}, the header says {expected}."
        finding = Finding("undecodable_pixel_data", message, header.identity.series_uid, header.path)
        raise SeriesRefused(finding)
    return _meaningful_bits(raw, header.layout)


def _length_finding(header: Header) -> Finding | None:
    layout, uid, path = header.layout, header.identity.series_uid, header.path
    if layout.element is None:
        return Finding("truncated_pixel_data", "The file has no pixel data.", uid, path)
    if layout.transfer_syntax_uid not in NATIVE:
        return None
    expected = _expected_bytes(header)
    there = min(layout.element.length or 0, layout.element.available)
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
    if layout.element is None:
        raise ValueError
    content = pixel_bytes(header.path, layout.element)
    big = layout.transfer_syntax_uid == EXPLICIT_BIG
    if big and layout.bits_allocated == 8 and layout.element.vr == "OW":
        # Two pixels share a big-endian word: PS3.5 section 8.1.2 and annex A.3.
        content = np.frombuffer(content, ">u2").astype("<u2").tobytes()
    kind = np.dtype(f"{'>' if big else '<'}u{layout.bits_allocated // 8}")
    stored = np.frombuffer(content[: _expected_bytes(header)], dtype=kind)
    return stored.reshape(header.placement.rows, header.placement.columns)


def _decoded(header: Header) -> NDArray[Any]:
    layout = header.layout
    if layout.element is None:
        raise ValueError
    content = pixel_bytes(header.path, layout.element)
    frame = get_frame(content, 0, number_of_frames=1)
    return DECODERS[layout.transfer_syntax_uid](frame, layout)


def _meaningful_bits(raw: NDArray[Any], layout: PixelLayout) -> NDArray[Any]:
    size = raw.dtype.itemsize
    unsigned = raw.astype(f"u{size}", copy=False)
    # Up: what lies above the high bit falls out; down: the sign (or zero) is drawn in.
    shift_up = size * 8 - 1 - min(layout.high_bit, size * 8 - 1)
    shifted = np.left_shift(unsigned, shift_up).view(f"{'i' if layout.signed else 'u'}{size}")
    return np.asarray(np.right_shift(shifted, size * 8 - layout.bits_stored))
