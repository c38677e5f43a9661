"""Segments of a DICOM SEG as regions on the grid of their image: PS3.3 A.51 and C.8.20."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import FileRefused, LabelError, LeptonError
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.wording import counted
from lepton_monai.dicom.dataset import foreign_file, read_whole
from lepton_monai.labels.labelset import Region, Regions

ON_GRID = 0.01
"""How far, in voxels, a pixel of the SEG may lie from a voxel of its image."""

KINDS = frozenset({"BINARY", "FRACTIONAL", "LABELMAP"})


def read_segments(path: Path, grid: Grid) -> Regions:
    """Read every segment of a SEG file.

    Parameters
    ----------
    path
        BINARY, FRACTIONAL (at least half is inside) or LABELMAP.
    grid
        Of the image that was segmented, in any orientation.

    Returns
    -------
    regions : Regions
        Frames are placed by their position, never by their order; omitted frames are empty.

    Raises
    ------
    LabelError
        The file can't be read, its pixels don't lie on the voxels of the image, or it contradicts
        itself.
    """
    try:
        with foreign_file():
            return _regions(read_whole(path), grid)
    except FileRefused as error:
        message = f"The SEG can't be read: {error.finding.message}"
        raise LabelError(message) from error
    except LeptonError:
        raise
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The SEG can't be read ({type(error).__name__})."
        raise LabelError(message) from error


def _frames(dataset: Any, count: int) -> NDArray[Any]:
    """Return the pixels ``(frame, row, column)``; the frames are counted before any is decoded."""
    stated = int(dataset.get("NumberOfFrames") or 1)
    if stated != count:
        message = f"The SEG has {counted(stated, 'frame')} and describes {count}."
        raise LabelError(message)
    pixels = np.asarray(dataset.pixel_array)
    return pixels.reshape(count, int(dataset.Rows), int(dataset.Columns))


def _names(dataset: Any, kind: str) -> dict[int, tuple[str, str]]:
    """Return label and number of every segment by its number, without the background of a LABELMAP."""
    background = _background(dataset) if kind == "LABELMAP" else None
    names = {
        int(segment.SegmentNumber): (str(segment.SegmentLabel).strip(), str(segment.SegmentNumber))
        for segment in dataset.SegmentSequence
    }
    if kind not in KINDS or len(names) < len(dataset.SegmentSequence):
        message = f"The SEG is of the type {kind[:20] or 'none'} or gives one number to two segments."
        raise LabelError(message)
    return {number: name for number, name in names.items() if number != background}


def _background(dataset: Any) -> int:
    """Return the value of pixels in no segment: PS3.3 C.8.20.2, as highdicom reads it; else 0."""
    padding = dataset.get("PixelPaddingValue")
    return 0 if padding is None else int(padding)


def _regions(dataset: Any, grid: Grid) -> Regions:
    kind = str(dataset.SegmentationType).strip().upper()
    names = _names(dataset, kind)
    masks: dict[int, NDArray[np.bool_]] = defaultdict(
        lambda: np.zeros(grid.shape, dtype=np.bool_, order="F")
    )
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    _require_every_slice(groups, shared, grid)
    for group, frame in zip(groups, _frames(dataset, len(groups)), strict=True):
        place = _frame_affine(group, shared)
        for number, pixels in _segments_of(group, shared, frame, kind, dataset):
            if number not in names:
                message = f"The SEG holds the segment {number} and doesn't describe it."
                raise LabelError(message)
            i, j, k = _voxels(pixels, place, grid)
            masks[number][i, j, k] = True
    findings: tuple[Finding, ...] = ()
    if kind == "FRACTIONAL":
        findings = (Finding("segmentation_not_binary", "The SEG holds fractions."),)
    regions = tuple(Region(name, masks[number]) for number, name in names.items())
    return Regions(regions, grid, findings)


def _segments_of(
    group: Any, shared: Any, frame: NDArray[Any], kind: str, dataset: Any
) -> list[tuple[int, NDArray[np.bool_]]]:
    """Return segment numbers and pixels ``(row, column)`` of one frame."""
    if kind == "LABELMAP":
        background = _background(dataset)
        return [(int(value), frame == value) for value in np.unique(frame) if value != background]
    identified = _macro(group, shared, "SegmentIdentificationSequence")
    number = int(identified.ReferencedSegmentNumber)
    if kind == "FRACTIONAL":
        return [(number, (frame > 0) & (frame >= 0.5 * float(dataset.MaximumFractionalValue)))]
    return [(number, frame.astype(np.bool_))]


def _macro(group: Any, shared: Any, keyword: str) -> Any:
    holder = group if keyword in group else shared
    return holder[keyword].value[0]


def _frame_affine(group: Any, shared: Any) -> NDArray[np.float64]:
    """Return pixel ``(column, row, 1)`` to patient space, ``(3, 3)``, LPS, mm: PS3.3 C.7.6.2.1.1."""
    position = _macro(group, shared, "PlanePositionSequence").ImagePositionPatient
    orientation = _macro(group, shared, "PlaneOrientationSequence").ImageOrientationPatient
    row_spacing, column_spacing = _macro(group, shared, "PixelMeasuresSequence").PixelSpacing
    row, column = np.split(np.array([float(value) for value in orientation]), 2)
    origin = np.array([float(value) for value in position])
    return np.stack([row * float(column_spacing), column * float(row_spacing), origin], axis=1)


def _require_every_slice(groups: list[Any], shared: Any, grid: Grid) -> None:
    """Refuse frames that say they fill every second slice of the image: the mask would have stripes."""
    places = [_frame_affine(group, shared) for group in groups]
    spacing = _macro(groups[0], shared, "PixelMeasuresSequence").get("SpacingBetweenSlices")
    if not spacing:
        return
    normal = np.cross(places[0][:, 0], places[0][:, 1])
    axis = int(np.abs(np.linalg.inv(grid.affine[:3, :3]) @ normal).argmax())
    slices = np.rint([grid.to_index(place[:, 2])[axis] for place in places]).astype(np.int64)
    every = int(np.gcd.reduce(np.diff(slices)))
    if every > 1 and abs(float(spacing) / grid.spacing_mm[axis] - every) < 0.01 * every:
        message = (
            f"The slices of the SEG are {float(spacing):.4g} mm apart, those of its image "
            f"{grid.spacing_mm[axis]:.4g} mm."
        )
        raise LabelError(message)


def _voxels(
    pixels: NDArray[np.bool_], place: NDArray[np.float64], grid: Grid
) -> tuple[NDArray[np.int64], ...]:
    """Return the voxels of the image that the pixels of a frame lie on."""
    rows, columns = np.nonzero(pixels)
    steps = np.abs(np.linalg.inv(grid.affine[:3, :3]) @ place[:, :2])
    one_voxel = np.abs(np.sort(steps, axis=0) - [[0.0], [0.0], [1.0]]).max() < 1e-3
    two_axes = len(set(steps.argmax(axis=0))) == 2
    index = grid.to_index(np.stack([columns, rows, np.ones_like(rows)], axis=1) @ place.T)
    nearest = np.rint(index).astype(np.int64)
    off = float(np.abs(index - nearest).max()) if len(index) else 0.0
    inside = ((nearest >= 0) & (nearest < grid.shape)).all()
    if not (one_voxel and two_axes and inside) or off > ON_GRID:
        message = "The pixels of the SEG don't lie on the voxels of its image."
        raise LabelError(message)
    return nearest[:, 0], nearest[:, 1], nearest[:, 2]
