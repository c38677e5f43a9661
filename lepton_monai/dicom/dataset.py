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
from pydicom.filereader import read_partial

from lepton_monai.core.findings import Finding
from lepton_monai.dicom.tags import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

PREAMBLE_BYTES = 132
INFLATE_LIMIT_BYTES = 1 << 30
"""A deflated file may not grow beyond this: 0.6 MB can claim 1.2 GB."""

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
        source: BinaryIO = _inflated(file) if _is_deflated(file) else file
        source.seek(0)
        return pydicom.dcmread(source, force=True)


def pixel_bytes(path: Path, element: PixelElement) -> bytes:
    """Read the value of Pixel Data, as long as it is stated or, encapsulated, to the end."""
    with path.open("rb") as file:
        source: BinaryIO = _inflated(file) if _is_deflated(file) else file
        source.seek(element.offset)
        return source.read(element.available if element.length is None else element.length)


def _parse(file: BinaryIO, path: Path) -> ParsedFile | Finding:
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        return Finding("empty_file", "The file is empty.", path=path)
    has_preamble = _has_preamble(file)
    if not has_preamble and not _looks_like_a_dataset(file):
        return Finding("not_dicom", "The file is not DICOM.", path=path)
    deflated = _is_deflated(file)
    if deflated:
        file = _inflated(file)
        size = file.seek(0, io.SEEK_END)
        if size >= INFLATE_LIMIT_BYTES:
            message = f"The deflated file grows beyond {INFLATE_LIMIT_BYTES >> 20} MB."
            return Finding("inflate_limit", message, path=path)
    file.seek(0)
    dataset = read_partial(file, stop_when=_at_bulk, force=True)
    if "SOPClassUID" not in dataset and "DirectoryRecordSequence" not in dataset:
        return Finding("not_dicom", "The file holds no DICOM object.", path=path)
    syntax = DEFLATED if deflated else _syntax(dataset)
    return ParsedFile(dataset, syntax, _pixel_element(file, syntax, size), has_preamble)


def _at_bulk(tag: Any, _vr: str | None, _length: int) -> bool:
    return int(tag) in _STOP_TAGS


def _has_preamble(file: BinaryIO) -> bool:
    file.seek(0)
    return file.read(PREAMBLE_BYTES)[128:] == b"DICM"


def _looks_like_a_dataset(file: BinaryIO) -> bool:
    """Tell whether a file without preamble starts with a low, even group of a data set."""
    file.seek(0)
    head = file.read(8)
    group = int.from_bytes(head[:2], "little")
    return len(head) == 8 and group in {0x0002, 0x0008}


def _is_deflated(file: BinaryIO) -> bool:
    """Look for the syntax in the meta group, which stands in the first kilobyte."""
    file.seek(0)
    head = file.read(1024)
    return head[128:132] == b"DICM" and DEFLATED.encode("ascii") in head


def _syntax(dataset: Any) -> str:
    stated = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if stated:
        return stated
    implicit, little = dataset.original_encoding  # as read_partial found out by itself
    if not little:
        return EXPLICIT_BIG
    return IMPLICIT_LITTLE if implicit else EXPLICIT_LITTLE


def _pixel_element(file: BinaryIO, syntax: str, size: int) -> PixelElement | None:
    """Read tag and length of the element that parsing stopped at: PS3.5 section 7.1."""
    order: Literal["big", "little"] = "big" if syntax == EXPLICIT_BIG else "little"
    head = file.read(12)
    if len(head) < 8:
        return None
    group, number = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))
    if (group, number) != (0x7FE0, 0x0010):
        return None
    implicit = syntax == IMPLICIT_LITTLE
    stated = int.from_bytes(head[4:8] if implicit else head[8:12], order)
    offset = file.tell() - (len(head) - 8 if implicit else 0)
    vr = "" if implicit else head[4:6].decode("ascii", "replace")
    return PixelElement(offset, None if stated == 0xFFFFFFFF else stated, size - offset, vr)


def _inflated(file: BinaryIO) -> io.BytesIO:
    """Inflate a deflated data set up to the limit, behind its own meta group: PS3.5 A.5."""
    file.seek(PREAMBLE_BYTES + 8)  # the group length is the first element: PS3.10 section 7.1
    start = PREAMBLE_BYTES + 12 + int.from_bytes(file.read(4), "little")
    file.seek(0)
    head = file.read(start)
    body = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), INFLATE_LIMIT_BYTES)
    plain = EXPLICIT_LITTLE.encode("ascii").ljust(len(DEFLATED), b"\0")
    return io.BytesIO(head.replace(DEFLATED.encode("ascii"), plain) + body)
