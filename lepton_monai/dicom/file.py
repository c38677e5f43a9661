"""What is kept of a foreign file: the values of its header, of its frames, and where the pixels lie.

This is the border for foreign DICOM headers: whatever a file does, :func:`parse_file` returns a value or a
:class:`Finding`.
"""

import struct
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from pydicom.multival import MultiValue

from lepton_monai.core.errors import FileRefused
from lepton_monai.core.findings import Finding
from lepton_monai.dicom.container import FIRST_READ, Container, within
from lepton_monai.dicom.csa import mosaic_facts
from lepton_monai.dicom.dataset import bulk_position, foreign_file, parsed_dataset
from lepton_monai.dicom.diffusion import private_diffusion
from lepton_monai.dicom.elements import (
    CREATORS,
    KINDS,
    MOSAIC_NORMAL,
    MOSAIC_TILES,
    PRIVATE_KINDS,
    TAGS,
    Elements,
    merged,
    packed,
    swapped,
)
from lepton_monai.dicom.recall import Recall
from lepton_monai.dicom.walker import Walked, items, walk

MOST_FRAMES = 1 << 17
"""No object of the standard's image classes has more; a few bytes can claim any number."""

_SHARED = TAGS["SharedFunctionalGroupsSequence"]
_PER_FRAME = TAGS["PerFrameFunctionalGroupsSequence"]
_ISOTOPES = TAGS["RadiopharmaceuticalInformationSequence"]
_CLASS, _DIRECTORY = TAGS["SOPClassUID"], TAGS["DirectoryRecordSequence"]


class PixelElement(NamedTuple):
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


@dataclass(frozen=True, eq=False)
class ParsedFile:
    """What is kept of a file.

    Parameters
    ----------
    elements
        Of the data set.
    frames
        What each frame adds, where the object has functional groups (PS3.3 C.7.6.16); else empty.
    transfer_syntax_uid
        As the meta group says, or as the first element shows.
    pixels
        None: there are none.
    has_preamble
        As PS3.10 wants it.
    """

    elements: Elements
    frames: tuple[Elements, ...]
    transfer_syntax_uid: str
    pixels: PixelElement | None
    has_preamble: bool


def parse_file(path: Path | str, recall: Recall | None = None) -> ParsedFile | Finding:
    """Parse a file up to its pixels.

    Parameters
    ----------
    path
        Any file.
    recall
        Of the files parsed before, where many are: the same result, sooner.

    Returns
    -------
    result
        A finding (`not_dicom`, `empty_file`, `unreadable_file`, `nested_too_deep`, `inflate_limit`,
        `bad_header`) where it can't be used.
    """
    try:
        return within(path, partial(_parsed, recall=recall), recall.first_read if recall else FIRST_READ)
    except FileRefused as error:
        return replace(error.finding, path=Path(path))
    except RecursionError:
        message = "Sequences are nested deeper than any real object."
        return Finding("nested_too_deep", message, path=Path(path))
    except Exception as error:  # noqa: BLE001 - the border: a foreign file may raise anything
        reason = getattr(error, "strerror", None) or type(error).__name__
        return Finding("unreadable_file", f"The file can't be read: {reason}.", path=Path(path))


def _parsed(container: Container, recall: Recall | None) -> ParsedFile:
    if not container.little:
        return _by_pydicom(container)
    walked = walk(
        container.read, container.start, container.first, implicit=container.implicit, recall=recall
    )
    if walked.is_unusual:
        return _by_pydicom(container)
    frames = _frames(container, walked)
    if b"MOSAIC" in walked.elements.get(TAGS["ImageType"], b""):
        walked.elements.update(_mosaic(container))
    walked.elements.update(private_diffusion(walked.elements))
    pixels = None
    if walked.pixels:
        offset, length, vr = walked.pixels
        pixels = PixelElement(offset, length, max(container.size - offset, 0), vr)
    return _as_object(container, walked.elements, frames, pixels)


def _as_object(
    container: Container, elements: Elements, frames: tuple[Elements, ...], pixels: PixelElement | None
) -> ParsedFile:
    if _CLASS in elements or _DIRECTORY in elements:
        syntax = container.transfer_syntax_uid
        return ParsedFile(elements, frames, syntax, pixels, container.has_preamble)
    if container.has_preamble:
        message = "The file starts as DICOM and holds no object: it may be cut."
        raise FileRefused(Finding("unreadable_file", message))
    raise FileRefused(Finding("not_dicom", "The file holds no DICOM object."))


def _frames(container: Container, walked: Walked) -> tuple[Elements, ...]:
    """Return what every frame adds; the values of the isotope join those of the data set."""
    read, implicit = container.read, container.implicit
    if _ISOTOPES in walked.sequences:
        isotopes = items(read, *walked.sequences[_ISOTOPES], implicit=implicit)
        walked.elements.update(next(isotopes, Elements()))
    if _PER_FRAME not in walked.sequences:
        return ()
    shared: list[Elements] = []
    if _SHARED in walked.sequences:
        shared = list(items(read, *walked.sequences[_SHARED], implicit=implicit))[:1]
    per_frame = items(read, *walked.sequences[_PER_FRAME], implicit=implicit)
    return tuple(merged([*shared, one]) for _, one in zip(range(MOST_FRAMES), per_frame, strict=False))


def _mosaic(container: Container) -> Elements:
    """Return number and normal of the tiles; empty where no CSA header says them."""
    with foreign_file():
        facts = mosaic_facts(parsed_dataset(container)[0])
    if facts is None:
        return Elements()
    tiles, normal = facts
    return Elements(
        {MOSAIC_TILES: packed(MOSAIC_TILES, [tiles]), MOSAIC_NORMAL: packed(MOSAIC_NORMAL, normal)}
    )


def _by_pydicom(container: Container) -> ParsedFile:
    """Take the same values from a data set of pydicom: big endian, and kept values of another VR."""
    with foreign_file():
        dataset, encoding, end = parsed_dataset(container)
        elements = _elements_of(dataset)
        for isotope in (dataset.get("RadiopharmaceuticalInformationSequence") or [])[:1]:
            elements.update(_elements_of(isotope))
    elements[TAGS["SpecificCharacterSet"]] = b"ISO_IR 192"
    elements.update(private_diffusion(elements))
    found = bulk_position(container, encoding, end)
    pixels = PixelElement(*found) if found else None
    return _as_object(container, elements, (), pixels)


def _elements_of(dataset: Any) -> Elements:
    elements = Elements()
    for tag in TAGS.values():
        element = dataset.get(swapped(tag))
        if element is None:
            continue
        if tag not in KINDS:
            elements[tag] = b""
        elif element.value is not None:
            values = (
                list(element.value) if isinstance(element.value, MultiValue | list) else [element.value]
            )
            if not all(isinstance(value, str | int | float) for value in values):
                message = "A value of the header has another form than the standard's."
                raise FileRefused(Finding("bad_header", message))
            elements[tag] = packed(tag, values if values != [""] else [])
    for tag in (CREATORS | PRIVATE_KINDS.keys()) & set(map(swapped, dataset.keys())):
        value = dataset[swapped(tag)].value
        with suppress(ValueError, struct.error):  # another maker's element of the same number
            elements[tag] = packed(tag, value if isinstance(value, MultiValue | list) else [value])
    return elements
