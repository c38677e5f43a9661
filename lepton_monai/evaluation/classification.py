"""The figures of a classification over patients, or over images where nobody is known."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lepton_monai.cases.classes import Holds
from lepton_monai.evaluation.classes import (
    DECIDING,
    RANKING,
    Labels,
    Metric,
    Scores,
    accuracy,
    auroc,
    expected_calibration_error,
    metrics_of,
    sensitivity,
    specificity,
)
from lepton_monai.evaluation.intervals import Interval, metric_interval, rows_interval, share_interval

NAMES_OF_FIGURES = {
    "auroc": "AUROC",
    "auprc": "AUPRC",
    "accuracy": "Accuracy",
    "balanced_accuracy": "Balanced accuracy",
    "sensitivity": "Sensitivity",
    "specificity": "Specificity",
    "sensitivity_at_95_specificity": "Sensitivity at 95 % specificity",
    "f1": "F1",
    "brier": "Brier score",
    "ece_uncalibrated": "Calibration error before the temperature",
    "ece": "Calibration error after it",
}
"""How the figures are called, in the order in which they are told."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What is said of samples, and what is true.

    Parameters
    ----------
    log_odds
        ``(n, classes)``, calibrated, of each class against the others: what figures of ranks are made of,
        for a probability that is 1 for many no longer ranks them.
    decided
        ``(n, classes)``, each row by the threshold that it had.
    targets
        ``(n, classes)``, 0 or 1; NaN: unknown.
    holds
        How many of the classes do.
    """

    log_odds: Scores
    decided: NDArray[np.bool_]
    targets: Scores
    holds: Holds

    def scores(self, name: str) -> Scores:
        """Return what a figure is made of, ``(n, classes)``."""
        if name in DECIDING:
            return self.decided.astype(np.float64)
        return self.log_odds if name in RANKING else np.asarray(special.expit(self.log_odds))

    def figure(self, name: str) -> Callable[[Labels], float]:
        """Return a figure of rows by its name; of several labels the mean over them."""
        scores = self.scores(name)
        if self.holds == "any":
            return _mean_figure(metrics_of(2)[name], scores, self.targets)
        metric, labels = metrics_of(scores.shape[1])[name], self.targets.argmax(axis=1)
        each = _of_second(scores)
        return lambda rows: metric(each[rows], labels[rows])

    def of_label(self, rows: Labels, at: int) -> "Judged":
        """Return what is said of one label, as of two classes."""
        odds, holding, truth = self.log_odds[rows, at], self.decided[rows, at], self.targets[rows, at]
        return Judged(
            np.stack([-odds, odds], axis=1),
            np.stack([~holding, holding], axis=1),
            np.stack([1.0 - truth, truth], axis=1),
            "one",
        )


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


def class_figures(judged: Judged, plain: Scores, keys: Sequence[str]) -> ClassFigures:
    """Judge answers of which exactly one class holds.

    Parameters
    ----------
    judged
        What is said, and what is true.
    plain
        Probabilities ``(n, classes)`` without the temperature.
    keys
        ``(n,)`` of the patients, who are drawn with all their rows; of the images where nobody is known.
    """
    classes, labels = plain.shape[1], judged.targets.argmax(axis=1)
    figures = {
        name: metric_interval(metric, _of_second(judged.scores(name)), labels, keys)
        for name, metric in metrics_of(classes).items()
    }
    if len(set(keys)) == len(keys):
        figures |= _shares(_of_second(judged.scores("accuracy")), labels)
    raw = _of_second(plain)
    figures["ece_uncalibrated"] = metric_interval(expected_calibration_error, raw, labels, keys)
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (labels, judged.decided.argmax(axis=1)), 1)
    return ClassFigures(figures, confusion, len(labels), len(set(keys)))


def label_figures(
    judged: Judged, plain: Scores, keys: Sequence[str], names: Sequence[str]
) -> dict[str, ClassFigures]:
    """Judge each of several labels on the rows that it is known of.

    Parameters
    ----------
    judged, plain, keys
        As `class_figures` has them.
    names
        Of the labels, in the order of the columns.
    """
    found = {}
    for at, name in enumerate(names):
        known = np.flatnonzero(~np.isnan(judged.targets[:, at]))
        if not len(known):
            found[name] = ClassFigures({}, np.zeros((2, 2), dtype=np.int64), 0, 0)
            continue
        raw = plain[known, at]
        found[name] = class_figures(
            judged.of_label(known, at),
            np.stack([1.0 - raw, raw], axis=1),
            [keys[row] for row in known.tolist()],
        )
    return found


def mean_figures(judged: Judged, plain: Scores, keys: Sequence[str]) -> dict[str, Interval]:
    """Return the mean over labels of each figure, of the patients drawn together for all labels.

    It is undefined where one label's is: a mean over fewer labels would be another figure. The parameters
    are those of `label_figures`.
    """
    found = {name: rows_interval(judged.figure(name), keys) for name in metrics_of(2)}
    uncalibrated = _mean_figure(expected_calibration_error, plain, judged.targets)
    found["ece_uncalibrated"] = rows_interval(uncalibrated, keys)
    return found


def _mean_figure(metric: Metric, scores: Scores, targets: Scores) -> Callable[[Labels], float]:
    """Return a figure of rows: its mean over labels, of each on the rows that it is known of."""
    known = ~np.isnan(targets)
    labels = np.nan_to_num(targets).astype(np.int64)

    def mean(rows: Labels) -> float:
        values = []
        for at in range(targets.shape[1]):
            kept = rows[known[rows, at]]
            values.append(metric(scores[kept, at], labels[kept, at]))
        return float(np.mean(values))

    return mean


def _of_second(scores: Scores) -> Scores:
    """Return the scores of class 1 where there are two, otherwise of all."""
    return scores[:, 1] if scores.shape[1] == 2 else scores


def position_baseline(from_end_mm: Scores, labels: Labels, keys: Sequence[str]) -> Interval:
    """Return the AUROC of a slice's distance from the nearer end of its series: it needs no image."""
    return metric_interval(auroc, from_end_mm, labels, keys)


def _shares(scores: Scores, labels: Labels) -> dict[str, Interval]:
    """Return the intervals of plain shares, where each patient is observed once."""
    found = {"accuracy": _share(accuracy(scores, labels), len(labels))}
    if scores.ndim == 1:
        positive = int((labels == 1).sum())
        found["sensitivity"] = _share(sensitivity(scores, labels), positive)
        found["specificity"] = _share(specificity(scores, labels), len(labels) - positive)
    return found


def _share(value: float, n: int) -> Interval:
    return share_interval(round(value * n), n) if n else share_interval(0, 0)
