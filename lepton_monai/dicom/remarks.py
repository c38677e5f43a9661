"""What is worth saying about a stack that is a volume all the same."""

from collections.abc import Iterator, Sequence

import numpy as np

from lepton_monai.core.findings import Finding
from lepton_monai.core.wording import counted
from lepton_monai.dicom.geometry import GATE_MM, NOTE_MM, Fit
from lepton_monai.dicom.header import Header


def remarks(headers: Sequence[Header], fit: Fit) -> list[Finding]:
    """Collect the remarks on a stack in order that passed the gate."""
    return [
        *_on_count(headers),
        *_on_geometry(headers, fit),
        *_on_values(headers),
        *_on_files(headers),
    ]


def _on_count(headers: Sequence[Header]) -> Iterator[Finding]:
    if len(headers) == 1:
        yield Finding("single_slice", "The series is one slice.")
    if len(headers) == 2:
        yield Finding("two_slices", "The series is two slices: their gap can't be checked.")
    declared = max((header.acquisition.slices_declared or 0 for header in headers), default=0)
    if declared > len(headers):
        message = f"The header declares {counted(declared, 'slice')}; here: {len(headers)}."
        yield Finding("count_below_declared", message)


def _on_geometry(headers: Sequence[Header], fit: Fit) -> Iterator[Finding]:
    if NOTE_MM < fit.shear_mm <= GATE_MM:
        message = f"Slices lie up to {fit.shear_mm:.3f} mm off the regular grid."
        yield Finding("position_rounding", message)
    thicknesses = {header.placement.slice_thickness_mm for header in headers}
    if len(thicknesses) > 1:
        yield Finding("thickness_differs", f"The slices have {len(thicknesses)} thicknesses.")
    if len(headers) == 1:
        return
    found = fit.grid.spacing_mm[2]
    for name, stated in (
        ("SpacingBetweenSlices", headers[0].placement.spacing_between_slices_mm),
        ("SliceThickness", headers[0].placement.slice_thickness_mm),
    ):
        if stated is not None and abs(abs(stated) - found) > 0.01 * found:
            message = f"{name} is {stated:g} mm, the positions are {found:.4g} mm apart."
            yield Finding("spacing_tag_disagrees", message)
            break
    if len({header.file for header in headers}) < len(headers):
        if not _is_monotone([header.frame for header in headers]):
            yield Finding("frames_reordered", "The frames of the file don't follow the positions.")
        return
    locations = [header.slice_location_mm for header in headers if header.slice_location_mm is not None]
    if not _is_monotone(locations):
        yield Finding("slice_location_disagrees", "Slice locations don't follow the positions.")
    numbers = [header.instance_number for header in headers]
    known = [number for number in numbers if number is not None]
    if len(known) < len(headers) or not _is_monotone(known):
        yield Finding("instance_number_not_spatial", "Instance numbers don't follow the positions.")


def _is_monotone(numbers: Sequence[float]) -> bool:
    steps = np.diff(numbers)
    return bool((steps > 0).all() or (steps < 0).all())


def _on_values(headers: Sequence[Header]) -> Iterator[Finding]:
    slopes = {(header.values.slope, header.values.intercept) for header in headers}
    if len(slopes) > 1:
        yield Finding("rescale_varies", f"{len(slopes)} rescales, each applied to its slice.")
    if any(header.values.has_modality_lut for header in headers):
        yield Finding("modality_lut", "A Modality LUT is applied.")
    if any(header.values.has_real_world_map for header in headers):
        yield Finding("real_world_map_present", "A real-world map is there; the rescale is used.")
    if len({header.layout.kind for header in headers}) > 1:
        yield Finding("mixed_pixel_format", "Slices store their values in different formats.")
    if any(h.layout.photometric_interpretation == "MONOCHROME1" for h in headers):
        yield Finding("monochrome1", "MONOCHROME1 is for display alone: values are kept.")
    if any(header.acquisition.burned_in_annotation for header in headers):
        yield Finding("burned_in_annotation", "Burned-in annotation is flagged.")


def _on_files(headers: Sequence[Header]) -> Iterator[Finding]:
    without = sum(not header.has_preamble for header in headers)
    if without:
        yield Finding("no_preamble", f"{counted(without, 'file')} without a DICOM preamble.")
