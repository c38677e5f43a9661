"""The gate: whether slices make one regular grid, and if not, why not.

Two least-squares fits over all slices, each compared with every slice's own position, orientation and
pixel spacing; the error is the largest distance of a corner, in mm, over the whole stack. A gate per
gap would not do: half a degree of shear is 0.02 mm a slice and 8 mm over a stack.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.dicom.header import Header

GATE_MM = 0.05
"""A stack whose corners lie further from their fit is no regular volume."""

NOTE_MM = 0.005
"""From here on the difference is worth a remark."""

SAME_POSITION_MM = 0.01
"""Two slices closer than this lie at one position; real slices are at least 0.1 mm apart."""

FURTHEST_MM = 1e6
"""No slice lies a kilometre away: such a number is rubbish, and its square may overflow."""

_Frames = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A stack of slices measured against a regular grid.

    Parameters
    ----------
    grid
        The grid along the slice normal.
    irregularity_mm
        Largest corner error with the third column free: gaps, jumps, other spacings.
    shear_mm
        Largest corner error with the third column along the slice normal.
    """

    grid: Grid
    irregularity_mm: float
    shear_mm: float


def slice_normal(header: Header) -> NDArray[np.float64]:
    """Return the unit normal ``(3,)`` of a slice, row direction x column direction, LPS."""
    orientation = np.asarray(header.placement.orientation, dtype=np.float64)
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def in_order(headers: Sequence[Header]) -> list[Header]:
    """Sort slices by their position along the normal of the first; ties by SOP instance UID."""
    normal = slice_normal(headers[0])
    return sorted(
        headers,
        key=lambda header: (
            float(normal @ np.asarray(header.placement.position)),
            header.identity.instance_uid,
        ),
    )


def same_position(first: Header, second: Header) -> bool:
    """Tell whether two slices lie at one place."""
    gap = np.subtract(first.placement.position, second.placement.position)
    return float(np.linalg.norm(gap)) < SAME_POSITION_MM


def bad_geometry(header: Header) -> str:
    """Say what is impossible about one slice's geometry, or nothing."""
    placement = header.placement
    numbers = (*placement.position, *placement.orientation)
    spacing = (placement.row_spacing_mm, placement.column_spacing_mm)
    if not np.isfinite(numbers).all() or np.abs(numbers).max() > FURTHEST_MM:
        return "the position or orientation is not finite"
    if any(not 0 < value < FURTHEST_MM for value in spacing):
        return f"the pixel spacing is {spacing[0]} x {spacing[1]} mm"
    row, column = np.split(np.asarray(placement.orientation), 2)
    lengths = np.linalg.norm([row, column], axis=1)
    if np.abs(lengths - 1).max() > 1e-3 or abs(float(row @ column)) > 1e-3:
        return "row and column direction are not unit vectors at right angles"
    if min(placement.rows, placement.columns) < 1:
        return "the matrix is empty"
    return ""


def fit_stack(headers: Sequence[Header]) -> Fit:
    """Fit a regular grid to slices in order.

    Parameters
    ----------
    headers
        At least one slice, in order of position, of one matrix size. A single slice takes its
        thickness from SpacingBetweenSlices, else SliceThickness.

    Returns
    -------
    fit : Fit
        Its grid's ``k`` axis runs along row direction x column direction.

    Raises
    ------
    GeometryError
        Spacings so small or large that no grid comes of them, a lone slice without a thickness.
    """
    positions = np.array([header.placement.position for header in headers])
    in_plane = np.array([_in_plane_steps(header) for header in headers])  # (n, 3, 2)
    mean_plane = _right_angled(in_plane)
    normal = np.cross(mean_plane[:, 0], mean_plane[:, 1])
    normal /= np.linalg.norm(normal)
    shape = (headers[0].placement.columns, headers[0].placement.rows, len(headers))
    if len(headers) == 1:
        affine = _affine(mean_plane, normal * single_slice_spacing_mm(headers[0]), positions[0])
        error = _corner_error_mm(affine, shape, positions, in_plane)
        return Fit(Grid(shape, affine), error, error)
    index = np.arange(len(headers), dtype=np.float64)
    centred = index - index.mean()
    free = centred @ positions / (centred @ centred)
    along = normal * (free @ normal)
    affines = [
        _affine(mean_plane, third, positions.mean(axis=0) - index.mean() * third) for third in (free, along)
    ]
    irregularity, shear = (_corner_error_mm(affine, shape, positions, in_plane) for affine in affines)
    return Fit(Grid(shape, affines[1]), irregularity, shear)


