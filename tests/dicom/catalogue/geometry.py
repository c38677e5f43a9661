"""Where slices lie: regular stacks in every orientation, and all that is irregular."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from sample_data.dicom_files import decimals
from tests.dicom.catalogue.builders import (
    SERIES_UID,
    SHAPE,
    SIGNED,
    VIEWS,
    Change,
    each,
    every,
    kept,
    linear,
    only,
    ramp,
    sheared,
    stack,
    without,
)
from tests.dicom.catalogue.truth import CatalogueSeries, Frames, TrueVolume, Truth, refused, series, used

KINDS = ("CT", "MR", "PT")
NOTES = {"CT": "", "MR": "", "PT": "rescale_varies suv_given"}
CHANGING = [0, 2, 4, 6, 8, 11, 14]
"""Places of slices whose spacing changes, in whole steps."""


# ------------------------------------------------------------------------------- regular
def _plain(kind: str, affine: Frames, folder: Path) -> Truth:
    return used(stack(folder, kind=kind, affine_lps=affine), notes=NOTES[kind])


def _noted(notes: str, changes: tuple[Change, ...], folder: Path) -> Truth:
    return used(stack(folder, *changes), notes=notes)


def _shuffled(folder: Path) -> Truth:
    names = ["zeta", "10", "9", "IM (2)", "a.dcm"]
    return used(stack(folder, file_names=names))


def _in_two_folders(folder: Path) -> Truth:
    volume = stack(folder)
    (folder / "more").mkdir()
    for k in (1, 4):
        (folder / f"0-{k:04d}").rename(folder / "more" / f"{k}")
    return used(volume)


def _rounded(digits: int, notes: str, folder: Path) -> Truth:
    affine = VIEWS["oblique"]
    origins = affine[:3, 3] + np.arange(20)[:, None] * affine[:3, 2]
    return used(stack(folder, origins=np.round(origins, digits), shape=(7, 6, 20)), notes=notes)


def _lone(notes: str, slices: tuple[int, ...], folder: Path) -> Truth:
    volume = stack(folder)
    without(folder, volume, *(k for k in range(5) if k not in slices))
    return used(kept(volume, *slices), notes=notes)


def _midnight(folder: Path) -> Truth:
    times = ["235958", "235959", "000001", "000002", "000003"]
    dates = ["20240102"] * 2 + ["20240103"] * 3
    tags = ("ContentTime", "AcquisitionTime", "SeriesTime")
    days = ("ContentDate", "AcquisitionDate", "SeriesDate")
    changes = [each(tag, times) for tag in tags] + [each(tag, dates) for tag in days]
    return used(stack(folder, *changes))


def _fewer_than_declared(folder: Path) -> Truth:
    volume = stack(folder, kind="PT")
    without(folder, volume, 4)
    return used(kept(volume, 0, 1, 2, 3), notes="count_below_declared rescale_varies suv_given")


# ------------------------------------------------------------------------------- irregular
def _missing(gone: tuple[int, ...], affine: Frames, folder: Path) -> Truth:
    volume = stack(folder, affine_lps=affine, shape=(7, 6, 9))
    return refused("missing_slice", "fill_gaps", gives=without(folder, volume, *gone))


def _changing_spacing(affine: Frames, folder: Path) -> Truth:
    stored = ramp(CHANGING)
    stack(folder, affine_lps=affine, places=CHANGING, stored=stored)
    return refused("variable_spacing", linear=linear(affine))


def _jittered(folder: Path) -> Truth:
    stack(folder, shape=(7, 6, 9), places=np.arange(9) + np.array([0, 0, 0.1, 0, -0.1, 0, 0, 0.05, 0]))
    return refused("variable_spacing")


def _tilted(degrees: float, axis: int, affine: Frames, folder: Path) -> Truth:
    tilted, count = sheared(affine, degrees, axis), 20
    volume = stack(folder, affine_lps=tilted, stored=ramp(range(count)))
    return refused("gantry_tilt", "keep_tilt", gives=volume, linear=linear(tilted))


def _tilted_with_a_gap(folder: Path) -> Truth:
    volume = stack(folder, affine_lps=sheared(VIEWS["axial"], 15.0), shape=(7, 6, 9))
    return refused("missing_slice", "fill_gaps", "keep_tilt", gives=without(folder, volume, 3))


def _bad_slice(code: str, values: dict[str, object], folder: Path) -> Truth:
    stack(folder, only(2, **values))
    return refused(code)


def _turned(degrees: float, folder: Path) -> Truth:
    """Above half a degree the slice is no part of the stack any more: then one is missing."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    directions = decimals([cosine, sine, 0, -sine, cosine, 0])
    stack(folder, only(2, ImageOrientationPatient=directions), affine_lps=VIEWS["axial"], shape=(90, 60, 5))
    if degrees < 0.5:
        return refused("bad_geometry")
    return used(refused="localizer_in_series missing_slice")


