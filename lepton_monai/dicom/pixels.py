"""Stored pixel values of frames, exactly as the file holds them or not at all."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.dicom.codecs import DECODERS
from lepton_monai.dicom.container import within
from lepton_monai.dicom.decoding import decode
from lepton_monai.dicom.file import PixelElement
from lepton_monai.dicom.fragments import Fragments, frame_fragments
from lepton_monai.dicom.header import Header, PixelLayout
from lepton_monai.dicom.tags import DEFLATED, EXPLICIT_BIG, NATIVE, RLE

UNSIGNED, SIGNED = ({size: np.dtype(f"<{kind}{size}") for size in (1, 2, 4, 8)} for kind in "ui")
"""Types by the bytes of a value: numpy takes longer to parse their names than to open a slice."""

WHOLE_CELLS = NATIVE | {RLE}
"""Syntaxes that hold all bits allocated, and so what an overlay has left in those that aren't stored."""

MOST_PIXELS = 1 << 26
"""Of a compressed frame: 8192 x 8192. A few bytes can claim any size; native pixels must be there."""


def pixel_finding(header: Header) -> Finding | None:
    """Say from the header and the file's size alone why the pixels can't be right; None: they may be.

    Returns
    -------
    finding
        `unsupported_transfer_syntax`, `truncated_pixel_data`, `bad_header`, or the remark
        `excess_pixel_data`.
    """
    problem = _problem(header.layout, header.pixels)
    if problem:
        return _finding(header, *problem)
    element = header.pixels
    if element is None or header.layout.transfer_syntax_uid not in NATIVE:
        return None
    return _length_finding(header, min(element.length or 0, element.available))


def _problem(layout: PixelLayout, element: PixelElement | None) -> tuple[str, str] | None:
    """Return code and message of what is wrong with the pixels whatever their length."""
    syntax = layout.transfer_syntax_uid
    if syntax not in NATIVE and syntax not in DECODERS:
        return "unsupported_transfer_syntax", f"Transfer syntax {syntax[:64]} is not one that we decode."
    if layout.bits_allocated not in {8, 16, 32} or not (
        0 < layout.bits_stored <= layout.high_bit + 1 <= layout.bits_allocated
    ):
        message = (
            f"Bits allocated {layout.bits_allocated}, stored {layout.bits_stored} and high bit "
            f"{layout.high_bit} don't go together."
        )
        return "bad_header", message
    if element is None:
        return "truncated_pixel_data", "The file has no pixel data."
    if element.vr not in {"", "OB", "OW", "UN"}:
        return "bad_header", f"The pixel data have the VR {element.vr!r}: how long they are is unknown."
    if syntax not in NATIVE and layout.rows * layout.columns > MOST_PIXELS:
        return "bad_header", f"A matrix of {layout.rows} x {layout.columns} is no slice."
    return None


def _length_finding(header: Header, there: int) -> Finding | None:
    expected = frame_bytes(header.layout) * header.layout.frames
    if there < expected:
        message = f"The pixel data are {there} bytes, {expected} are needed."
        return _finding(header, "truncated_pixel_data", message)
    if there > expected + expected % 2:
        message = f"The pixel data are {there} bytes, {expected} are used."
        return _finding(header, "excess_pixel_data", message)
    return None


def _finding(header: Header, code: str, message: str) -> Finding:
    return Finding(code, message, header.identity.series_uid, header.path)


