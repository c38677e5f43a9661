"""Several volumes under one series UID: what tells them apart, and what doesn't."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from tests.dicom.catalogue.builders import VIEWS, each, every, stack, without
from tests.dicom.catalogue.truth import CatalogueSeries, TrueVolume, Truth, refused, series, used

Tags = dict[str, object]

MAGNITUDE, PHASE, REAL, IMAGINARY = (["ORIGINAL", "PRIMARY", kind] for kind in "MPRI")
WATER, FAT = (["DERIVED", "PRIMARY", "DIXON", kind] for kind in ("WATER", "FAT"))


def _parts(folder: Path, tags: Sequence[Tags], view: str = "oblique", kind: str = "MR") -> list[TrueVolume]:
    """Write one stack for each set of tags, all at the same places."""
    return [
        stack(folder, every(**one), kind=kind, number=number, affine_lps=VIEWS[view])
        for number, one in enumerate(tags)
    ]


def _split(notes: str, tags: Sequence[Tags], view: str, kind: str, folder: Path) -> Truth:
    return used(*_parts(folder, tags, view, kind), notes=notes)


def _by(keyword: str, *values: object) -> list[Tags]:
    return [{keyword: value} for value in values]


def _nested(**values: Sequence[object]) -> list[Tags]:
    return [dict(zip(values, one, strict=True)) for one in product(*values.values())]


def _directions() -> list[Tags]:
    """Three volumes of one b-value and other directions beside one without weighting."""
    directions = [[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.0, -0.8, 0.6]]
    weighted: list[Tags] = [
        {"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": one} for one in directions
    ]
    return [{"DiffusionBValue": 0.0}, *weighted]


def _adjacent_acquisitions(folder: Path) -> Truth:
    """Two acquisitions that lie end to end: one volume."""
    first = stack(folder, every(AcquisitionNumber=1))
    second = stack(folder, every(AcquisitionNumber=2), number=1, places=np.arange(5) + 5)
    together = replace(
        first,
        values=np.concatenate([first.values, second.values], axis=2),
        origins=np.concatenate([first.origins, second.origins]),
    )
    return used(together, notes="instance_number_not_spatial")


def _overlapping(offset: float, spacing: float, view: str, folder: Path) -> Truth:
    affine = VIEWS[view]
    first = stack(folder, every(AcquisitionNumber=1), affine_lps=affine, shape=(7, 6, 9))
    places = offset + spacing * np.arange(7)
    second = stack(
        folder,
        every(AcquisitionNumber=2),
        number=1,
        affine_lps=affine,
        shape=(7, 6, 7),
        places=places,
    )
    notes = "overlapping_acquisitions" if spacing == 1 else "overlapping_acquisitions spacing_tag_disagrees"
    return used(first, second, notes=notes)


def _dynamic_pet(folder: Path) -> Truth:
    """Three time points that their reference times alone tell apart."""
    tags = _by("FrameReferenceTime", "15000", "45000", "90000")
    parts = [stack(folder, every(**one), kind="PT", number=at) for at, one in enumerate(tags)]
    return used(*parts, notes="multiple_time_points rescale_varies suv_given")


def _beds_with_a_gap(folder: Path) -> Truth:
    """A whole body in two bed positions; the slice that is missing lies where they meet."""
    times = every(FrameReferenceTime="60000"), every(FrameReferenceTime="180000")
    stack(folder, times[0], kind="PT")
    stack(folder, times[1], kind="PT", number=1, places=np.arange(5) + 6)
    return refused("missing_slice")


def _one_echo_lacks_a_slice(folder: Path) -> Truth:
    first, second = _parts(folder, _by("EchoTime", "10", "80"))
    lacking = without(folder, second, 2, number=1)
    truth = used(first, notes="multiple_echoes", refused="missing_slice")
    return replace(truth, repaired={("fill_gaps",): (lacking,)})


def _no_tag_at_all(folder: Path) -> Truth:
    parts = [
        stack(
            folder, each("InstanceNumber", range(5 * number + 1, 5 * number + 6)), kind="MR", number=number
        )
        for number in range(3)
    ]
    return Truth(refused=("conflicting_duplicate",), repaired={("by_instance_number",): tuple(parts)})


_KEYS = [
    ("two echoes", "multiple_echoes", "MR", _by("EchoTime", "10", "80")),
    ("two echoes by their numbers", "multiple_echoes", "MR", _by("EchoNumbers", "1", "2")),
    ("two b-values", "multiple_b_values", "MR", _by("DiffusionBValue", 0.0, 1000.0)),
    ("b-values with directions", "multiple_b_values", "MR", _directions()),
    ("three time points", "multiple_time_points", "MR", _by("TemporalPositionIdentifier", "1", "2", "10")),
    ("four heart phases", "multiple_phases", "MR", _by("TriggerTime", "0", "40.5", "81", "121.5")),
    ("magnitude and phase", "multiple_image_types", "MR", _by("ImageType", MAGNITUDE, PHASE)),
    ("real and imaginary", "multiple_image_types", "MR", _by("ImageType", REAL, IMAGINARY)),
    ("water and fat", "multiple_image_types", "MR", _by("ImageType", WATER, FAT)),
    ("two acquisitions at one place", "multiple_acquisitions", "CT", _by("AcquisitionNumber", "1", "2")),
    ("two energies", "multiple_energies", "CT", _by("KVP", "80", "140")),
    ("two stacks at one place", "multiple_stacks", "MR", _by("StackID", "1", "2")),
    (
        "echoes and phases, nested",
        "multiple_echoes multiple_phases",
        "MR",
        _nested(EchoTime=["10", "80"], TriggerTime=["0", "40", "80"]),
    ),
    (
        "echoes and image types, nested",
        "multiple_echoes multiple_image_types",
        "MR",
        _nested(EchoTime=["10", "80"], ImageType=[MAGNITUDE, PHASE]),
    ),
    (
        "echoes, time points and image types, nested",
        "multiple_echoes multiple_time_points multiple_image_types",
        "MR",
        _nested(EchoTime=["10", "80"], TemporalPositionIdentifier=["1", "2"], ImageType=[MAGNITUDE, PHASE]),
    ),
]

SPLITS: tuple[CatalogueSeries, ...] = (
    *(series(name, codes, _split, codes, tags, "oblique", kind) for name, codes, kind, tags in _KEYS),
    *(
        series(f"{name}, {view}", codes, _split, codes, tags, view, kind)
        for name, codes, kind, tags in (_KEYS[0], _KEYS[3], _KEYS[4])
        for view in ("axial", "sagittal", "oblique, left-handed")
    ),
    *(
        series(
            f"acquisitions that overlap {name}, {view}",
            "overlapping_acquisitions",
            _overlapping,
            *grid,
            view,
        )
        for view in ("axial", "oblique, left-handed")
        for name, *grid in (("by half a slice", 4.5, 1.0), ("on another spacing", 4.25, 0.75))
    ),
    series("dynamic PET", "multiple_time_points", _dynamic_pet),
    series("two beds with a gap", "missing_slice", _beds_with_a_gap),
    series("acquisitions end to end", "plain", _adjacent_acquisitions),
    series("one of two echoes lacks a slice", "multiple_echoes", _one_echo_lacks_a_slice),
    series("three volumes without a tag", "conflicting_duplicate", _no_tag_at_all),
)