def _shifted(folder: Path) -> Truth:
    affine = VIEWS["axial"]
    origins = affine[:3, 3] + np.arange(5)[:, None] * affine[:3, 2]
    origins[2, 0] += 1.5
    stack(folder, affine_lps=affine, origins=origins)
    return refused("bad_geometry")


def _lone_without_thickness(folder: Path) -> Truth:
    stack(folder, every(SliceThickness=None), shape=(7, 6, 1))
    return refused("unknown_slice_spacing")


def _no_position(folder: Path) -> Truth:
    stack(folder, every(ImagePositionPatient=None, ImageOrientationPatient=None), shape=(7, 6, 2))
    return used(passed_over="no_position no_position")


# ------------------------------------------------------------------------------- planes and copies
def _localizer(count: int, folder: Path) -> Truth:
    kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    volume = stack(folder, affine_lps=VIEWS["axial"])
    scout = VIEWS["sagittal"]
    stack(folder, every(ImageType=kind), number=1, affine_lps=scout, shape=(9, 8, count))
    return used(volume, notes="localizer_in_series", refused="localizer_in_series")


def _two_planes(note: str, shape: tuple[int, int, int], view: str, folder: Path) -> Truth:
    first = stack(folder, affine_lps=VIEWS["axial"])
    second = stack(folder, number=1, affine_lps=VIEWS[view], shape=shape)
    return used(first, second, notes=note)


def _two_spacings(folder: Path) -> Truth:
    stack(folder, affine_lps=VIEWS["axial"])
    finer = VIEWS["axial"].copy()
    finer[:3, :2] *= 0.8
    stack(folder, number=1, affine_lps=finer, places=np.arange(5) + 5)
    return refused("mixed_pixel_spacing")


def _copied(folder: Path) -> Truth:
    volume = stack(folder)
    shutil.copy(folder / "0-0002", folder / "again")
    return used(volume, notes="duplicate_instance")


def _one_slice_twice(values: dict[str, object], folder: Path) -> TrueVolume:
    volume = stack(folder)
    again = volume.origins[2:3]
    stored = np.rint((volume.values[:, :, 2:3] + 1024) / 2).astype(np.int16)
    stack(folder, every(**values), number=1, stored=stored, origins=again)
    return volume


def _same_slice_twice(folder: Path) -> Truth:
    volume = _one_slice_twice({"InstanceNumber": 3}, folder)
    return used(volume, notes="duplicate_slice")


def _other_pixels_twice(folder: Path) -> Truth:
    volume = stack(folder)
    stack(folder, number=1, shape=(7, 6, 1), origins=volume.origins[2:3])
    return refused("conflicting_duplicate")


def _one_uid_twice(folder: Path) -> Truth:
    volume = stack(folder)
    uid = every(SOPInstanceUID=f"{SERIES_UID}.0.3")
    stack(folder, uid, number=1, shape=(7, 6, 1), origins=volume.origins[2:3])
    return refused("conflicting_instance")


def _two_series(folder: Path) -> Truth:
    affine = VIEWS["oblique"]
    first = stack(folder, affine_lps=affine)
    second = stack(folder, number=1, affine_lps=affine, series_uid="1.2.8", places=np.arange(5) + 0.5)
    return used(first, second)


_IN_EVERY_VIEW: list[tuple[Any, ...]] = [
    ("one slice missing", "missing_slice", _missing, (3,)),
    ("three slices missing", "missing_slice", _missing, (2, 3, 6)),
    ("spacing that changes", "variable_spacing", _changing_spacing),
    ("tilt of 20 degrees", "gantry_tilt", _tilted, 20.0, 1),
    ("shear of 2.5 degrees", "gantry_tilt", _tilted, -2.5, 0),
    ("half a degree of shear", "gantry_tilt", _tilted, 0.5, 1),
]

