"""What one file holds: an image with its frames, a label object, or something else.

A classic image is one frame. The frames of an enhanced one say where they lie in their functional groups
(PS3.3 C.7.6.16); the tiles of a Siemens mosaic lie side by side in one frame.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted
from lepton_monai.dicom.annotation import LABEL_MODALITIES, Annotation, read_annotation
from lepton_monai.dicom.elements import MOSAIC_NORMAL, MOSAIC_TILES, TAGS, Elements, merged, numbers
from lepton_monai.dicom.file import ParsedFile, parse_file
from lepton_monai.dicom.header import Header, PixelLayout, header_of, layout_of
from lepton_monai.dicom.identity import identity_of, is_uid
from lepton_monai.dicom.tags import CLASSIC, ENHANCED, NOT_IMAGES


@dataclass(frozen=True)
class OtherObject:
    """A DICOM object that is no image and no label: its kind is all that is said of it."""

    path: Path
    kind: str


def read_header(path: Path) -> Header | Annotation | OtherObject | Finding:
    """Read one file up to its pixels, contours or frames.

    Parameters
    ----------
    path
        Any file.

    Returns
    -------
    result
        The first frame of an image; a `Finding` (`not_dicom`, `empty_file`, `unreadable_file`,
        `inflate_limit`, `no_position`, ...) where the file can't be used.
    """
    parsed = parse_file(path)
    if isinstance(parsed, Finding):
        return parsed
    other = not_an_image(parsed, path)
    if other is not None:
        return other
    headers = headers_of(parsed, path)
    return headers if isinstance(headers, Finding) else headers[0]


def not_an_image(parsed: ParsedFile, path: Path | str) -> Annotation | OtherObject | Finding | None:
    """Say what a file is that holds no image; None: an image."""
    elements = parsed.elements
    if TAGS["DirectoryRecordSequence"] in elements:
        return OtherObject(Path(path), "DICOMDIR")
    if not is_uid(elements.text("SeriesInstanceUID")) or not is_uid(elements.text("SOPInstanceUID")):
        return Finding("bad_uid", "The series or instance UID is no UID.", path=Path(path))
    modality, kind, is_classic = _kind(elements.get(TAGS["Modality"]), elements.get(TAGS["SOPClassUID"]))
    if modality in LABEL_MODALITIES:
        return _annotation(elements, Path(path), modality)
    if kind or not (is_classic or TAGS["Rows"] in elements):
        return OtherObject(Path(path), kind or modality or "unknown object")
    return None


@lru_cache(maxsize=64)
def _kind(modality: bytes | None, class_uid: bytes | None) -> tuple[str, str, bool]:
    """Return the modality, what an object is that holds no image, and whether one of its class must."""
    elements = Elements({TAGS["Modality"]: modality or b"", TAGS["SOPClassUID"]: class_uid or b""})
    uid = elements.text("SOPClassUID")
    return elements.text("Modality").upper(), NOT_IMAGES.get(uid, ""), uid in CLASSIC


def _annotation(elements: Elements, path: Path, modality: str) -> Annotation | Finding:
    try:
        return read_annotation(path, modality, identity_of(elements))
    except RecursionError:
        message = "Sequences are nested deeper than any real object."
        return Finding("nested_too_deep", message, path=path)
    except Exception as error:  # noqa: BLE001 - the border: a foreign file may raise anything
        return _bad_header(error, path)


def headers_of(parsed: ParsedFile, path: Path | str) -> Sequence[Header] | Finding:
    """Describe every frame of an image.

    Returns
    -------
    headers
        In the order of the file; a finding where one can't be a slice of a volume.
    """
    try:
        return _headers(parsed, path)
    except Exception as error:  # noqa: BLE001 - the border: any value of a foreign file may be rubbish
        return _bad_header(error, Path(path))


def _bad_header(error: Exception, path: Path) -> Finding:
    message = f"A value of the header is absent or can't be read ({type(error).__name__})."
    return Finding("bad_header", message, path=path)


def _headers(parsed: ParsedFile, path: Path | str) -> Sequence[Header] | Finding:
    elements = parsed.elements
    layout = layout_of(parsed)
    problem = _why_no_slice(parsed, layout)
    if problem is None:
        is_mosaic = MOSAIC_TILES in elements
        found = _tiles(parsed, path) if is_mosaic else _frames(parsed, path)
        if found is not None:
            return found
        problem = ("no_position", "The image has no position in space.")
    return Finding(*problem, elements.text("SeriesInstanceUID"), Path(path))


def _frames(parsed: ParsedFile, path: Path | str) -> Sequence[Header] | None:
    """Describe the only frame of a classic image, or each that has functional groups."""
    if not parsed.frames:
        header = header_of(parsed, parsed.elements, path, 0)
        return None if header is None else [header]
    headers: list[Header] = []
    for number, frame in enumerate(parsed.frames):
        header = header_of(parsed, merged([parsed.elements, frame]), path, number)
        if header is None:
            return None
        # The number of the whole object says nothing of a frame.
        headers.append(replace(header, instance_number=None))
    return headers


def _tiles(parsed: ParsedFile, path: Path | str) -> Sequence[Header] | None:
    """Describe the tiles of a mosaic: its position is that of a slice as large as all of them."""
    whole = header_of(parsed, parsed.elements, path, 0)
    if whole is None:
        return None
    place = whole.placement
    count = int(numbers(MOSAIC_TILES, parsed.elements[MOSAIC_TILES])[0])
    normal = np.array(numbers(MOSAIC_NORMAL, parsed.elements[MOSAIC_NORMAL]))
    across = math.isqrt(count - 1) + 1
    rows, columns = place.rows // across, place.columns // across
    row, column = np.split(np.array(place.orientation), 2)
    spacing = place.spacing_between_slices_mm or place.slice_thickness_mm
    if not spacing:
        return None
    first = (
        np.array(place.position)
        + row * place.column_spacing_mm * (place.columns - columns) / 2
        + column * place.row_spacing_mm * (place.rows - rows) / 2
    )
    return [
        replace(
            whole,
            tile=(number // across * rows, number % across * columns),
            frame=number,
            instance_number=None,
            placement=replace(
                place,
                rows=rows,
                columns=columns,
                position=tuple((first + number * spacing * normal).tolist()),
            ),
        )
        for number in range(count)
    ]


def _why_no_slice(parsed: ParsedFile, layout: PixelLayout) -> tuple[str, str] | None:
    """Return code and message of what makes a file no slices of a volume."""
    elements = parsed.elements
    if "MOSAIC" in elements.text("ImageType").upper() and MOSAIC_TILES not in elements:
        return "mosaic", "The image holds many slices as tiles and no CSA header that says where they lie."
    if parsed.frames and len(parsed.frames) != layout.frames:
        return (
            "bad_header",
            f"The file has {counted(layout.frames, 'frame')} and describes {len(parsed.frames)}.",
        )
    if not parsed.frames and (layout.frames != 1 or elements.text("SOPClassUID") in ENHANCED):
        return (
            "multi_frame",
            f"One file holds {counted(layout.frames, 'frame')} and doesn't say where they lie.",
        )
    grey = layout.photometric_interpretation in {"MONOCHROME1", "MONOCHROME2"}
    if layout.samples_per_pixel != 1 or not grey:
        return "colour", f"The pixels are {layout.photometric_interpretation[:16]}."
    return None
