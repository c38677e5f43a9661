"""What can honestly be made of a refused series, on request alone; each result notes its repair."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.errors import SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.core.wording import counted
from lepton_monai.dicom import geometry
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.read import read_series
from lepton_monai.dicom.series import RefusedSeries, Series, series_of

Repair = Literal["fill_gaps", "keep_tilt", "by_instance_number"]

MOST_GAPS = 0.5
"""A stack with more gaps than slices is no stack."""

TINY = 1e-6
"""Part of a step below which two places are one."""


def repair(refused: RefusedSeries, allowed: Collection[Repair]) -> list[Series]:
    """Make series of a refused one without touching a value.

    Parameters
    ----------
    refused
        As `scan` gives it.
    allowed
        `fill_gaps`: missing slices are left empty and invalid, never interpolated. `keep_tilt`: a
        sheared stack keeps its exact, sheared affine. `by_instance_number`: where nothing else tells
        volumes apart, the first slice at each position by InstanceNumber makes the first volume.

    Returns
    -------
    series
        Each notes how it was repaired; nothing where that is not allowed or would not do.
    """
    ordered = geometry.in_order(refused.headers)
    code = refused.finding.code
    if code == "conflicting_duplicate" and "by_instance_number" in allowed:
        return _by_instance_number(ordered)
    if code in {"missing_slice", "gantry_tilt"}:
        return _on_its_grid(ordered, allowed)
    return []


def irregular_stack(refused: RefusedSeries, *, fill_gaps: bool = False) -> Series | None:
    """Return the slices that `regularise` resamples, in order; None: there it has nothing to do.

    Parameters
    ----------
    refused
        As `scan` gives it.
    fill_gaps
        Take a tilted stack with missing slices too.
    """
    ordered = geometry.in_order(refused.headers)
    if refused.finding.code in {"gantry_tilt", "variable_spacing"}:
        found = [series_of(ordered, geometry.fit_stack(ordered), ())]
    elif refused.finding.code == "missing_slice" and fill_gaps:
        gapped = _on_its_grid(ordered, {"fill_gaps", "keep_tilt"})
        found = [one for one in gapped if any(note.code == "kept_sheared" for note in one.findings)]
    else:
        found = []
    # What is said of a grid that is not kept would mislead.
    of_grid = {"kept_sheared", "spacing_tag_disagrees"}
    for series in found:
        return replace(series, findings=tuple(note for note in series.findings if note.code not in of_grid))
    return None


def regularise(refused: RefusedSeries, *, fill_gaps: bool = False) -> Volume | None:
    """Resample a series with gantry tilt or varying spacing once onto a grid at right angles.

    Parameters
    ----------
    refused
        As `scan` gives it.
    fill_gaps
        Take a tilted stack with missing slices too.

    Returns
    -------
    volume
        float32, linear between slices and in their plane, on a grid with the slices' own pixel spacing
        and the median gap, from the first slice on. A voxel between padding or a missing slice and anything
        else is invalid, as is what no slice reaches: these have the lowest value. None where neither
        tilt nor spacing was the reason of the refusal.

    Raises
    ------
    SeriesRefused
        The pixels can't be read, or no voxel lies between measured ones.
    """
    stack = irregular_stack(refused, fill_gaps=fill_gaps)
    if stack is None:
        return None
    source = read_series(stack)
    measured = source.array if source.valid is None else np.where(source.valid, source.array, np.nan)
    steps = source.grid.affine[:3, :3] / source.grid.spacing_mm
    steps[:, 2] = np.cross(steps[:, 0], steps[:, 1])
    positions = _positions(stack)
    offsets = (positions - positions[0]) @ steps
    along = offsets[:, 2]
    spacing = np.array([*source.grid.spacing_mm[:2], float(np.median(np.diff(along)))])
    shifts = offsets[:, :2] / spacing[:2]  # of every slice, in voxels
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = steps * spacing, positions[0]
    grid, first = _covering(affine, source.grid.shape, shifts, float(along[-1]))
    planes = [_moved(measured[:, :, k], shifts[k] - first, grid.shape) for k in range(len(along))]
    array = np.full(grid.shape, np.nan, dtype=np.float32, order="F")
    for k in range(grid.shape[2]):
        array[:, :, k] = _between(planes, along, k * spacing[2])
    valid = np.isfinite(array)
    if not valid.any():
        message = f"{refused.finding.message} No voxel lies between measured ones."
        raise SeriesRefused(replace(refused.finding, message=message))
    array[~valid] = array[valid].min()
    message = f"{refused.finding.message} Resampled onto {spacing[2]:.4g} mm at right angles."
    finding = Finding("regularised", message, refused.uid)
    return Volume(array, grid, source.unit, None if valid.all() else valid, (*source.findings, finding))


def _positions(stack: Series) -> NDArray[np.float64]:
    """Return where every slice lies, ``(k, 3)``, LPS, mm; a gap where its grid puts it."""
    on_grid = stack.grid.to_world([(0, 0, k) for k in range(stack.grid.shape[2])])
    own = [None if header is None else header.placement.position for header in stack.slices()]
    return np.array([place if found is None else found for place, found in zip(on_grid, own, strict=True)])


def _on_its_grid(ordered: list[Header], allowed: Collection[Repair]) -> list[Series]:
    along = geometry.along_normal(ordered)
    steps = np.diff(along)
    usual = float(np.median(steps)) if len(steps) > 2 else float(steps.min())
    places = np.rint((along - along[0]) / usual).astype(int)
    count = int(places[-1]) + 1
    gaps = tuple(sorted(set(range(count)) - set(places.tolist())))
    if len(set(places.tolist())) < len(ordered) or len(gaps) > MOST_GAPS * count:
        return []
    fit = geometry.fit_stack(ordered, places.tolist())
    if fit.irregularity_mm > geometry.GATE_MM or (gaps and "fill_gaps" not in allowed):
        return []
    notes = [Finding("gap_filled", f"{len(gaps)} of {count} slices are empty.")] if gaps else []
    if fit.shear_mm > geometry.GATE_MM:
        if "keep_tilt" not in allowed:
            return []
        message = f"The stack is sheared by {fit.shear_mm:.2f} mm at its corners."
        notes.append(Finding("kept_sheared", message))
        fit = replace(fit, grid=fit.sheared)
    return [replace(series_of(ordered, fit, notes), gaps=gaps)]


def _by_instance_number(ordered: list[Header]) -> list[Series]:
    """Deal the slices at each position to volumes, by their instance numbers."""
    if any(header.instance_number is None for header in ordered):
        return []
    along = geometry.along_normal(ordered)
    is_next = np.diff(along, prepend=-np.inf) >= geometry.SAME_POSITION_MM
    at_position: dict[int, list[Header]] = defaultdict(list)
    for place, header in zip(np.cumsum(is_next).tolist(), ordered, strict=True):
        at_position[place].append(header)
    counts = {len(found) for found in at_position.values()}
    if len(counts) != 1 or len(at_position) < 2:
        return []
    dealt = [sorted(found, key=lambda one: one.instance_number or 0) for found in at_position.values()]
    volumes = [[found[number] for found in dealt] for number in range(counts.pop())]
    fits = [geometry.fit_stack(volume) for volume in volumes]
    if any(fit.shear_mm > geometry.GATE_MM for fit in fits):
        return []
    message = f"The series holds {len(volumes)} volumes of {counted(len(dealt), 'slice')}."
    note = Finding("split_by_instance_number", message)
    return [
        replace(series_of(volume, fit, [note]), part=f"{number} of {len(volumes)}")
        for number, (volume, fit) in enumerate(zip(volumes, fits, strict=True), start=1)
    ]


def _covering(
    affine: NDArray[np.float64], shape: tuple[int, int, int], shifts: NDArray[np.float64], length_mm: float
) -> tuple[Grid, NDArray[np.float64]]:
    """Make a grid that covers every slice, and return which voxel of the first slice it starts with.

    Parameters
    ----------
    affine
        At right angles, from the first voxel of the first slice on.
    shape
        Of the stack.
    shifts
        Of every slice in its plane, ``(k, 2)``, in voxels.
    length_mm
        From the first slice to the last one. A rest that is shorter than a step is left out.
    """
    first = np.floor(shifts.min(axis=0) + TINY)
    more = np.ceil(shifts.max(axis=0) - TINY) - first
    slices = int(np.floor(length_mm / np.linalg.norm(affine[:3, 2]) + TINY)) + 1
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :2] @ first
    return Grid((shape[0] + int(more[0]), shape[1] + int(more[1]), slices), moved), first


def _moved(plane: NDArray[Any], shift: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Move a slice by a part of a voxel into its place, linearly; NaN where it has nothing."""
    room = np.full(shape[:2], np.nan)
    room[: plane.shape[0], : plane.shape[1]] = plane
    for axis, by in enumerate(shift.tolist()):
        whole = int(np.floor(by + TINY))
        part = by - whole
        room = np.roll(room, whole, axis)
        if part > TINY:  # else what is next to a NaN would be one too
            room = room * (1 - part) + np.roll(room, 1, axis) * part
    return room


def _between(
    planes: Sequence[NDArray[np.float64]], places: NDArray[np.float64], place: float
) -> NDArray[np.float64]:
    """Interpolate between the two slices around a place along the normal."""
    after = int(np.clip(np.searchsorted(places, place), 1, len(places) - 1))
    weight = float(np.clip((place - places[after - 1]) / (places[after] - places[after - 1]), 0.0, 1.0))
    if weight < TINY:
        return planes[after - 1]
    if weight > 1 - TINY:
        return planes[after]
    return planes[after - 1] * (1 - weight) + planes[after] * weight
