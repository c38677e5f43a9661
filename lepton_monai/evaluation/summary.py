"""From the figures of every case to means over patients with intervals."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from lepton_monai.evaluation.intervals import Interval, mean_interval, paired_difference, ratio_interval
from lepton_monai.evaluation.lesions import SIZE_EDGES_MM, LesionCounts, count, count_by_size, pooled
from lepton_monai.evaluation.segmentation import SegmentationFigures

AVERAGED = ("dice", "iou", "nsd", "hd95_mm", "assd_mm", "volume_error_percent")
"""Figures whose mean over patients is told."""

FIGURES = {
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "Surface Dice at {tolerance:g} mm",
    "hd95_mm": "HD95 (mm)",
    "assd_mm": "Surface distance (mm)",
    "volume_error_percent": "Volume error (%)",
    "lesion_sensitivity": "Lesions found",
    "lesion_precision": "Findings that are lesions",
}
"""How the figures of a summary are called."""

ALL_CLASSES = "mean"


@dataclass(frozen=True)
class CaseFigures:
    """One class of one case.

    Parameters
    ----------
    name, patient, class_name
        Pseudonyms, and the name of the class.
    figures
        Of the prediction.
    ellipsoid_dice, threshold_dice
        Of two baselines that need no network; NaN where they make no sense.
    """

    name: str
    patient: str
    class_name: str
    figures: SegmentationFigures
    ellipsoid_dice: float
    threshold_dice: float

    @property
    def dice(self) -> float:
        """Of the prediction; NaN where the class is neither there nor found."""
        return self.figures.dice

    def cells(self) -> dict[str, float | int | str]:
        """Return everything in one flat row."""
        figures = {name: value for name, value in vars(self.figures).items() if isinstance(value, float)}
        lesions = count(self.figures.lesions)
        return {
            "case": self.name,
            "patient": self.patient,
            "class": self.class_name,
            **figures,
            "lesions_hit": lesions.hit,
            "lesions_missed": lesions.missed,
            "components_false": lesions.false,
            "ellipsoid_dice": self.ellipsoid_dice,
            "threshold_dice": self.threshold_dice,
        }


def summary(rows: Sequence[CaseFigures], classes: Sequence[str]) -> dict[str, dict[str, Interval]]:
    """Return the intervals of every class by the names of the figures.

    Parameters
    ----------
    rows
        Of all cases.
    classes
        Names. Where there are several, their mean is there too, under `ALL_CLASSES`.

    Returns
    -------
    intervals
        Means over patients; ``lesion_sensitivity`` and ``lesion_precision`` are pooled over all lesions.
    """
    found: dict[str, dict[str, Interval]] = {}
    for name in classes:
        of_class = [row for row in rows if row.class_name == name]
        means = {figure: over_patients(of_class, figure) for figure in AVERAGED}
        found[name] = means | _of_lesions(of_class)
    if len(classes) > 1:
        found[ALL_CLASSES] = {figure: over_patients(rows, figure) for figure in AVERAGED}
    return found


def over_patients(rows: Sequence[CaseFigures], figure: str) -> Interval:
    """Average each patient's defined values first, so that nobody counts twice."""
    return mean_interval([value for _, value in sorted(by_patient(rows, figure).items())])


def by_patient(rows: Sequence[CaseFigures], figure: str) -> dict[str, float]:
    """Return each patient's mean over cases and classes; NaN where all are undefined."""
    values: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        values[row.patient].append(float(row.cells()[figure]))
    return {
        patient: float(np.nanmean(found)) if np.isfinite(found).any() else float("nan")
        for patient, found in values.items()
    }


def differences(
    first: Sequence[CaseFigures], second: Sequence[CaseFigures], classes: Sequence[str]
) -> dict[str, Interval]:
    """Return the first run's Dice less the second's, paired by patient: above 0 the first is better."""
    sets = {name: [name] for name in classes}
    if len(classes) > 1:
        sets[ALL_CLASSES] = list(classes)
    found = {}
    for name, of in sets.items():
        one, other = (
            by_patient([row for row in rows if row.class_name in of], "dice") for rows in (first, second)
        )
        found[name] = paired_difference(one, other)
    return found


def _of_lesions(rows: Sequence[CaseFigures]) -> dict[str, Interval]:
    counts: dict[str, list[LesionCounts]] = defaultdict(list)
    for row in rows:
        counts[row.patient].append(count(row.figures.lesions))
    patients = [pooled(found) for _, found in sorted(counts.items())]
    hits = [one.hit for one in patients]
    return _by_size(rows) | {
        "lesion_sensitivity": ratio_interval(hits, [one.hit + one.missed for one in patients]),
        "lesion_precision": ratio_interval(hits, [one.hit + one.false for one in patients]),
    }


def _by_size(rows: Sequence[CaseFigures]) -> dict[str, Interval]:
    """Return the share of lesions found in each stratum of diameter."""
    bounds = (0.0, *SIZE_EDGES_MM, float("inf"))
    counts: dict[str, list[tuple[LesionCounts, ...]]] = defaultdict(list)
    for row in rows:
        counts[row.patient].append(count_by_size(row.figures.lesions))
    found = {}
    for stratum, (low, high) in enumerate(pairwise(bounds)):
        patients = [pooled(one[stratum] for one in cases) for _, cases in sorted(counts.items())]
        found[f"lesion_sensitivity_{low:g}_to_{high:g}_mm"] = ratio_interval(
            [one.hit for one in patients], [one.hit + one.missed for one in patients]
        )
    return found
