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
        The grid with the third column along the slice normal.
    sheared
        The grid with the third column free: exact for a stack that is regular and sheared.
    irregularity_mm
        Largest corner error with the third column free: gaps, jumps, other spacings.
    shear_mm
        Largest corner error with the third column along the slice normal.
    """

    grid: Grid
    sheared: Grid
    irregularity_mm: float
    shear_mm: float


def slice_normal(header: Header) -> NDArray[np.float64]:
    """Return the unit normal ``(3,)`` of a slice, row direction x column direction, LPS."""
    orientation = np.asarray(header.placement.orientation, dtype=np.float64)
    normal = np.cross(orientation[:3], orientation[3:])
    return np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)


def along_normal(headers: Sequence[Header]) -> NDArray[np.float64]:
    """Return the position of every slice along the normal of the first, ``(n,)``, mm."""
    return np.asarray(_positions(headers) @ slice_normal(headers[0]), dtype=np.float64)


def in_order(headers: Sequence[Header]) -> list[Header]:
    """Sort slices by their position along the normal of the first; ties by SOP instance UID and frame."""
    along = along_normal(headers).tolist()
    keys = [(along[at], one.identity.instance_uid, one.frame) for at, one in enumerate(headers)]
    return [headers[at] for at in sorted(range(len(headers)), key=keys.__getitem__)]


def same_position(first: Header, second: Header) -> bool:
    """Tell whether two slices lie at one place."""
    gap = np.subtract(first.placement.position, second.placement.position)
    return float(np.linalg.norm(gap)) < SAME_POSITION_MM


def bad_geometry(headers: Sequence[Header]) -> tuple[Header, str] | None:
    """Find the first slice whose geometry is impossible, and say what is; None: there is none."""
    orientations = _orientations(headers)
    numbers = np.concatenate([_positions(headers), orientations], axis=1)
    spacings = _spacings(headers)
    rows, columns = orientations[:, :3], orientations[:, 3:]
    with np.errstate(all="ignore"):  # what isn't finite is found by comparing
        is_finite = np.abs(numbers).max(axis=1) <= FURTHEST_MM
        has_spacing = np.logical_and.reduce((spacings > 0) & (spacings < FURTHEST_MM), axis=1)
        lengths = np.linalg.norm(orientations.reshape(-1, 2, 3), axis=2)
        has_length_one = (np.abs(lengths - 1) <= 1e-3).all(axis=1)
        cosines = np.abs((rows * columns).sum(axis=1))
        is_square = np.logical_and(has_length_one, cosines <= 1e-3)
    has_pixels = np.array([min(one.placement.rows, one.placement.columns) > 0 for one in headers])
    sound = is_finite & has_spacing & is_square & has_pixels
    if sound.all():
        return None
    at = int(np.flatnonzero(~sound)[0])
    if not is_finite[at]:
        return headers[at], "the position or orientation is not finite"
    if not has_spacing[at]:
        return headers[at], f"the pixel spacing is {spacings[at, 0]} x {spacings[at, 1]} mm"
    if not is_square[at]:
        return headers[at], "row and column direction are not unit vectors at right angles"
    return headers[at], "the matrix is empty"


def fit_stack(headers: Sequence[Header], places: Sequence[int] | None = None) -> Fit:
    """Fit a regular grid to slices in order.

    Parameters
    ----------
    headers
        At least one slice, in order of position, of one matrix size. A single slice takes its
        thickness from SpacingBetweenSlices, else SliceThickness.
    places
        Where each slice lies along ``k``, from 0 on; None: one after the other, without a gap.

    Returns
    -------
    fit : Fit
        Its grid's ``k`` axis runs along row direction x column direction.

    Raises
    ------
    GeometryError
        Spacings so small or large that no grid comes of them, a lone slice without a thickness.
    """
    positions = _positions(headers)
    in_plane = _in_plane_steps(headers)
    mean_plane = _right_angled(in_plane)
    normal = np.cross(mean_plane[:, 0], mean_plane[:, 1])
    normal /= np.linalg.norm(normal)
    index = np.arange(len(headers), dtype=np.float64) if places is None else np.array(places, np.float64)
    shape = (headers[0].placement.columns, headers[0].placement.rows, int(index[-1]) + 1)
    if len(headers) == 1:
        affine = _affine(mean_plane, normal * single_slice_spacing_mm(headers[0]), positions[0])
        error = _corner_error_mm(affine, index, positions, (headers[0], in_plane))
        return Fit(Grid(shape, affine), Grid(shape, affine), error, error)
    centred = index - index.mean()
    free = centred @ positions / (centred @ centred)
    along = normal * (free @ normal)
    affines = [
        _affine(mean_plane, third, positions.mean(axis=0) - index.mean() * third) for third in (free, along)
    ]
    irregularity, shear = (
        _corner_error_mm(affine, index, positions, (headers[0], in_plane)) for affine in affines
    )
    return Fit(Grid(shape, affines[1]), Grid(shape, affines[0]), irregularity, shear)


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


def _positions(headers: Sequence[Header]) -> _Frames:
    return np.array([header.placement.position for header in headers], dtype=np.float64)


def _orientations(headers: Sequence[Header]) -> _Frames:
    return np.array([header.placement.orientation for header in headers], dtype=np.float64)


def _spacings(headers: Sequence[Header]) -> _Frames:
    """Return row and column spacing ``(n, 2)``, mm."""
    placements = [header.placement for header in headers]
    return np.array([(one.row_spacing_mm, one.column_spacing_mm) for one in placements], dtype=np.float64)


def _in_plane_steps(headers: Sequence[Header]) -> _Frames:
    """Return every slice's steps along ``i`` and ``j`` as columns, ``(n, 3, 2)``, mm."""
    axes = _orientations(headers).reshape(-1, 2, 3)
    axes = axes / np.linalg.norm(axes, axis=2, keepdims=True)
    # i runs along a row, from column to column; j from row to row.
    return np.asarray((axes * _spacings(headers)[:, ::-1, None]).transpose(0, 2, 1), dtype=np.float64)


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
    affine: _Frames, index: _Frames, positions: _Frames, plane: tuple[Header, _Frames]
) -> float:
    """Compare the fit with every slice's own four corners."""
    one, in_plane = plane
    columns, rows = one.placement.columns, one.placement.rows
    corners = np.array([[0, 0], [columns - 1, 0], [0, rows - 1], [columns - 1, rows - 1]], float)
    own = positions[:, None] + np.einsum("cp,nxp->ncx", corners, in_plane)
    along = index[:, None, None] * affine[:3, 2][None, None]
    fitted = affine[:3, 3] + (corners @ affine[:3, :2].T)[None] + along
    return float(np.linalg.norm(own - fitted, axis=2).max())
