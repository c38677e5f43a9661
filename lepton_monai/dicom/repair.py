"""What can honestly be made of a refused series, on request alone; each result notes its repair."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Volume
from lepton_monai.dicom import geometry
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.read import read_series
from lepton_monai.dicom.series import RefusedSeries, Series, series_of

Repair = Literal["fill_gaps", "keep_tilt", "by_instance_number"]

MOST_GAPS = 0.5
"""A stack with more gaps than slices is no stack."""


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


def regularise(refused: RefusedSeries) -> Volume | None:
    """Resample a series with gantry tilt or varying spacing once onto a grid at right angles.

    Parameters
    ----------
    refused
        As `scan` gives it.

    Returns
    -------
    volume
        float32, linear between slices and in their plane, on a grid with the slices' own pixel spacing
        and the median gap. It covers all slices; voxels that no slice reaches are invalid and have the
        lowest value. None where neither tilt nor spacing was the reason of the refusal.

    Raises
    ------
    SeriesRefused
        The pixels can't be read.
    """
    if refused.finding.code not in {"gantry_tilt", "variable_spacing"}:
        return None
    ordered = geometry.in_order(refused.headers)
    fit = geometry.fit_stack(ordered)
    source = read_series(replace(series_of(ordered, fit, ()), findings=()))
    along = geometry.along_normal(ordered)
    steps = fit.grid.affine[:3, :3] / fit.grid.spacing_mm
    spacing = np.array([*fit.grid.spacing_mm[:2], float(np.median(np.diff(along)))])
    offsets = (
        np.array([one.placement.position for one in ordered]) - ordered[0].placement.position
    ) @ steps
    shifts = offsets[:, :2] / spacing[:2]  # of every slice, in voxels
    grid, first = _covering(source.grid, shifts, spacing, (steps, ordered, along))
    planes = [_moved(source.array[:, :, k], shifts[k] - first, grid.shape) for k in range(len(ordered))]
    array = np.full(grid.shape, np.nan, dtype=np.float32, order="F")
    for k in range(grid.shape[2]):
        array[:, :, k] = _between(planes, along - along[0], k * spacing[2])
    valid = np.isfinite(array)
    array[~valid] = array[valid].min()
    message = f"{refused.finding.message} Resampled onto {spacing[2]:.4g} mm at right angles."
    finding = Finding("regularised", message, refused.uid)
    return Volume(array, grid, source.unit, None if valid.all() else valid, (*source.findings, finding))


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
    message = f"The series holds {len(volumes)} volumes of {len(dealt)} slices."
    note = Finding("split_by_instance_number", message)
    return [
        replace(series_of(volume, fit, [note]), part=f"{number} of {len(volumes)}")
        for number, (volume, fit) in enumerate(zip(volumes, fits, strict=True), start=1)
    ]


def _covering(
    grid: Grid,
    shifts: NDArray[np.float64],
    spacing: NDArray[np.float64],
    stack: tuple[NDArray[np.float64], Sequence[Header], NDArray[np.float64]],
) -> tuple[Grid, NDArray[np.float64]]:
    """Return a grid at right angles that covers every slice, and its first voxel in the first slice's."""
    steps, ordered, along = stack
    first = np.floor(shifts.min(axis=0) + 1e-6)
    more = np.ceil(shifts.max(axis=0) - 1e-6) - first
    slices = int(np.floor((along[-1] - along[0]) / spacing[2] + 1e-6)) + 1
    affine = np.eye(4)
    affine[:3, :3] = steps * spacing
    affine[:3, 3] = np.array(ordered[0].placement.position) + affine[:3, :2] @ first
    shape = (grid.shape[0] + int(more[0]), grid.shape[1] + int(more[1]), slices)
    return Grid(shape, affine), first


def _moved(plane: NDArray[Any], shift: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Move a slice by a part of a voxel into its place, linearly; NaN where it has nothing."""
    from scipy import ndimage

    room = np.full(shape[:2], np.nan)
    room[: plane.shape[0], : plane.shape[1]] = plane
    whole = np.round(shift)
    if np.abs(shift - whole).max() < 1e-6:
        return np.asarray(np.roll(room, whole.astype(int), axis=(0, 1)))
    return np.asarray(ndimage.shift(room, shift, order=1, mode="constant", cval=np.nan))


def _between(
    planes: Sequence[NDArray[np.float64]], places: NDArray[np.float64], place: float
) -> NDArray[np.float64]:
    """Interpolate between the two slices around a place along the normal."""
    after = int(np.clip(np.searchsorted(places, place), 1, len(places) - 1))
    weight = float(np.clip((place - places[after - 1]) / (places[after] - places[after - 1]), 0.0, 1.0))
    if weight < 1e-6:
        return planes[after - 1]
    if weight > 1 - 1e-6:
        return planes[after]
    return planes[after - 1] * (1 - weight) + planes[after] * weight
