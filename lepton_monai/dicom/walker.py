"""The walker: from a file's first bytes to the values that we keep, without building what isn't returned.

A data set is a chain of elements, each a tag, a length and a value (PS3.5 section 7.1). The walk follows
the chain by the lengths, keeps what `elements.KEPT` names, skips the rest unread and stops at the pixels.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from lepton_monai.core.errors import FileRefused
from lepton_monai.core.findings import Finding
from lepton_monai.dicom.container import FIRST_READ, LONG_VRS, Read
from lepton_monai.dicom.elements import (
    CREATORS,
    KINDS,
    MACROS,
    PRIVATE_KINDS,
    SEQUENCES,
    TAGS,
    Elements,
    swapped,
)
from lepton_monai.dicom.recall import Recall, Stretch

LONGEST_VALUE = 1 << 26
"""No value that is walked into is longer: a sequence of undefined length has to be read to be skipped."""

DEEPEST = 64
"""Sequences nest no deeper in any object of the standard."""

UNDEFINED = 0xFFFFFFFF


def _code(vr: str) -> int:
    return int.from_bytes(vr.encode("ascii"), "little")


def _codes(vrs: str) -> frozenset[int]:
    return frozenset(map(_code, vrs.split()))


_TEXTS = _codes("AE AS CS DA DS DT IS LO LT PN SH ST TM UI")
_BINARY = {vr: _codes(vr) for vr in ("UL", "FL", "FD")} | {"US": _codes("US SS")}
_UNKNOWN = _code("UN")
_SHORT_VRS = _codes("AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US")

_PRIVATE = CREATORS | set(PRIVATE_KINDS)

_VALUES: dict[int, frozenset[int]] = {
    tag: _BINARY.get(vr, _TEXTS) for tag, vr in KINDS.items()
} | dict.fromkeys(_PRIVATE, _SHORT_VRS)
"""The VRs with a short head in which a kept value has the form that we decode; UN has it too.

