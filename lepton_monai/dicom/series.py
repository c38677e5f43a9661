"""From loose slices to volumes: what belongs together, in which order, and what is refused.

Identity is the series UID, order is the position along the normal; file names, instance numbers and
slice locations decide nothing.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from lepton_monai.core.errors import GeometryError, SeriesRefused
from lepton_monai.core.findings import Finding
from lepton_monai.core.grid import Grid
from lepton_monai.core.volume import Unit
from lepton_monai.core.wording import counted
from lepton_monai.dicom import geometry
from lepton_monai.dicom.header import Header
from lepton_monai.dicom.identity import Identity
from lepton_monai.dicom.pixels import pixel_finding, read_stored
from lepton_monai.dicom.remarks import remarks
from lepton_monai.dicom.split_keys import GRIDS_OF_THEIR_OWN, SPLIT_KEYS, parts_by, split_notes, tells
from lepton_monai.dicom.values import rescale_refusal, scale_of

_Part = tuple[list[Header], geometry.Fit | Finding]
"""Slices in order, and the grid that they make or why they make none."""

SAME_DIRECTION = 0.01
"""Direction cosines that differ by less belong to one stack; the gate judges the rest."""


@dataclass(frozen=True)
class Series:
    """An ordered stack of slices that makes one volume; no pixels yet.

    Parameters
    ----------
    headers
        One a slice, in the order of `k`: the map from slice to file and SOP instance.
    identity, modality, description
        Of the first slice.
    grid
        Of the volume.
    unit
        Of its values, and the `factor` behind the rescale that leads there.
    part
        Empty, or which part of a split series this is: "2 of 3".
    findings
        What was noted.
    irregularity_mm, shear_mm
        How far the slices' corners lie from the grid: see `geometry.Fit`.
    gaps
        Places along `k` that no slice fills; empty but for a series that was repaired on request.
    """

    headers: Sequence[Header]
    identity: Identity
    modality: str
    description: str
    grid: Grid
    unit: Unit
    factor: float
    part: str
    findings: tuple[Finding, ...]
    irregularity_mm: float
    shear_mm: float
    gaps: tuple[int, ...] = ()

    @property
    def uid(self) -> str:
        """The series instance UID."""
        return self.identity.series_uid

    def slices(self) -> list[Header | None]:
        """Return the header of every slice along ``k``, None for a gap."""
        headers = iter(self.headers)
        return [None if k in self.gaps else next(headers) for k in range(self.grid.shape[2])]

    def __str__(self) -> str:
        """Return a line that names nobody: MONAI writes it as the file name into its meta data."""
        return f"{self.modality} series of {counted(len(self.headers), 'slice')}"


@dataclass(frozen=True)
class RefusedSeries:
    """A series, or a part of one, that makes no volume, and why.

    Parameters
    ----------
    headers
        In no order.
    identity, modality
        Of the first of them.
    finding
        The reason.
    """

    headers: Sequence[Header]
    identity: Identity
    modality: str
    finding: Finding

    @property
    def uid(self) -> str:
        """The series instance UID."""
        return self.identity.series_uid

    @property
    def description(self) -> str:
        """Of the first of the headers."""
        return self.headers[0].description


def volumes_of(headers: Iterable[Header]) -> tuple[list[Series], list[RefusedSeries]]:
    """Make volumes of the slices of one series.

    Parameters
    ----------
    headers
        With one series UID, in any order.

    Returns
    -------
    series, refused
        What can be used, and what can't with the finding that says why.
    """
    slices = sorted(headers, key=lambda header: (header.identity.instance_uid, header.file, header.frame))
    series: list[Series] = []
    refused: list[RefusedSeries] = []
    if not slices:
        return [], []
    try:
        slices, notes = _without_double_instances(slices)
        notes += _on_slices(slices)
    except SeriesRefused as refusal:
        return [], [_refused(slices, refusal.finding)]
    groups, left_out, split_notes = _by_plane(slices)
    refused += [_refused(group, finding) for group, finding in left_out]
    for group in groups:
        try:
            parts, part_notes = _stacks(group)
            for part, fit in parts:
                if isinstance(fit, Finding):
                    refused.append(_refused(part, fit))
                else:
                    series.append(series_of(part, fit, (*notes, *split_notes, *part_notes)))
        except SeriesRefused as refusal:
            refused.append(_refused(group, refusal.finding))
        except GeometryError as error:
            refused.append(_refused(group, Finding("bad_geometry", str(error))))
    if len(series) > 1:
        total = len(series)
        series = [replace(one, part=f"{at} of {total}") for at, one in enumerate(series, start=1)]
    return series, refused


def _refused(headers: Sequence[Header], finding: Finding) -> RefusedSeries:
    first = headers[0]
    named = replace(finding, series_uid=first.identity.series_uid)
    return RefusedSeries(tuple(headers), first.identity, first.modality, named)


def _without_double_instances(headers: list[Header]) -> tuple[list[Header], list[Finding]]:
    """Keep one of each SOP instance; two with other content refuse the series."""
    kept: dict[tuple[str, int], Header] = {}
    dropped = 0
    for header in headers:
        first = kept.setdefault((header.identity.instance_uid, header.frame), header)
        if first is header:
            continue
        same = replace(header, file=first.file, layout=first.layout, pixels=first.pixels) == first
        if not same or not _same_pixels(first, header):
            message = "Two files with one SOP instance UID hold different images."
            raise SeriesRefused(Finding("conflicting_instance", message, path=header.path))
        dropped += 1
    if not dropped:
        return headers, []
    message = f"{counted(dropped, 'file')} left out as copies of others."
    return list(kept.values()), [Finding("duplicate_instance", message)]


def _on_slices(headers: Sequence[Header]) -> list[Finding]:
    """Return the remark on slices one by one; refuse them all where one can't be used."""
    bad = geometry.bad_geometry(headers)
    if bad:
        header, problem = bad
        message = f"In one slice {problem}."
        raise SeriesRefused(Finding("bad_geometry", message, path=header.path))
    found = [finding for finding in map(pixel_finding, headers) if finding is not None]
    for finding in found:
        if finding.severity == "refused":
            raise SeriesRefused(finding)
    return (
        [replace(found[0], message=f"{found[0].message} (So in {counted(len(found), 'slice')}.)")]
        if found
        else []
    )


