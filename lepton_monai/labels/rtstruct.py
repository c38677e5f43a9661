"""Contours of an RTSTRUCT as regions on the grid of their image: PS3.3 C.8.8.5 and C.8.8.6."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import LabelError, LeptonError
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.dicom.dataset import foreign_file, read_whole
from lepton_monai.labels.labelset import Region, Regions
from lepton_monai.labels.polygons import fill_even_odd

BETWEEN_SLICES = 0.01
"""A contour further than this share of a slice from its slice is noted."""

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
        The file can't be read, or a contour's coordinates are no finite points.
    """
    try:
        with foreign_file():
            dataset = read_whole(path)
            names = {
                int(roi.ROINumber): str(roi.get("ROIName") or "").strip()
                for roi in dataset.get("StructureSetROISequence") or []
            }
            drawn = {
                int(roi.ReferencedROINumber): tuple(
                    _contour(item) for item in roi.get("ContourSequence") or []
                )
                for roi in dataset.get("ROIContourSequence") or []
            }
    except LeptonError:
        raise
    except Exception as error:  # the border: a foreign file may raise anything
        message = f"The RTSTRUCT can't be read ({type(error).__name__})."
        raise LabelError(message) from error
    return tuple(Structure(name, drawn.get(number, ())) for number, name in names.items())


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
        A contour isn't planar, or lies more than half a slice from every slice.

    Notes
    -----
    PS3.3 C.8.8.6.3. A centre on an edge counts as inside on the lower side only, where the standard
    counts the path to the region: so contours that touch never share a voxel.
    """
    findings: dict[str, Finding] = {}
    regions = tuple(Region((structure.name,), _fill(structure, grid, findings)) for structure in structures)
    return Regions(regions, grid, tuple(findings.values()))


def _contour(item: Any) -> Contour:
    numbers = np.array([float(value) for value in item.get("ContourData") or []])
    if numbers.size % 3 or not np.isfinite(numbers).all():
        message = f"A contour of the RTSTRUCT holds {numbers.size} numbers that are no points."
        raise LabelError(message)
    kind = str(item.get("ContourGeometricType") or "").strip()
    return Contour(numbers.reshape(-1, 3), kind)


def _fill(structure: Structure, grid: Grid, findings: dict[str, Finding]) -> NDArray[np.bool_]:
    mask = np.zeros(grid.shape, dtype=np.bool_, order="F")
    seen: set[bytes] = set()
    for contour in structure.contours:
        if contour.geometric_type not in FILLED or len(contour.points) < 3:
            message = f"A contour of type {contour.geometric_type[:20] or 'unnamed'} is not filled."
            findings["contour_not_filled"] = Finding("contour_not_filled", message)
            continue
        k, outline = _on_slice(contour, grid, findings)
        if _digest(k, outline) in seen:
            message = "A contour is there twice."
            findings["contours_counted_once"] = Finding("contours_counted_once", message)
            continue
        seen.add(_digest(k, outline))
        inside = fill_even_odd(outline, grid.shape[:2])
        if contour.geometric_type == "CLOSED_PLANAR" and (mask[:, :, k] & inside).any():
            message = "A contour lies inside another: it is read as a hole."
            findings["nested_contours_as_holes"] = Finding("nested_contours_as_holes", message)
        mask[:, :, k] ^= inside
    return mask


def _on_slice(
    contour: Contour, grid: Grid, findings: dict[str, Finding]
) -> tuple[int, NDArray[np.float64]]:
    """Return the slice of a contour and its corners ``(n, 2)`` in indices ``(i, j)``."""
    index = grid.to_index(contour.points)
    depth = index[:, 2]
    middle = float(depth.mean())
    if np.ptp(depth) > 0.5:
        message = (
            f"A contour spans {np.ptp(depth) * grid.spacing_mm[2]:.2f} mm across slices: it is not "
            "planar on this image."
        )
        raise LabelError(message)
    k = round(middle)
    if abs(middle - k) > 0.5 or not 0 <= k < grid.shape[2]:
        off = max(-middle, middle - (grid.shape[2] - 1)) * grid.spacing_mm[2]
        message = f"A contour lies {off:.1f} mm outside the slices of its image."
        raise LabelError(message)
    if abs(middle - k) > BETWEEN_SLICES:
        off = abs(middle - k) * grid.spacing_mm[2]
        message = f"A contour lies {off:.2f} mm from the nearest slice."
        findings["contour_between_slices"] = Finding("contour_between_slices", message)
    return k, index[:, :2]


def _digest(k: int, outline: NDArray[np.float64]) -> bytes:
    """Name a contour whatever its start, its direction and a repeated first point."""
    corners = np.unique(np.round(outline, 4), axis=0)
    return bytes([k % 256, k // 256]) + corners.tobytes()
