"""Findings: what was noticed about a file or a series, each with a code from one registry."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Severity = Literal["info", "refused"]
Action = Literal["used", "split", "left_out"]

FILE = "file"
"""Stands for the name where a finding is about a file that belongs to no series yet."""


@dataclass(frozen=True)
class Rule:
    """What a code means: how grave it is, what was done, what a person can do."""

    severity: Severity
    action: Action
    advice: str = ""


def _used(advice: str = "") -> Rule:
    return Rule("info", "used", advice)


def _split(advice: str = "") -> Rule:
    return Rule("info", "split", advice)


def _passed_over(advice: str = "") -> Rule:
    return Rule("info", "left_out", advice)


def _refused(advice: str) -> Rule:
    return Rule("refused", "left_out", advice)


_EXPORT_AGAIN = "Export the series again."
_ASK_SOURCE = "Ask whoever made the files; nothing here can tell which is right."

RULES: dict[str, Rule] = {
    # files
    "not_dicom": _passed_over(),
    "no_preamble": _used(),
    "empty_file": _passed_over(),
    "unreadable_file": _refused("Copy or export the file again."),
    "unreadable_folder": _refused("Check the permissions."),
    "symbolic_link": _passed_over(
        "Give the folder that it leads to; `lepton index` and `convert` follow it with --follow-links."
    ),
    "inflate_limit": _refused("The file claims to be far larger than it is; export it again."),
    "nested_too_deep": _refused("Sequences nest without sense; export the file again."),
    "truncated_pixel_data": _refused("The file is cut; copy or export it again."),
    "excess_pixel_data": _used(),
    "undecodable_pixel_data": _refused("Export the series again, uncompressed if possible."),
    "unsupported_transfer_syntax": _refused("Have the archive send another transfer syntax."),
    "bad_uid": _refused("Export with valid UIDs."),
    "bad_header": _refused(_EXPORT_AGAIN),
    # what is no volume
    "no_position": _passed_over("It is an image, but no slice of a volume."),
    "colour": _passed_over("Colour images are no volume."),
    "multi_frame": _refused("Export the series as classic slices, or as an enhanced object."),
    "mosaic": _refused("Export it with its private elements, or as classic slices."),
    "bad_geometry": _refused(_EXPORT_AGAIN),
    "mixed_frame_of_reference": _refused(_ASK_SOURCE),
    "mixed_identity": _refused(_ASK_SOURCE),
    "mixed_pixel_spacing": _refused(_ASK_SOURCE),
    "missing_slice": _refused(
        "Export the whole series again; `lepton convert --fill-gaps` leaves the gap empty."
    ),
    "variable_spacing": _refused("`lepton convert --regularise` resamples it onto a regular grid."),
    "gantry_tilt": _refused(
        "Use a reconstruction without tilt; `lepton convert --regularise` resamples it."
    ),
    "unknown_slice_spacing": _refused("One slice without any thickness is no volume."),
    "conflicting_duplicate": _refused(
        f"{_ASK_SOURCE} `lepton convert --by-instance-number` trusts their numbers."
    ),
    "conflicting_instance": _refused("Two objects share one SOP instance UID; export again."),
    "rescale_incomplete": _refused(_EXPORT_AGAIN),
    "bad_rescale": _refused(_EXPORT_AGAIN),
    # volumes with a remark
    "single_slice": _used(),
    "two_slices": _used(),
    "position_rounding": _used(),
    "count_below_declared": _used("A missing end slice can't be ruled out."),
    "duplicate_slice": _used(),
    "duplicate_instance": _used(),
    "localizer_in_series": _split(),
    "mixed_orientation": _split(),
    "mixed_matrix_size": _split(),
    "multiple_image_types": _split(),
    "multiple_echoes": _split(),
    "multiple_b_values": _split(),
    "multiple_time_points": _split(),
    "multiple_phases": _split(),
    "multiple_energies": _split(),
    "multiple_acquisitions": _split(),
    "overlapping_acquisitions": _split(),
    "multiple_stacks": _split(),
    "gap_filled": _used("The filled slices are marked as invalid."),
    "kept_sheared": _used("The affine is exact and not at right angles."),
    "regularised": _used("Resampled once, linearly."),
    "split_by_instance_number": _used("Nothing but the instance numbers tells the volumes apart."),
    "rescale_varies": _used(),
    "modality_lut": _used(),
    "real_world_map_present": _used(),
    "monochrome1": _used(),
    "pixel_padding": _used(),
    "high_bits_masked": _used(),
    "mixed_pixel_format": _used(),
    "spacing_tag_disagrees": _used("Positions are used."),
    "thickness_differs": _used(),
    "instance_number_not_spatial": _used("Positions are used."),
    "slice_location_disagrees": _used("Positions are used."),
    "frames_reordered": _used("Positions are used."),
    "suv_given": _used(),
    "suv_computed": _used(),
    "suv_inputs_missing": _used("The values stay as they are; a model for SUV refuses them."),
    "suv_midnight_assumed": _used(),
    "suv_unit_unsupported": _used("The values stay as they are; a model for SUV refuses them."),
    "burned_in_annotation": _used("Left out of training."),
    "patient_id_absent": _used("The study counts as a patient."),
    "not_finite": _refused("Values must be finite; export again or mend the file."),
    "constant_image": _refused("All voxels have one value: there is nothing to learn or find."),
    # several images a case
    "image_absent": _passed_over("All images of a case are needed, in one frame of reference."),
    "image_ambiguous": _passed_over("Narrow it by its `description`."),
    "images_apart": _passed_over("Register the images first."),
    "little_overlap": _used("Where it doesn't reach, the network sees its darkest value."),
    # labels
    "label_absent": _passed_over("Draw the label, or set `empty: negative`."),
    "label_empty": _passed_over("Draw the label, or set `empty: negative`."),
    "label_without_image": _passed_over("Export its images too."),
    "label_unreadable": _passed_over("Export the label again."),
    "label_off_grid": _passed_over("The label doesn't lie on its image."),
    "label_ambiguous": _passed_over("Two labels fit one image; keep one, or narrow the pattern."),
    "labels_overlap": _used("The class that the config names first wins."),
    "contour_not_filled": _used("Only closed planar contours are filled."),
    "contour_between_slices": _used("Taken to the nearest slice."),
    "contours_counted_once": _used(),
    "nested_contours_as_holes": _used(),
    "referenced_instances_absent": _used("The referenced series decides."),
    "segmentation_not_binary": _used("Voxels of at least half are inside."),
    "class_absent": _passed_over("Name its class, or leave it out of the data."),
    "class_not_wanted": _passed_over(),
    "class_ambiguous": _passed_over("Name one class for the whole study, or classify its series."),
    "unreadable_picture": _passed_over("Copy or export the picture again."),
    # clinical values
    "clinical_absent": _used("All of them count as missing."),
    "clinical_not_given": _used("All of them count as missing."),
    "clinical_level_unknown": _used("It counts as missing."),
    "clinical_far": _used("Is it in another unit?"),
    # patients
    "same_patient_twice": _used("They are counted as one person."),
    "same_image_twice": _used("Name the persons in a table: data.patients."),
    "split_patient_unknown": _used("The split names a patient that isn't in the data."),
    "patient_not_in_split": _passed_over("The split file doesn't name this patient."),
    "case_absent": _refused(
        "Were the data moved (--set data.root=...), or was another salt used (--salt)?"
    ),
    "training_data_in_test": _refused("A test case holds images that the run was trained on."),
    # prediction
    "does_not_fit": _passed_over(),
    "unit_differs": _refused("The model was trained on values of another unit."),
    "outside_training": _used("The model has seen nothing like it: don't rely on what it finds."),
    "object_not_written": _used("Ask for the mask as NIfTI: --formats nifti."),
    "explanation_empty": _used("Another class (--class) or --method occlusion may show something."),
    "explanation_unchanged": _used("It shows the image rather than what was learned: don't rely on it."),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was noticed.

    Parameters
    ----------
    code
        A key of `RULES`.
    message
        One sentence for a person with the numbers found and expected. It never holds a name, an id,
        a date or a path.
    series_uid
        The series it is about, if any. Shown and kept as a pseudonym alone.
    path
        The file it is about, if any. Shown relative to the given folder, kept as a pseudonym.
    names
        That stand in the data instead: free text, shown on a terminal alone and never kept.
    """

    code: str
    message: str
    series_uid: str | None = None
    path: Path | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.code not in RULES:
            raise KeyError(self.code)

    @property
    def severity(self) -> Severity:
        """How grave it is."""
        return RULES[self.code].severity

    @property
    def action(self) -> Action:
        """What was done."""
        return RULES[self.code].action

    def sentence(self) -> str:
        """Return the message followed by what to do."""
        return f"{self.message} {RULES[self.code].advice}".rstrip()


def records_of(named: Iterable[tuple[str, Finding]]) -> list[dict[str, str]]:
    """Return what is kept of findings about cases: pseudonym, code and sentence of each."""
    return [{"case": name, "code": finding.code, "message": finding.sentence()} for name, finding in named]
