"""Contours of an RTSTRUCT as regions on the grid of their image: PS3.3 C.8.8.5 and C.8.8.6."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue

from lepton_monai.core.errors import FileRefused, LabelError, LeptonError
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.wording import counted
from lepton_monai.dicom.dataset import foreign_file, read_whole
from lepton_monai.labels.labelset import Region, Regions
from lepton_monai.labels.polygons import fill_even_odd

BETWEEN_SLICES = 0.01
"""A contour further than this share of a slice from its slice is noted."""

ONE_PLANE = 0.1
"""Contours that fall on one slice and lie further apart than this share of it are of two planes."""

LARGEST_MM = 1e6
"""No patient is a kilometre long: a coordinate beyond is rubbish."""

UNDEFINED_LENGTH = 0xFFFFFFFF

SNAP_DECIMALS = 6
"""Of an index: what the inverse affine loses (1e-12) may not move a corner off a voxel centre."""

FILLED = frozenset({"CLOSED_PLANAR", "CLOSEDPLANAR_XOR"})


@dataclass(frozen=True, eq=False)
class Contour:
    """One contour: its points ``(n, 3)`` in patient space, LPS, mm, and its geometric type."""

    points: NDArray[np.float64]
    geometric_type: str


@dataclass(frozen=True, eq=False)
class Structure:
    """One ROI: its name and its contours."""

    name: str
    contours: tuple[Contour, ...]


def read_structures(path: Path) -> tuple[Structure, ...]:
    """Read the ROIs of an RTSTRUCT file.

    Raises
    ------
    LabelError
        The file can't be read or is cut, a number names two ROIs, or a contour's coordinates are no
        points.
    """
    try:
        with foreign_file():
            dataset = read_whole(path)
            names = _by_number(_items(dataset, "StructureSetROISequence"), "ROINumber")
            drawn = _by_number(_items(dataset, "ROIContourSequence"), "ReferencedROINumber")
            return tuple(_structure(roi, drawn.get(number)) for number, roi in names.items())
    except FileRefused as error:
        message = f"The RTSTRUCT can't be read: {error.finding.message}"
        raise LabelError(message) from error
    except LeptonError:
        raise
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The RTSTRUCT can't be read ({type(error).__name__})."
        raise LabelError(message) from error


def rasterise(structures: tuple[Structure, ...], grid: Grid) -> Regions:
    """Fill every ROI on a grid by the even-odd rule at voxel centres.

    Parameters
    ----------
    structures
        ROIs in patient space.
    grid
        The image that they were drawn on, in any orientation.

    Returns
    -------
    regions : Regions
        Contours of one ROI on one slice are combined by exclusive or, so that an inner one is a hole;
        a contour that is there twice counts once.

    Raises
    ------
    LabelError
        A contour isn't planar, or lies more than half a slice from every slice, or contours of two
        planes fall on one slice.

    Notes
    -----
    PS3.3 C.8.8.6.3. A centre on an edge counts as inside on the lower side only, where the standard
    counts the path to the region: so contours that touch never share a voxel.
    """
    findings: dict[str, Finding] = {}
    regions = tuple(Region((structure.name,), _fill(structure, grid, findings)) for structure in structures)
    return Regions(regions, grid, tuple(findings.values()))


def _items(dataset: Any, keyword: str) -> list[Any]:
    """Return the items of a sequence that every RTSTRUCT holds (PS3.3 A.19.3), if they are all there."""
    raw = dataset.get_item(keyword) if keyword in dataset else None
    if raw is None:
        message = f"The RTSTRUCT has no {keyword}: it is cut, or no RTSTRUCT."
        raise LabelError(message)
    # pydicom takes what is left of a cut element without a word.
    if isinstance(raw, RawDataElement):
        there = len(raw.value or b"")
        if there < raw.length < UNDEFINED_LENGTH:
            message = f"The RTSTRUCT is cut: {there} of {raw.length} bytes of its {keyword} are there."
            raise LabelError(message)
    return list(dataset[keyword].value or [])


def _by_number(items: list[Any], keyword: str) -> dict[int, Any]:
    found = {int(item[keyword].value): item for item in items}
    if len(found) < len(items):
        message = f"The RTSTRUCT gives one {keyword} to two ROIs."
        raise LabelError(message)
    return found


def _structure(roi: Any, drawn: Any | None) -> Structure:
    name = roi.get("ROIName") or ""
    if isinstance(name, MultiValue):  # a backslash in the name, which the standard reads as two names
        name = "\\".join(name)
    contours = (drawn.get("ContourSequence") or []) if drawn is not None else []
    return Structure(str(name).strip(), tuple(_contour(item) for item in contours))


def _contour(item: Any) -> Contour:
    numbers = np.array([float(value) for value in item.get("ContourData") or []])
    if numbers.size % 3 or not (np.abs(numbers) < LARGEST_MM).all():
        message = f"A contour of the RTSTRUCT holds {counted(numbers.size, 'number')}, no points."
        raise LabelError(message)
    kind = str(item.get("ContourGeometricType") or "").strip()
    return Contour(numbers.reshape(-1, 3), kind)


def _fill(structure: Structure, grid: Grid, findings: dict[str, Finding]) -> NDArray[np.bool_]:
    mask = np.zeros(grid.shape, dtype=np.bool_, order="F")
    seen: set[tuple[int, bytes]] = set()
    planes: dict[int, float] = {}
    for contour in structure.contours:
        if contour.geometric_type not in FILLED or len(contour.points) < 3:
            message = f"A contour of type {contour.geometric_type[:20] or 'unnamed'} is not filled."
            findings["contour_not_filled"] = Finding("contour_not_filled", message)
            continue
        k, depth, outline = _on_slice(contour, grid, findings)
        apart = abs(depth - planes.setdefault(k, depth))
        if apart > ONE_PLANE:
            message = (
                f"Contours {apart * grid.spacing_mm[2]:.2f} mm apart fall on one slice of "
                f"{grid.spacing_mm[2]:.2f} mm: they were drawn on another image."
            )
            raise LabelError(message)
        name = (k, _edges(outline))
        if name in seen:
            message = "A contour is there twice."
            findings["contours_counted_once"] = Finding("contours_counted_once", message)
            continue
        seen.add(name)
        inside = fill_even_odd(outline, grid.shape[:2])
        if contour.geometric_type == "CLOSED_PLANAR" and (mask[:, :, k] & inside).any():
            message = "Contours of one slice cover each other: what both cover is a hole."
            findings["nested_contours_as_holes"] = Finding("nested_contours_as_holes", message)
        mask[:, :, k] ^= inside
    return mask


def _on_slice(
    contour: Contour, grid: Grid, findings: dict[str, Finding]
) -> tuple[int, float, NDArray[np.float64]]:
    """Return the slice of a contour, its place between slices, its corners ``(n, 2)`` in ``(i, j)``."""
    index = np.round(grid.to_index(contour.points), SNAP_DECIMALS)
    depth = index[:, 2]
    middle = float(depth.mean())
    if np.ptp(depth) > 0.5:
        message = (
            f"A contour spans {np.ptp(depth) * grid.spacing_mm[2]:.2f} mm across slices: it is not "
            "planar on this image."
        )
        raise LabelError(message)
    k = int(np.floor(middle + 0.5))  # half way always goes up: `round` would put 1.5 and 2.5 on one slice
    if not 0 <= k < grid.shape[2]:
        off = max(-middle, middle - (grid.shape[2] - 1)) * grid.spacing_mm[2]
        message = f"A contour lies {off:.1f} mm outside the slices of its image."
        raise LabelError(message)
    off = float(np.abs(depth - k).max())
    if off > BETWEEN_SLICES:
        message = f"A contour lies {off * grid.spacing_mm[2]:.2f} mm from the nearest slice."
        findings["contour_between_slices"] = Finding("contour_between_slices", message)
    return k, middle, index[:, :2]


def _edges(outline: NDArray[np.float64]) -> bytes:
    """Name a contour by its edges, whatever its start, its direction and a repeated first point.

    Not by its corners: a square and an hourglass share all four.
    """
    start = np.round(outline, 4) + 0.0  # no negative zeros
    end = np.roll(start, -1, axis=0)
    later = (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))
    edges = np.where(later[:, None], np.hstack([end, start]), np.hstack([start, end]))
    edges = edges[(start != end).any(axis=1)]
    return bytes(edges[np.lexsort(edges.T)].tobytes())
