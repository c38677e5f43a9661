"""The figures of a classification over patients, or over images where nobody is known."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_monai.evaluation.classes import (
    Labels,
    Scores,
    accuracy,
    auroc,
    decide,
    expected_calibration_error,
    metrics_of,
    sensitivity,
    specificity,
)
from lepton_monai.evaluation.intervals import Interval, metric_interval, share_interval


@dataclass(frozen=True, eq=False)
class ClassFigures:
    """Figures with intervals, and the counts behind them.

    Parameters
    ----------
    figures
        By name; `ece_uncalibrated` is without the temperature.
    confusion
        ``(classes, classes)`` counts, rows the truth, columns the decision.
    rows, keys
        How many were judged, and of how many patients (or images).
    """

    figures: dict[str, Interval]
    confusion: NDArray[np.int64]
    rows: int
    keys: int


def class_figures(
    calibrated: Scores, plain: Scores, labels: Labels, keys: Sequence[str], threshold: float
) -> ClassFigures:
    """Judge probabilities.

    Parameters
    ----------
    calibrated, plain
        Probabilities ``(n, classes)`` with and without the temperature.
    labels
        ``(n,)`` class ids.
    keys
        ``(n,)`` of the patients, who are drawn with all their rows; of the images where nobody is known.
    threshold
        Of class 1 where there are two.
    """
    classes = calibrated.shape[1]
    scores, raw = (one[:, 1] if classes == 2 else one for one in (calibrated, plain))
    figures = {
        name: metric_interval(metric, scores, labels, keys)
        for name, metric in metrics_of(classes, threshold).items()
    }
    if len(set(keys)) == len(keys):
        figures |= _shares(scores, labels, threshold)
    figures["ece_uncalibrated"] = metric_interval(expected_calibration_error, raw, labels, keys)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, decide(scores, threshold)), 1)
    return ClassFigures(figures, confusion, len(labels), len(set(keys)))


def position_baseline(from_end_mm: Scores, labels: Labels, keys: Sequence[str]) -> Interval:
    """Return the AUROC of a slice's distance from the nearer end of its series: it needs no image."""
    return metric_interval(auroc, from_end_mm, labels, keys)


def _shares(scores: Scores, labels: Labels, threshold: float) -> dict[str, Interval]:
    """Return the intervals of plain shares, where each patient is observed once."""
    found = {"accuracy": _share(accuracy(scores, labels, threshold), len(labels))}
    if scores.ndim == 1:
        positive = int((labels == 1).sum())
        found["sensitivity"] = _share(sensitivity(scores, labels, threshold), positive)
        found["specificity"] = _share(specificity(scores, labels, threshold), len(labels) - positive)
    return found


def _share(value: float, n: int) -> Interval:
    return share_interval(round(value * n), n) if n else share_interval(0, 0)