def frame_bytes(layout: PixelLayout) -> int:
    """Return the length of one native frame."""
    return layout.rows * layout.columns * layout.samples_per_pixel * (layout.bits_allocated // 8)


class PixelReader:
    """Reads frames one after the other; the file of the last one stays open.

    A context: leaving it closes the file.
    """

    def __init__(self) -> None:
        self._file = ""
        self._descriptor = -1
        self._fragments: Fragments | None = None
        self._image: tuple[tuple[str, int], NDArray[Any]] | None = None

    def __enter__(self) -> Self:
        """Give the reader itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._close()

    def read(self, header: Header, into: NDArray[Any] | None = None) -> tuple[NDArray[Any], bool]:
        """Read the stored values of one slice.

        Parameters
        ----------
        header
            Of the slice.
        into
            Where the values of a frame may go without a detour: ``(rows, columns)`` in C order,
            of the unsigned type that has `bits_allocated`.

        Returns
        -------
        stored : integer array ``(rows, columns)``
            Bits above the high bit masked, signed values extended from BitsStored: PS3.5 section
            8.1.1. It may be `into`, or a view of it.
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
            raw = self._raw(header, into)
        except SeriesRefused:
            raise
        except Exception as error:  # the border: a decoder may raise anything
            message = f"The pixel data can't be decoded ({type(error).__name__})."
            raise _refused(header, "undecodable_pixel_data", message) from error
        layout = header.layout
        expected = (layout.rows, layout.columns)
        if raw.shape[:2] != expected or raw.dtype.itemsize * 8 < layout.bits_stored:
            message = f"The pixels decode to {raw.shape} {raw.dtype}, the header says {expected}."
            raise _refused(header, "undecodable_pixel_data", message)
        if header.tile is not None:
            row, column = header.tile
            raw = raw[row : row + header.placement.rows, column : column + header.placement.columns]
        stored, has_other_bits = meaningful_bits(raw, layout)
        if has_other_bits and layout.transfer_syntax_uid not in WHOLE_CELLS:
            message = (
                f"The compressed image has values of more bits than the header says: {layout.bits_stored}."
            )
            raise _refused(header, "undecodable_pixel_data", message)
        return stored, has_other_bits

    def _raw(self, header: Header, into: NDArray[Any] | None) -> NDArray[Any]:
        """Return the matrix that holds a slice; the tiles of a mosaic share one."""
        if header.tile is None:
            return self._matrix(header, header.frame, into)
        key = (header.file, 0)
        if self._image is None or self._image[0] != key:
            self._image = key, self._matrix(header, 0, None)
        return self._image[1]

    def _matrix(self, header: Header, frame: int, into: NDArray[Any] | None) -> NDArray[Any]:
        syntax = header.layout.transfer_syntax_uid
        if syntax == DEFLATED:
            return _of_bytes(_inflated_frame(header, frame), header.layout)
        self._open(header.file)
        if syntax in NATIVE:
            return self._native(header, frame, into)
        return self._decoded(header, frame, into)

    def _native(self, header: Header, frame: int, into: NDArray[Any] | None) -> NDArray[Any]:
        layout, element = header.layout, header.pixels
        if element is None:
            raise ValueError
        size = frame_bytes(layout)
        offset = element.offset + frame * size
        if layout.transfer_syntax_uid == EXPLICIT_BIG or layout.samples_per_pixel != 1:
            is_swapped = layout.bits_allocated == 8 and element.vr == "OW"
            content = os.pread(self._descriptor, size + is_swapped * size % 2, offset)
            return _of_bytes(_unswapped(content) if is_swapped else content, layout)
        kind = UNSIGNED[layout.bits_allocated // 8]
        matrix = np.empty((layout.rows, layout.columns), kind) if into is None or header.tile else into
        there = _read_into(self._descriptor, matrix, offset)
        if there < size:
            message = f"The pixel data are {there} bytes, {size} are needed."
            raise _refused(header, "truncated_pixel_data", message)
        return matrix

    def _decoded(self, header: Header, frame: int, into: NDArray[Any] | None) -> NDArray[Any]:
        element = header.pixels
        if element is None:
            raise ValueError
        if self._fragments is None:
            self._fragments = frame_fragments(self._descriptor, element.offset, header.layout.frames)
        if self._fragments is None:
            raise _refused(header, "truncated_pixel_data", "The compressed pixel data are cut.")
        parts = [os.pread(self._descriptor, length, offset) for offset, length in self._fragments[frame]]
        matrix, problem = decode(b"".join(parts), header.layout, None if header.tile else into)
        if problem:
            raise _refused(header, *problem)
        return matrix

    def _open(self, file: str) -> None:
        if file != self._file:
            self._close()
            self._descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))
            self._file = file

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._file, self._descriptor, self._fragments = "", -1, None


def read_stored(header: Header) -> NDArray[Any]:
    """Read the stored values of one slice: see :meth:`PixelReader.read`."""
    with PixelReader() as reader:
        return reader.read(header)[0]


def meaningful_bits(raw: NDArray[Any], layout: PixelLayout) -> tuple[NDArray[Any], bool]:
    """Return the values of BitsStored, and whether the other bits held anything but zeros or the sign."""
    size = raw.dtype.itemsize
    unsigned = raw.view(UNSIGNED[size])
    if layout.bits_stored == 8 * size:
        return (unsigned.view(SIGNED[size]) if layout.signed else unsigned), False
    low = min(layout.high_bit, size * 8 - 1) + 1 - layout.bits_stored
    top = 1 << layout.bits_stored - 1
    # Most images have nothing above BitsStored but the sign.
    if low == 0 and not layout.signed and unsigned.max(initial=0) < 2 * top:
        return unsigned, False
    if low == 0 and layout.signed:
        signed = unsigned.view(SIGNED[size])
        if -top <= signed.min(initial=0) and signed.max(initial=0) < top:
            return signed, False
    # Up: what lies above the high bit falls out; down: the sign (or zero) is drawn in.
    shift_up = size * 8 - layout.bits_stored - low
    shifted = np.left_shift(unsigned, shift_up).view((SIGNED if layout.signed else UNSIGNED)[size])
    stored = np.right_shift(shifted, size * 8 - layout.bits_stored)
    window = unsigned.dtype.type((2 * top - 1) << low)
    extended = np.left_shift(stored, low).view(UNSIGNED[size])
    is_plain = np.array_equal(unsigned & window, unsigned) or np.array_equal(extended, unsigned)
    return stored, not is_plain


def _refused(header: Header, code: str, message: str) -> SeriesRefused:
    return SeriesRefused(_finding(header, code, message))


def _read_into(descriptor: int, matrix: NDArray[Any], offset: int) -> int:
    """Fill a matrix from a file; return how many bytes were there."""
    room = matrix.reshape(-1).view(np.uint8)
    if hasattr(os, "preadv"):
        return os.preadv(descriptor, [room.data], offset)
    content = os.pread(descriptor, matrix.nbytes, offset)
    room[: len(content)] = np.frombuffer(content, np.uint8)
    return len(content)


def _of_bytes(content: bytes, layout: PixelLayout) -> NDArray[Any]:
    order = ">" if layout.transfer_syntax_uid == EXPLICIT_BIG else "<"
    size = layout.bits_allocated // 8
    shape: Sequence[int] = (layout.rows, layout.columns)
    if layout.samples_per_pixel > 1:
        shape = (*shape, layout.samples_per_pixel)
    stored = np.frombuffer(content[: frame_bytes(layout)], f"{order}u{size}").reshape(shape)
    return stored.astype(f"<u{size}", copy=False)


def _unswapped(content: bytes) -> bytes:
    """Part two pixels of 8 bits that share a big-endian word: PS3.5 section 8.1.2 and annex A.3."""
    return np.frombuffer(content, ">u2").astype("<u2").tobytes()


def _inflated_frame(header: Header, frame: int) -> bytes:
    element, size = header.pixels, frame_bytes(header.layout)
    if element is None:
        raise ValueError
    return within(header.file, lambda container: container.read(size, element.offset + frame * size))
