"""What stands before a data set: preamble, meta group, deflation. PS3.10 section 7.1, PS3.5 A.5."""

import os
import struct
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

from lepton_monai.core.errors import FileRefused
from lepton_monai.core.findings import Finding
from lepton_monai.dicom.tags import DEFLATED, EXPLICIT_BIG, EXPLICIT_LITTLE, IMPLICIT_LITTLE

FIRST_READ = 1 << 14
"""Bytes of the first read: most headers are shorter, and a second read costs more than a longer one."""

SHORT_READ = 1 << 12
"""Bytes of the first read where the header before was no longer: a page instead of four."""

INFLATE_LIMIT_BYTES = 1 << 28
"""A deflated file may not grow beyond this: 0.6 MB can claim 1.2 GB; one slice is seldom above 2 MB."""

LONG_VRS = frozenset(
    int.from_bytes(vr, "little")
    for vr in (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
)
"""Explicit VRs with two reserved bytes and a length of four: PS3.5 section 7.1.2."""

Read = Callable[[int, int], bytes]
"""`read(size, offset)` gives the bytes there, fewer at the end."""

Result = TypeVar("Result")

# Without O_NONBLOCK a pipe that lies among the files would be waited for.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_HAS_PREAD = hasattr(os, "pread")
_PREAMBLE_BYTES = 132
_meta_head = struct.Struct("<HHHHI").unpack_from
_DATA_GROUPS = {b"\x08\0", b"\0\x08"}


class Container(NamedTuple):
    """A file opened up to its data set.

    Parameters
    ----------
    read
        Gives its bytes, inflated where the data set is deflated.
    size
        Number of bytes that `read` can give.
    start
        Where the data set starts.
    first
        The first bytes.
    has_preamble
        As PS3.10 wants it.
    transfer_syntax_uid
        As the meta group says, or as the first element shows.
    implicit, little
        How the data set really is encoded, which its transfer syntax may deny.
    """

    read: Read
    size: int
    start: int
    first: bytes
    has_preamble: bool
    transfer_syntax_uid: str
    implicit: bool
    little: bool


def within(path: Path | str, use: Callable[[Container], Result], first_read: int = FIRST_READ) -> Result:
    """Open a file up to its data set, and return what `use` makes of it.

    Parameters
    ----------
    path
        Any file.
    use
        Is given the file while it is open.
    first_read
        Bytes that are likely to hold the header.

    Raises
    ------
    FileRefused
        `empty_file`, `not_dicom` or `inflate_limit`.
    OSError, zlib.error
        It can't be read or inflated.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        return use(_contained(_reader(descriptor), os.fstat(descriptor).st_size, first_read))
    finally:
        os.close(descriptor)


def _reader(descriptor: int) -> Read:
    if _HAS_PREAD:
        return partial(os.pread, descriptor)

    def read(size: int, offset: int) -> bytes:  # Windows has no pread
        os.lseek(descriptor, offset, os.SEEK_SET)
        return os.read(descriptor, size)

    return read


def _contained(read: Read, size: int, first_read: int) -> Container:
    first = read(first_read, 0)
    if not first:
        raise FileRefused(Finding("empty_file", "The file is empty."))
    has_preamble, syntax, start = _meta(read, first)
    head = first[start : start + 8] if start + 8 <= len(first) else read(8, start)
    if not has_preamble and (len(head) < 8 or head[:2] not in _DATA_GROUPS):
        raise FileRefused(Finding("not_dicom", "The file is not DICOM."))
    if syntax == DEFLATED:
        body = _inflated(read, start, size)
        read, size, start, first = _reader_of(body), len(body), 0, body[:FIRST_READ]
        head = first[:8]
    implicit = not (head[4:6].isalpha() and head[4:6].isupper())
    if not syntax:
        explicit = EXPLICIT_LITTLE if head[:1] != b"\0" else EXPLICIT_BIG
        syntax = IMPLICIT_LITTLE if implicit else explicit
    return Container(read, size, start, first, has_preamble, syntax, implicit, syntax != EXPLICIT_BIG)


def _meta(read: Read, first: bytes) -> tuple[bool, str, int]:
    """Walk the meta group, explicit VR little endian whatever follows; return preamble, syntax and end."""
    has_preamble = first[128:132] == b"DICM"
    at = _PREAMBLE_BYTES if has_preamble else 0
    syntax = ""
    while True:
        where, window = (at, first) if at + 12 <= len(first) else (0, read(12, at).ljust(12, b"\0"))
        group, number, vr, length, long_length = _meta_head(window, where)
        if group != 2:
            return has_preamble, syntax, at
        start = at + 8
        if vr in LONG_VRS:
            start, length = at + 12, long_length
        if number == 0x0010:
            value = first[start : start + length] if start + length <= len(first) else read(length, start)
            syntax = value[:64].decode("ascii", "replace").strip(" \0")
        at = start + length


def _inflated(read: Read, start: int, size: int) -> bytes:
    """Inflate a data set, at first without keeping anything: each piece may grow a thousand times."""
    inflate, grown = zlib.decompressobj(-zlib.MAX_WBITS), 0
    for at in range(start, size, 1 << 12):
        grown += len(inflate.decompress(read(1 << 12, at)))
        if grown > INFLATE_LIMIT_BYTES:
            message = f"The deflated file grows beyond {INFLATE_LIMIT_BYTES >> 20} MB."
            raise FileRefused(Finding("inflate_limit", message))
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(read(size - start, start), INFLATE_LIMIT_BYTES)


def _reader_of(content: bytes) -> Read:
    return lambda size, offset: content[offset : offset + size]