def _by_plane(
    headers: list[Header],
) -> tuple[list[list[Header]], list[tuple[list[Header], Finding]], list[Finding]]:
    """Part slices of other orientation or matrix; lone ones beside a stack are localizers."""
    groups = _planes(headers)
    if len(groups) == 1:
        return groups, [], []
    largest = max(len(group) for group in groups)
    stacks = [group for group in groups if not _is_localizer(group, largest)]
    others = [group for group in groups if _is_localizer(group, largest)]
    message = "The series holds {} of another orientation or matrix than its {} slices."
    left_out = [
        (group, Finding("localizer_in_series", message.format(counted(len(group), "image"), largest)))
        for group in others
    ]
    notes: list[Finding] = []
    if others:
        count = sum(len(group) for group in others)
        text = f"{counted(count, 'image')} of another orientation or matrix split off."
        notes.append(Finding("localizer_in_series", text))
    if len(stacks) > 1:
        sizes = {(group[0].placement.rows, group[0].placement.columns) for group in stacks}
        code = "mixed_matrix_size" if len(sizes) > 1 else "mixed_orientation"
        notes.append(Finding(code, f"The series holds {len(stacks)} stacks of other planes."))
    return stacks, left_out, notes


def _is_localizer(group: Sequence[Header], largest: int) -> bool:
    flagged = all("LOCALIZER" in header.acquisition.image_type for header in group)
    return len(group) < largest and (flagged or len(group) == 1)


def _planes(headers: list[Header]) -> list[list[Header]]:
    """Part slices by matrix and direction, in the order in which each comes up."""
    orientations = np.array([header.placement.orientation for header in headers])
    sizes = np.array([(header.placement.rows, header.placement.columns) for header in headers])
    groups: list[list[Header]] = []
    left = np.arange(len(headers))
    while len(left):
        turned = np.abs(orientations[left] - orientations[left[0]]).max(axis=1) >= SAME_DIRECTION
        other = turned | (sizes[left] != sizes[left[0]]).any(axis=1)
        groups.append([headers[at] for at in left[~other]])
        left = left[other]
    return groups


def _stacks(headers: list[Header]) -> tuple[list[_Part], list[Finding]]:
    """Part one plane's slices into stacks that pass the gate; what doesn't has the reason with it."""
    ordered = geometry.in_order(headers)
    fit = _fit(ordered)
    if isinstance(fit, geometry.Fit):
        return [(ordered, fit)], []
    parts = _split_by_keys(ordered)
    if parts:
        return parts
    unique, notes = _without_double_positions(ordered)
    if notes:
        stacks, more = _stacks(unique)
        return stacks, [*notes, *more]
    return [(ordered, fit)], []