def single_slice_spacing_mm(header: Header) -> float:
    """Return the thickness of a lone slice, NaN where the header has none."""
    placement = header.placement
    for value in (placement.spacing_between_slices_mm, placement.slice_thickness_mm):
        if value is not None and np.isfinite(value) and value != 0:
            return abs(value)
    return math.nan


def refusal(headers: Sequence[Header], fit: Fit) -> Finding | None:
    """Say why a stack is no regular volume; None where it passes the gate.

    Parameters
    ----------
    headers
        In order of position, no two at one position.
    fit
        Of these slices.
    """
    if fit.shear_mm <= GATE_MM:
        return None
    if fit.irregularity_mm <= GATE_MM:
        positions = np.array([header.placement.position for header in headers])
        drift = positions[-1] - positions[0]
        cosine = abs(float(drift @ slice_normal(headers[0]))) / float(np.linalg.norm(drift))
        angle = np.degrees(np.arccos(min(1.0, cosine)))
        message = (
            f"The stack is sheared by {angle:.2f} degrees, {fit.shear_mm:.2f} mm at its corners "
            f"({GATE_MM} mm are allowed)."
        )
        return Finding("gantry_tilt", message)
    return _irregular(headers, fit)


def _irregular(headers: Sequence[Header], fit: Fit) -> Finding:
    normal = slice_normal(headers[0])
    along = np.array([normal @ np.asarray(header.placement.position) for header in headers])
    steps = np.diff(along)
    if len(steps) == 0 or np.ptp(steps) <= GATE_MM:
        message = (
            f"Corners lie up to {fit.irregularity_mm:.3g} mm off the regular grid though no gap differs: "
            f"slices are shifted, turned or askew in their plane."
        )
        return Finding("bad_geometry", message)
    usual = float(np.median(steps)) if len(steps) > 2 else float(steps.min())
    counts = np.rint(steps / usual)
    whole = np.abs(steps - counts * usual).max() <= max(0.05 * usual, GATE_MM)
    gaps = np.flatnonzero(counts > 1)
    if whole and counts.min() >= 1 and len(gaps):
        at = int(gaps[0])
        place = np.asarray(headers[at].placement.position) + normal * usual
        axis = int(np.abs(normal).argmax())
        message = (
            f"{int((counts - 1).sum())} of {int(counts.sum()) + 1} slices are missing, the first near "
            f"{'xyz'[axis]} = {place[axis]:.1f} mm ({len(steps) - len(gaps)} of {len(steps)} gaps are "
            f"{usual:.4g} mm, {len(gaps)} up to {steps.max():.4g} mm)."
        )
        return Finding("missing_slice", message, path=headers[at].path)
    message = (
        f"Gaps between slices run from {steps.min():.4g} to {steps.max():.4g} mm; corners lie up to "
        f"{fit.irregularity_mm:.3g} mm off the regular grid ({GATE_MM} mm are allowed)."
    )
    return Finding("variable_spacing", message)


def _in_plane_steps(header: Header) -> _Frames:
    """Return the steps along ``i`` and ``j`` as columns ``(3, 2)``, mm."""
    placement = header.placement
    row, column = np.split(np.asarray(placement.orientation, dtype=np.float64), 2)
    row, column = row / np.linalg.norm(row), column / np.linalg.norm(column)
    # i runs along a row, from column to column; j from row to row.
    return np.stack([row * placement.column_spacing_mm, column * placement.row_spacing_mm], axis=1)


def _right_angled(in_plane: _Frames) -> _Frames:
    """Average the slices' steps and turn them to exact right angles, half the error to each."""
    mean = in_plane.mean(axis=0)
    lengths = np.linalg.norm(mean, axis=0)
    left, _, right = np.linalg.svd(mean / lengths, full_matrices=False)
    return np.asarray((left @ right) * lengths, dtype=np.float64)


def _affine(in_plane: _Frames, third: _Frames, start: _Frames) -> _Frames:
    affine = np.eye(4)
    affine[:3, :2], affine[:3, 2], affine[:3, 3] = in_plane, third, start
    return affine


def _corner_error_mm(
    affine: _Frames, shape: tuple[int, int, int], positions: _Frames, in_plane: _Frames
) -> float:
    """Compare the fit with every slice's own four corners."""
    columns, rows, slices = shape
    corners = np.array([[0, 0], [columns - 1, 0], [0, rows - 1], [columns - 1, rows - 1]], float)
    own = positions[:, None] + np.einsum("cp,nxp->ncx", corners, in_plane)
    k = np.arange(slices, dtype=np.float64)
    fitted = (
        affine[:3, 3] + (corners @ affine[:3, :2].T)[None] + k[:, None, None] * affine[:3, 2][None, None]
    )
    return float(np.linalg.norm(own - fitted, axis=2).max())