The same private number is another thing to another maker: its creator decides, and later.
"""

_MACROS = frozenset(TAGS[keyword] for keyword in MACROS)
_SEQUENCES = _MACROS.union(TAGS[keyword] for keyword in SEQUENCES)
_FRAMES = TAGS["PerFrameFunctionalGroupsSequence"]
_PIXELS = swapped(0x7FE00010)
_STOPS = frozenset(
    map(
        swapped,
        (
            0x7FE00008,  # Float Pixel Data
            0x7FE00009,  # Double Float Pixel Data
            0x7FE00010,  # Pixel Data
            0x30060039,  # ROI Contour Sequence: the bulk of an RTSTRUCT
        ),
    )
)
_FORMS = _VALUES | dict.fromkeys(_SEQUENCES | _STOPS, frozenset[int]())
_ITEM = swapped(0xFFFEE000)
_SEQUENCE_END = swapped(0xFFFEE0DD)
_ENDS = frozenset((swapped(0xFFFEE00D), _SEQUENCE_END))
_BEYOND, _STOP = -1, -2

_explicit_head = struct.Struct("<IHH").unpack_from
_two_numbers = struct.Struct("<II").unpack_from
_one_number = struct.Struct("<I").unpack_from


@dataclass
class Walked:
    """What a walk has found.

    Parameters
    ----------
    elements
        The kept values.
    sequences
        Offset and length of the value of each noted sequence; the length is None if undefined.
    pixels
        Offset and length of the value of Pixel Data, None if undefined, and its VR.
    is_unusual
        A kept value stands in a form that the walk doesn't decode; pydicom may.
    stretches, met
        What earlier headers had in common, and how much of that this one has too.
    """

    elements: Elements = field(default_factory=Elements)
    sequences: dict[int, tuple[int, int | None]] = field(default_factory=dict)
    pixels: tuple[int, int | None, str] | None = None
    is_unusual: bool = False
    stretches: Mapping[int, Stretch] = field(default_factory=dict)
    met: int = 0


def walk(read: Read, start: int, first: bytes, *, implicit: bool, recall: Recall | None = None) -> Walked:
    """Walk a little-endian data set up to its pixels, or to the end of a cut file.

    Parameters
    ----------
    read
        Gives more of the file.
    start
        Offset of the data set.
    first
        The file's first bytes, as far as they have been read.
    implicit
        The VRs are implicit: PS3.5 section 7.1.3.
    recall
        Of the headers walked before, where there were some.

    Raises
    ------
    FileRefused
        `nested_too_deep`.
    """
    if recall is None or implicit:
        return _walked(read, start, first, Walked(), implicit=implicit)
    walked = _walked(read, start, first, Walked(stretches=recall.stretches), implicit=False)
    if recall.is_due(walked.met, walked.pixels[0] if walked.pixels else 0) and not walked.is_unusual:
        recall.learn(_parts(first, start), walked.elements)
    return walked


def _walked(read: Read, start: int, first: bytes, walked: Walked, *, implicit: bool) -> Walked:
    step = _walk_implicit if implicit else _walk_explicit
    window, base, at, size = first, 0, start, FIRST_READ
    while True:
        at = step(window, at, base, walked)
        if at < 0:
            return walked
        rest = max(len(window) - at, 0)
        # What didn't fit into one window gets a wider one.
        size = size * 4 if rest else FIRST_READ
        base += at
        at = 0
        window = read(size, base)
        if len(window) <= rest or size > LONGEST_VALUE:
            return walked


def items(read: Read, offset: int, length: int | None, *, implicit: bool) -> Iterator[Elements]:
    """Yield the kept values of every item of a noted sequence, those of its macros laid over them.

    Parameters
    ----------
    read
        Gives bytes of the file.
    offset, length
        Of the sequence's value; None: undefined.
    implicit
        The VRs are implicit.

    Raises
    ------
    FileRefused
        `bad_header`: the sequence is cut, longer than `LONGEST_VALUE`, or a value has an unusual form;
        `nested_too_deep`.
    """
    value = read(LONGEST_VALUE if length is None else min(length, LONGEST_VALUE), offset)
    if length is not None and len(value) < length:
        message = f"A sequence of {length} bytes is cut."
        raise FileRefused(Finding("bad_header", message))
    for content in _items(value, implicit):
        yield _flattened(content, implicit, 0)


def _items(value: bytes, implicit: bool) -> Iterator[bytes]:
    at = 0
    while at < len(value):
        key, length = _two_numbers(value, at) if at + 8 <= len(value) else (0, 0)
        if key == _SEQUENCE_END:
            return
        start = at + 8
        at = start + length if length != UNDEFINED else _end_of(value, start, implicit)
        if key != _ITEM or not start <= at <= len(value):
            raise FileRefused(_damage("An item of a sequence is cut."))
        yield value[start : at if length != UNDEFINED else at - 8]


def _flattened(content: bytes, implicit: bool, depth: int) -> Elements:
    if depth > DEEPEST:
        raise _too_deep()
    walked = Walked()
    end = (_walk_implicit if implicit else _walk_explicit)(content, 0, 0, walked)
    if walked.is_unusual:
        raise FileRefused(_damage("A value of a functional group has another form than the standard's."))
    if end != len(content):
        raise FileRefused(_damage("The elements of an item don't fill it."))
    for key, (offset, length) in walked.sequences.items():
        if key in _MACROS:
            nested = content[offset : None if length is None else offset + length]
            for item in islice(_items(nested, implicit), 1):
                walked.elements.update(_flattened(item, implicit, depth + 1))
    return walked.elements


def _damage(message: str) -> Finding:
    return Finding("bad_header", message)


def _too_deep() -> FileRefused:
    return FileRefused(Finding("nested_too_deep", "Sequences are nested deeper than any real object."))


def _walk_explicit(window: bytes, at: int, base: int, walked: Walked) -> int:
    """Walk the elements that lie whole in the window; return where the next one starts, -1 at the end."""
    # Local names and the order of the tests: this loop is most of the time of an index.
    elements, form_of, head, size = walked.elements, _FORMS.get, _explicit_head, len(window)
    stretch_of, last = walked.stretches.get, size - 8
    while at <= last:
        key, vr, length = head(window, at)
        stretch = stretch_of(key)
        if stretch is not None and window.startswith(stretch[0], at):
            elements.update(stretch[1])
            at += len(stretch[0])
            walked.met += 1
            continue
        form = form_of(key)
        start = at + 8
        if form is not None and vr in form:
            end = start + length
            if end > size:
                return at
            elements[key] = window[start:end]
        elif form is None and vr in _SHORT_VRS:
            end = start + length
        else:
            end = _long(window, (at, key, vr, length), base, walked)
            if end < 0:
                return at if end == _BEYOND else -1
        at = end
    return at


def _long(window: bytes, head: tuple[int, int, int, int], base: int, walked: Walked) -> int:
    """Step over an element with a long head, or a noted one; return as :func:`_special`."""
    at, key, vr, length = head
    start = at + 8
    if vr in LONG_VRS:
        if start + 4 > len(window):
            return _BEYOND
        (length,) = _one_number(window, start)
        start += 4
    elif vr not in _SHORT_VRS:
        walked.is_unusual = True
        return _STOP
    if key in _VALUES and vr == _UNKNOWN and length != UNDEFINED:
        if start + length > len(window):
            return _BEYOND
        walked.elements[key] = window[start : start + length]
    elif key in _FORMS and key not in _PRIVATE:
        return _special(window, (key, vr, start, length), base, walked)
    elif length == UNDEFINED:
        return _end_of(window, start, vr == _UNKNOWN)
    return start + length


def _walk_implicit(window: bytes, at: int, base: int, walked: Walked) -> int:
    elements, size = walked.elements, len(window)
    last = size - 8
    while at <= last:
        key, length = _two_numbers(window, at)
        start = at + 8
        if key in _VALUES and length != UNDEFINED:
            end = start + length
            if end > size:
                return at
            elements[key] = window[start:end]
        elif key in _FORMS and key not in _PRIVATE:
            end = _special(window, (key, 0, start, length), base, walked)
        else:
            end = start + length if length != UNDEFINED else _end_of(window, start, implicit=True)
        if end < 0:
            return at if end == _BEYOND else -1
        at = end
    return at


def _parts(window: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """Yield tag and bytes of the elements that lie whole in the window, none of those that are noted."""
    while at + 8 <= len(window):
        start, length = _explicit_length(window, at)
        if start != _BEYOND and length == UNDEFINED:
            start, length = _end_of(window, start, implicit=False), 0
        end = start + length
        if start == _BEYOND or end > len(window):
            return
        (key,) = _one_number(window, at)
        yield key, b"" if key in _SEQUENCES or key in _STOPS else window[at:end]
        at = end


def _special(window: bytes, head: tuple[int, int, int, int], base: int, walked: Walked) -> int:
    """Note a sequence or the pixels; return where the walk goes on, `_STOP`, or `_BEYOND` the window."""
    key, vr, start, length = head
    if key in _STOPS:
        if key == _PIXELS:
            name = vr.to_bytes(2, "little").decode("ascii", "replace") if vr else ""
            walked.pixels = (base + start, None if length == UNDEFINED else length, name)
        return _STOP
    if key not in _SEQUENCES:
        walked.is_unusual = True
        return _STOP
    if key == _FRAMES and walked.elements.text("Modality") == "SEG":
        return _STOP  # the frames of a segmentation are the bulk of the file
    end = start + length if length != UNDEFINED else _end_of(window, start, implicit=vr in {0, _UNKNOWN})
    if end != _BEYOND:
        walked.sequences[key] = (base + start, None if length == UNDEFINED else length)
        walked.elements[key] = b""
    return end


def _end_of(window: bytes, at: int, implicit: bool) -> int:
    """Return where a sequence or item of undefined length ends, `_BEYOND` if not in this window."""
    depth = 1
    while depth:
        if at + 8 > len(window):
            return _BEYOND
        key, length = _two_numbers(window, at)
        start = at + 8
        if key in _ENDS:
            depth -= 1
            at = start
            continue
        if key != _ITEM and not implicit:
            start, length = _explicit_length(window, at)
            if start == _BEYOND:
                return _BEYOND
        if length == UNDEFINED:
            depth += 1
            if depth > 2 * DEEPEST:  # a sequence and its item
                raise _too_deep()
            length = 0
        at = start + length
    return at


def _explicit_length(window: bytes, at: int) -> tuple[int, int]:
    """Return where the value of an element starts and its length; `_BEYOND` if not in this window."""
    _, vr, length = _explicit_head(window, at)
    start = at + 8
    if vr not in LONG_VRS:
        # Nobody knows how long an element of no known VR is; then nothing behind it is found either.
        return (start, length) if vr in _SHORT_VRS else (_BEYOND, 0)
    if start + 4 > len(window):
        return _BEYOND, 0
    (length,) = _one_number(window, start)
    start += 4
    if vr == _UNKNOWN and length == UNDEFINED:
        # Inside, the VRs are implicit: PS3.5 section 6.2.2.
        return _end_of(window, start, implicit=True), 0
    return start, length