def _fit(ordered: Sequence[Header]) -> geometry.Fit | Finding:
    """Fit a grid to slices in order, or return the finding that keeps them from being one volume."""
    if len(ordered) == 1 and math.isnan(geometry.single_slice_spacing_mm(ordered[0])):
        message = "A lone slice has neither SpacingBetweenSlices nor SliceThickness."
        return Finding("unknown_slice_spacing", message, path=ordered[0].path)
    owners = {(h.identity.patient_key, h.identity.study_uid, h.modality) for h in ordered}
    if len(owners) > 1:
        message = f"The slices are of {len(owners)} patients, studies or modalities."
        return Finding("mixed_identity", message)
    frames = {header.identity.frame_of_reference_uid for header in ordered}
    if len(frames) > 1:
        message = f"The slices have {len(frames)} frames of reference."
        return Finding("mixed_frame_of_reference", message)
    spacings = [(h.placement.row_spacing_mm, h.placement.column_spacing_mm) for h in ordered]
    extent = (ordered[0].placement.rows - 1, ordered[0].placement.columns - 1)
    if (np.ptp(spacings, axis=0) * extent).max() > geometry.GATE_MM:
        low, high = min(spacings), max(spacings)
        message = f"Pixel spacings run from {low[0]:g} x {low[1]:g} to {high[0]:g} x {high[1]:g} mm."
        return Finding("mixed_pixel_spacing", message)
    doubled = _doubled(ordered)
    if doubled is not None:
        message = "Two slices lie at one position with other pixels; no tag tells them apart."
        return Finding("conflicting_duplicate", message, path=doubled.path)
    fit = geometry.fit_stack(ordered)
    return geometry.refusal(ordered, fit) or rescale_refusal(ordered) or fit


def _doubled(ordered: Sequence[Header]) -> Header | None:
    """Return the first slice in order that lies at the position of the one before it."""
    gaps = np.diff(geometry.along_normal(ordered))
    at = np.flatnonzero(np.abs(gaps) < geometry.SAME_POSITION_MM)
    return ordered[int(at[0]) + 1] if len(at) else None


def _split_by_keys(ordered: list[Header]) -> tuple[list[_Part], list[Finding]] | None:
    """Part by the first keys, alone or nested, that make every part a regular stack.

    Where none do and slices share positions: by the first that tell those apart and make some part a stack.
    """
    is_doubled = _doubled(ordered) is not None
    codes_at_hand = SPLIT_KEYS if is_doubled else GRIDS_OF_THEIR_OWN
    telling = [code for code in SPLIT_KEYS if code in codes_at_hand and tells(code, ordered)]
    # A series with a hole could be cut at the hole into stumps of two, which always fit.
    fewest = 2 if is_doubled else 3
    in_part: tuple[list[_Part], list[Finding]] | None = None
    for depth in (1, 2, 3):
        for codes in combinations(telling, depth):
            groups = parts_by(ordered, codes)
            if min(map(len, groups)) < fewest:
                continue
            parts: list[_Part] = [(group, _fit(group)) for group in groups]
            fitting = sum(isinstance(fit, geometry.Fit) for _, fit in parts)
            found = parts, split_notes(groups, codes)
            if fitting == len(parts):
                return found
            if is_doubled and fitting and in_part is None and not any(map(_doubled, groups)):
                in_part = found
    return in_part


def _without_double_positions(ordered: list[Header]) -> tuple[list[Header], list[Finding]]:
    """Keep one of the slices that lie at one position with equal pixels."""
    kept: list[Header] = []
    for header in ordered:
        if kept and geometry.same_position(kept[-1], header) and _same_pixels(kept[-1], header):
            continue
        kept.append(header)
    dropped = len(ordered) - len(kept)
    if not dropped:
        return ordered, []
    message = f"{counted(dropped, 'slice')} left out, at one position with others of equal pixels."
    return kept, [Finding("duplicate_slice", message)]


def _same_pixels(first: Header, second: Header) -> bool:
    if (first.values.slope, first.values.intercept) != (
        second.values.slope,
        second.values.intercept,
    ):
        return False
    return bool(np.array_equal(read_stored(first), read_stored(second)))


def series_of(ordered: list[Header], fit: geometry.Fit, notes: Sequence[Finding]) -> Series:
    """Make a series of slices in order and the grid that they fit."""
    scale = scale_of(ordered)
    uid = ordered[0].identity.series_uid
    findings = (*notes, *remarks(ordered, fit), *scale.findings)
    return Series(
        headers=tuple(ordered),
        identity=ordered[0].identity,
        modality=ordered[0].modality,
        description=ordered[0].description,
        grid=fit.grid,
        unit=scale.unit,
        factor=scale.factor,
        part="",
        findings=tuple(replace(finding, series_uid=uid) for finding in findings),
        irregularity_mm=fit.irregularity_mm,
        shear_mm=fit.shear_mm,
    )
