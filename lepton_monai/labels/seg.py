"""Segments of a DICOM SEG as regions on the grid of their image: PS3.3 A.51 and C.8.20."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import LabelError, LeptonError
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.dicom.dataset import foreign_file, read_whole
from lepton_monai.labels.labelset import Region, Regions

ON_GRID = 0.01
"""How far, in voxels, a pixel of the SEG may lie from a voxel of its image."""


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
        The file can't be read, or its pixels don't lie on the voxels of the image.
    """
    try:
        with foreign_file():
            dataset = read_whole(path)
            frames = np.atleast_3d(_frames(dataset))
            return _regions(dataset, frames, grid)
    except LeptonError:
        raise
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The SEG can't be read ({type(error).__name__})."
        raise LabelError(message) from error


def _frames(dataset: Any) -> NDArray[Any]:
    """Return the pixels ``(frame, row, column)``."""
    pixels = np.asarray(dataset.pixel_array)
    count = int(dataset.get("NumberOfFrames") or 1)
    return pixels.reshape(count, int(dataset.Rows), int(dataset.Columns))


def _regions(dataset: Any, frames: NDArray[Any], grid: Grid) -> Regions:
    kind = str(dataset.SegmentationType).strip().upper()
    names = {
        int(segment.SegmentNumber): (str(segment.SegmentLabel).strip(), str(segment.SegmentNumber))
        for segment in dataset.SegmentSequence
    }
    masks: dict[int, NDArray[np.bool_]] = defaultdict(
        lambda: np.zeros(grid.shape, dtype=np.bool_, order="F")
    )
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    if len(groups) != len(frames):
        message = f"The SEG has {len(frames)} frames and describes {len(groups)}."
        raise LabelError(message)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    for group, frame in zip(groups, frames, strict=True):
        place = _frame_affine(group, shared)
        for number, pixels in _segments_of(group, shared, frame, kind, dataset):
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
        return [(int(value), frame == value) for value in np.unique(frame) if value]
    identified = _macro(group, shared, "SegmentIdentificationSequence")
    number = int(identified.ReferencedSegmentNumber)
    if kind == "FRACTIONAL":
        return [(number, frame >= 0.5 * float(dataset.MaximumFractionalValue))]
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


def _voxels(
    pixels: NDArray[np.bool_], place: NDArray[np.float64], grid: Grid
) -> tuple[NDArray[np.int64], ...]:
    """Return the voxels of the image that the pixels of a frame lie on."""
    rows, columns = np.nonzero(pixels)
    steps = np.abs(np.linalg.inv(grid.affine[:3, :3]) @ place[:, :2])
    whole_steps = np.abs(steps - np.rint(steps)).max() < 1e-3 and (steps.sum(axis=0) < 1.5).all()
    index = grid.to_index(np.stack([columns, rows, np.ones_like(rows)], axis=1) @ place.T)
    nearest = np.rint(index).astype(np.int64)
    off = float(np.abs(index - nearest).max()) if len(index) else 0.0
    inside = ((nearest >= 0) & (nearest < grid.shape)).all()
    if not whole_steps or off > ON_GRID or not inside:
        message = "The pixels of the SEG don't lie on the voxels of its image."
        raise LabelError(message)
    return nearest[:, 0], nearest[:, 1], nearest[:, 2]
