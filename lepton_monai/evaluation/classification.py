"""The figures of a classification over patients, or over images where nobody is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lepton_monai.evaluation.classes import (
    Labels,
    Metric,
    Scores,
    accuracy,
    auroc,
    decide,
    expected_calibration_error,
    metrics_of,
    sensitivity,
    specificity,
)
from lepton_monai.evaluation.intervals import Interval, metric_interval, rows_interval, share_interval


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


def label_figures(
    calibrated: Scores, plain: Scores, targets: Scores, keys: Sequence[str], thresholds: Mapping[str, float]
) -> dict[str, ClassFigures]:
    """Judge each of several labels on the rows that it is known of.

    Parameters
    ----------
    calibrated, plain
        Probabilities ``(n, labels)`` with and without the temperature.
    targets
        ``(n, labels)``, 0 or 1; NaN: unknown.
    keys
        As `class_figures` has them.
    thresholds
        By the name of the label, in the order of the columns.
    """
    found = {}
    for at, (name, threshold) in enumerate(thresholds.items()):
        known = np.flatnonzero(~np.isnan(targets[:, at]))
        if not len(known):
            found[name] = ClassFigures({}, np.zeros((2, 2), dtype=np.int64), 0, 0)
            continue
        found[name] = class_figures(
            _two(calibrated[known, at]),
            _two(plain[known, at]),
            targets[known, at].astype(np.int64),
            [keys[row] for row in known.tolist()],
            threshold,
        )
    return found


def mean_figures(
    calibrated: Scores, plain: Scores, targets: Scores, keys: Sequence[str], thresholds: Sequence[float]
) -> dict[str, Interval]:
    """Return the mean over labels of each figure, of the patients drawn together for all labels.

    It is undefined where one label's is: a mean over fewer labels would be another figure. The parameters
    are those of `label_figures`.
    """
    metrics = [metrics_of(2, threshold) for threshold in thresholds]
    found = {
        name: _mean_interval([each[name] for each in metrics], calibrated, targets, keys)
        for name in metrics[0]
    }
    found["ece_uncalibrated"] = _mean_interval(
        [expected_calibration_error] * len(metrics), plain, targets, keys
    )
    return found


def _mean_interval(
    metrics: Sequence[Metric], scores: Scores, targets: Scores, keys: Sequence[str]
) -> Interval:
    return rows_interval(mean_figure(metrics, scores, targets), keys)


def mean_figure(metrics: Sequence[Metric], scores: Scores, targets: Scores) -> Callable[[Labels], float]:
    """Return a figure of rows: the mean over labels of one of each, on the rows that it is known of."""
    known = ~np.isnan(targets)
    labels = np.nan_to_num(targets).astype(np.int64)

    def mean(rows: Labels) -> float:
        values = []
        for at, metric in enumerate(metrics):
            kept = rows[known[rows, at]]
            values.append(metric(scores[kept, at], labels[kept, at]))
        return float(np.mean(values))

    return mean


def _two(scores: Scores) -> Scores:
    return np.stack([1.0 - scores, scores], axis=1)


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
