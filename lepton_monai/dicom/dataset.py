"""Open a foreign file with pydicom, up to its pixels, contours or frames."""

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pydicom
from pydicom import config as pydicom_config
from pydicom import filereader

from lepton_monai.core.findings import Finding
from lepton_monai.dicom.tags import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

PREAMBLE_BYTES = 132
INFLATE_LIMIT_BYTES = 1 << 28
"""A deflated file may not grow beyond this: 0.6 MB can claim 1.2 GB; one slice is seldom above 2 MB."""

_LONG_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""Explicit VRs with two reserved bytes and a length of four: PS3.5 section 7.1.2."""

_STOP_TAGS = frozenset(
    {
        0x7FE00008,  # Float Pixel Data
        0x7FE00009,  # Double Float Pixel Data
        0x7FE00010,  # Pixel Data
        0x30060039,  # ROI Contour Sequence: the bulk of an RTSTRUCT
        0x52009230,  # Per-Frame Functional Groups Sequence: the bulk of a SEG
    }
)


@dataclass(frozen=True)
class PixelElement:
    """Where the value of Pixel Data lies.

    Parameters
    ----------
    offset
        Of its first byte in the file (in the inflated data set, where that is deflated).
    length
        As the file states it; None: encapsulated, without a length.
    available
        Bytes that are really there from the offset on.
    vr
        OB or OW; empty in implicit syntaxes.
    """

    offset: int
    length: int | None
    available: int
    vr: str


@dataclass(frozen=True)
class ParsedFile:
    """A data set up to its bulk, and where the pixels are."""

    dataset: Any
    transfer_syntax_uid: str
    pixels: PixelElement | None
    has_preamble: bool


@dataclass(frozen=True)
class _Meta:
    """What stands before the data set: PS3.10 section 7.1."""

    has_preamble: bool
    transfer_syntax_uid: str
    end: int


@contextmanager
def foreign_file() -> Iterator[None]:
    """Let pydicom read odd values without warnings: what is odd becomes a finding of ours."""
    mode = pydicom_config.settings.reading_validation_mode
    pydicom_config.settings.reading_validation_mode = pydicom_config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        pydicom_config.settings.reading_validation_mode = mode


def read_dataset(path: Path) -> ParsedFile | Finding:
    """Parse a file up to its bulk; any error becomes a finding.

    Parameters
    ----------
    path
        Any file.

    Returns
    -------
    result
        `not_dicom`, `empty_file`, `unreadable_file`, `nested_too_deep` or `inflate_limit` where it can't.
    """
    try:
        with foreign_file(), path.open("rb") as file:
            return _parse(file, path)
    except RecursionError:
        message = "Sequences are nested deeper than any real object."
        return Finding("nested_too_deep", message, path=path)
    except Exception as error:  # noqa: BLE001 - the border: a foreign file may raise anything
        reason = getattr(error, "strerror", None) or type(error).__name__
        return Finding("unreadable_file", f"The file can't be read: {reason}.", path=path)


def read_whole(path: Path) -> Any:
    """Read a whole data set, bulk included; the caller is a border of its own.

    Raises
    ------
    Exception
        Whatever a foreign file makes pydicom raise.
    """
    with path.open("rb") as file:
        meta = _read_meta(file)
        source: BinaryIO = file
        if meta.transfer_syntax_uid == DEFLATED:
            body = _inflated(file, meta.end).getvalue()
            file.seek(0)
            plain = EXPLICIT_LITTLE.encode("ascii").ljust(len(DEFLATED), b"\0")
            source = io.BytesIO(file.read(meta.end).replace(DEFLATED.encode("ascii"), plain) + body)
        source.seek(0)
        return pydicom.dcmread(source, force=True)


def pixel_bytes(path: Path, element: PixelElement) -> bytes:
    """Read the value of Pixel Data, as long as it is stated or, encapsulated, to the end."""
    with path.open("rb") as file:
        meta = _read_meta(file)
        source = _inflated(file, meta.end) if meta.transfer_syntax_uid == DEFLATED else file
        source.seek(element.offset)
        return source.read(element.available if element.length is None else element.length)


def _parse(file: BinaryIO, path: Path) -> ParsedFile | Finding:
    if file.seek(0, io.SEEK_END) == 0:
        return Finding("empty_file", "The file is empty.", path=path)
    meta = _read_meta(file)
    file.seek(meta.end)
    head = file.read(8)
    if not meta.has_preamble and (len(head) < 8 or head[:2] not in {b"\x08\0", b"\0\x08"}):
        return Finding("not_dicom", "The file is not DICOM.", path=path)
    syntax = meta.transfer_syntax_uid or _guessed_syntax(head)
    file.seek(meta.end)
    if syntax == DEFLATED:
        if _inflates_beyond_limit(file):
            message = f"The deflated file grows beyond {INFLATE_LIMIT_BYTES >> 20} MB."
            return Finding("inflate_limit", message, path=path)
        file = _inflated(file, meta.end)
    implicit, little = syntax == IMPLICIT_LITTLE, syntax != EXPLICIT_BIG
    dataset = filereader.read_dataset(file, implicit, little, stop_when=_at_bulk)
    if "SOPClassUID" not in dataset and "DirectoryRecordSequence" not in dataset:
        if meta.has_preamble:
            message = "The file starts as DICOM and holds no object: it may be cut."
            return Finding("unreadable_file", message, path=path)
        return Finding("not_dicom", "The file holds no DICOM object.", path=path)
    pixels = _pixel_element(file, dataset.original_encoding)
    return ParsedFile(dataset, syntax, pixels, meta.has_preamble)


def _read_meta(file: BinaryIO) -> _Meta:
    """Walk the file meta group, explicit VR little endian whatever follows: PS3.10 section 7.1."""
    file.seek(0)
    has_preamble = file.read(PREAMBLE_BYTES)[128:] == b"DICM"
    at = PREAMBLE_BYTES if has_preamble else 0
    syntax = ""
    while True:
        file.seek(at)
        head = file.read(12)
        if len(head) < 8 or head[:2] != b"\x02\0":
            return _Meta(has_preamble, syntax, at)
        is_long = head[4:6] in _LONG_VRS
        start = at + (12 if is_long else 8)
        length = int.from_bytes(head[8:12] if is_long else head[6:8], "little")
        if head[2:4] == b"\x10\0":
            file.seek(start)
            syntax = file.read(min(length, 64)).decode("ascii", "replace").strip(" \0")
        at = start + length


def _guessed_syntax(head: bytes) -> str:
    """Tell the encoding from the first element, where no meta group states it."""
    if not (head[4:6].isalpha() and head[4:6].isupper()):
        return IMPLICIT_LITTLE
    return EXPLICIT_LITTLE if head[0] else EXPLICIT_BIG


def _at_bulk(tag: Any, _vr: str | None, _length: int) -> bool:
    return int(tag) in _STOP_TAGS


def _pixel_element(file: BinaryIO, encoding: tuple[bool | None, bool | None]) -> PixelElement | None:
    """Read tag and length of the element that parsing stopped at: PS3.5 section 7.1.

    Parameters
    ----------
    file
        At that element.
    encoding
        Implicit VR, little endian: as the data set really is, which its transfer syntax may deny.
    """
    implicit, little = encoding
    order: Literal["big", "little"] = "little" if little else "big"
    head = file.read(12)
    if len(head) < 8:
        return None
    group, number = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
    if (group, number) != (0x7FE0, 0x0010):
        return None
    stated = int.from_bytes(head[4:8] if implicit else head[8:12], order)
    offset = file.tell() - (len(head) - 8 if implicit else 0)
    vr = "" if implicit else head[4:6].decode("ascii", "replace")
    available = file.seek(0, io.SEEK_END) - offset
    return PixelElement(offset, None if stated == 0xFFFFFFFF else stated, available, vr)


def _inflates_beyond_limit(file: BinaryIO) -> bool:
    """Inflate without keeping anything: in small pieces, since each may grow a thousand times."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while size <= INFLATE_LIMIT_BYTES and (piece := file.read(1 << 12)):
        size += len(inflate.decompress(piece))
    return size > INFLATE_LIMIT_BYTES


def _inflated(file: BinaryIO, start: int) -> io.BytesIO:
    """Inflate the data set behind the meta group: PS3.5 A.5."""
    file.seek(start)
    return io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), INFLATE_LIMIT_BYTES))