_NAMED: tuple[CatalogueSeries, ...] = (
    series("shuffled names", "plain", _shuffled),
    series("one series in two folders", "plain", _in_two_folders),
    series("a series that crosses midnight", "plain", _midnight),
    series("two series in a folder, interleaved", "two series in a folder", _two_series),
    series(
        "instance numbers against the positions",
        "plain",
        _noted,
        "",
        (each("InstanceNumber", [5, 4, 3, 2, 1]),),
    ),
    series(
        "instance numbers without order",
        "instance_number_not_spatial",
        _noted,
        "instance_number_not_spatial",
        (each("InstanceNumber", [3, 1, 5, 2, 4]),),
    ),
    series(
        "no instance numbers",
        "instance_number_not_spatial",
        _noted,
        "instance_number_not_spatial",
        (every(InstanceNumber=None),),
    ),
    series(
        "slice locations that lie",
        "slice_location_disagrees",
        _noted,
        "slice_location_disagrees",
        (each("SliceLocation", ["1", "9", "2", "4", "3"]),),
    ),
    series(
        "slice locations along the normal",
        "plain",
        _noted,
        "",
        (each("SliceLocation", ["10", "7.3", "4.6", "1.9", "-0.8"]),),
    ),
    series(
        "SpacingBetweenSlices that lies",
        "spacing_tag_disagrees",
        _noted,
        "spacing_tag_disagrees",
        (every(SpacingBetweenSlices="9"),),
    ),
    series(
        "overlapping slices by their thickness",
        "spacing_tag_disagrees",
        _noted,
        "spacing_tag_disagrees",
        (every(SliceThickness="5"),),
    ),
    series(
        "one thickness that differs",
        "thickness_differs",
        _noted,
        "thickness_differs",
        (only(3, SliceThickness="4"),),
    ),
    series("positions rounded to 0.1 um", "plain", _rounded, 4, ""),
    series("positions rounded to 0.01 mm", "position_rounding", _rounded, 2, "position_rounding"),
    series("one slice", "single_slice", _lone, "single_slice", (1,)),
    series("two slices", "two_slices", _lone, "two_slices", (1, 2)),
    series("one slice without thickness", "unknown_slice_spacing", _lone_without_thickness),
    series("a slice missing at the end, declared", "count_below_declared", _fewer_than_declared),
    series("jittering positions", "variable_spacing", _jittered),
    series("tilt with a gap", "missing_slice", _tilted_with_a_gap),
    series("one slice shifted in its plane", "bad_geometry", _shifted),
    series("one slice turned in its plane", "bad_geometry", _turned, 0.4),
    series("one slice turned away", "mixed_orientation", _turned, 3.0),
    series("no position", "no_position", _no_position),
    series(
        "a position that is not finite",
        "bad_geometry",
        _bad_slice,
        "bad_geometry",
        {"ImagePositionPatient": ["0", "0", "1e300"]},
    ),
    series("a pixel spacing of zero", "bad_geometry", _bad_slice, "bad_geometry", {"PixelSpacing": [0, 0]}),
    series(
        "a pixel spacing that is absent", "bad_geometry", _bad_slice, "bad_geometry", {"PixelSpacing": None}
    ),
    series(
        "directions that are not at right angles",
        "bad_geometry",
        _bad_slice,
        "bad_geometry",
        {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
    ),
    series(
        "another frame of reference",
        "mixed_frame_of_reference",
        _bad_slice,
        "mixed_frame_of_reference",
        {"FrameOfReferenceUID": "1.2.3"},
    ),
    series("another patient", "mixed_identity", _bad_slice, "mixed_identity", {"PatientID": "OTHER"}),
    series(
        "another pixel spacing",
        "mixed_pixel_spacing",
        _bad_slice,
        "mixed_pixel_spacing",
        {"PixelSpacing": ["1.9", "0.9"]},
    ),
    series("two stacks of other pixel spacings", "mixed_pixel_spacing", _two_spacings),
    series("one localizer", "localizer_in_series", _localizer, 1),
    series("three localizers", "localizer_in_series", _localizer, 3),
    series("two orientations", "mixed_orientation", _two_planes, "mixed_orientation", SHAPE, "sagittal"),
    series("two matrices", "mixed_matrix_size", _two_planes, "mixed_matrix_size", (9, 8, 5), "axial"),
    series("a file twice", "duplicate_instance", _copied),
    series("one instance UID, two images", "duplicate_instance", _one_uid_twice),
    series("a slice twice, same pixels", "duplicate_slice", _same_slice_twice),
    series("a slice twice, other pixels", "conflicting_duplicate", _other_pixels_twice),
)

GEOMETRY: tuple[CatalogueSeries, ...] = (
    *(
        series(f"plain {KINDS[at % 3]}, orientation {at:02d}", "plain", _plain, KINDS[at % 3], affine)
        for at, affine in enumerate(SIGNED)
    ),
    *(
        series(f"plain {kind}, {view}", "plain", _plain, kind, VIEWS[view])
        for kind in KINDS
        for view in ("oblique", "oblique, left-handed")
    ),
    *(
        series(f"{name}, {view}", code, write, *arguments, affine)
        for view, affine in VIEWS.items()
        for name, code, write, *arguments in _IN_EVERY_VIEW
    ),
    *_NAMED,
)
