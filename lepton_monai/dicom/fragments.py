"""Where the compressed frames of a file lie: PS3.5 annex A.4."""

import os
import struct

Fragments = list[list[tuple[int, int]]]
"""For each frame the offset and length of its fragments."""

MOST_FRAGMENTS = 1 << 20

_ITEM, _END = 0xE000FFFE, 0xE0DDFFFE
_head = struct.Struct("<II").unpack
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP")
"""JPEG and JPEG-LS, JPEG 2000 as a stream and in a box."""


def frame_fragments(descriptor: int, offset: int, frames: int) -> Fragments | None:
    """Find the fragments of every frame.

    Parameters
    ----------
    descriptor
        Of the open file.
    offset
        Where the value of Pixel Data starts.
    frames
        Number of frames.

    Returns
    -------
    fragments
        None where the pixel data are cut.

    Raises
    ------
    ValueError
        Nothing tells which fragments make which frame.
    """
    items = _items(descriptor, offset)
    if not items:
        return None
    table, fragments = items[0], items[1:]
    if frames == 1:
        return [fragments]
    if len(fragments) == frames:
        return [[fragment] for fragment in fragments]
    starts = _starts_by_table(descriptor, table, frames) or _starts_by_look(descriptor, fragments)
    first = fragments[0][0] if fragments else 0
    # The table counts from the first fragment's item, whose head is eight bytes long.
    places = [start for start, (at, _) in enumerate(fragments) if at - first in starts]
    if len(places) != frames or places[0] != 0:
        message = f"{len(fragments)} fragments and {frames} frames"
        raise ValueError(message)
    return [fragments[start:end] for start, end in zip(places, [*places[1:], None], strict=True)]


def _items(descriptor: int, offset: int) -> list[tuple[int, int]]:
    """Return offset and length of every item; nothing where the last one is cut."""
    size = os.fstat(descriptor).st_size
    items: list[tuple[int, int]] = []
    at = offset
    while at + 8 <= size and len(items) < MOST_FRAGMENTS:
        tag, length = _head(os.pread(descriptor, 8, at))
        if tag == _END:
            return items
        if tag != _ITEM or at + 8 + length > size:
            return []
        items.append((at + 8, length))
        at += 8 + length
    # Some writers forget the delimiter; then all fragments must be there at least.
    return items if at == size else []


def _starts_by_table(descriptor: int, table: tuple[int, int], frames: int) -> set[int]:
    """Return where frames start by the Basic Offset Table, from the first fragment on."""
    offset, length = table
    if length != 4 * frames:
        return set()
    return set(struct.unpack(f"<{frames}I", os.pread(descriptor, length, offset)))


def _starts_by_look(descriptor: int, fragments: list[tuple[int, int]]) -> set[int]:
    """Return where frames start by what their first bytes are."""
    first = fragments[0][0] if fragments else 0
    return {at - first for at, _ in fragments if os.pread(descriptor, 8, at).startswith(_STARTS)}
