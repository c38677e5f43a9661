"""Figures of classification, each a function of scores and labels.

Two classes: scores ``(n,)``, the probability of class 1 (any order of the same ranks will do for `auroc`,
`average_precision` and `sensitivity_at_specificity`). More: probabilities ``(n, c)``. Labels ``(n,)`` are
class ids from 0 on. A figure that needs a class which no label has is NaN.
:func:`lepton_monai.evaluation.intervals.metric_interval` gives any of them its interval.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]
Metric = Callable[[Scores, Labels], float]

ECE_BINS = 15
"""Of equal width: Guo et al., On Calibration of Modern Neural Networks, ICML 2017."""

RELIABILITY_GROUPS = 10
"""Of a drawing, where each needs some samples."""


RANKING = frozenset({"auroc", "auprc", "sensitivity_at_95_specificity"})
"""Figures of the order of the scores alone."""

DECIDING = frozenset({"accuracy", "balanced_accuracy", "f1", "sensitivity", "specificity"})
"""Figures of decisions alone, whose scores may be 1 for what is decided for and 0 for the rest."""


def metrics_of(classes: int) -> dict[str, Metric]:
    """Return the figures that suit a number of classes, by name.

    Parameters
    ----------
    classes
        2: scores ``(n,)``. More: probabilities ``(n, c)``, and `auroc` and `auprc` are the mean over
        classes of one against the rest.
    """
    chosen: dict[str, Metric] = {
        "accuracy": accuracy,
        "balanced_accuracy": balanced_accuracy,
        "f1": f1,
        "ece": expected_calibration_error,
        "brier": brier,
    }
    if classes > 2:
        return {
            "auroc": partial(one_against_rest, auroc),
            "auprc": partial(one_against_rest, average_precision),
            **chosen,
        }
    return {
        "auroc": auroc,
        "auprc": average_precision,
        "sensitivity": sensitivity,
        "specificity": specificity,
        "sensitivity_at_95_specificity": partial(sensitivity_at_specificity, specificity=0.95),
        **chosen,
    }


def auroc(scores: Scores, labels: Labels) -> float:
    """Return the area under the ROC curve: how often a positive outranks a negative, ties count half."""
    true, false = _curve(scores, labels)
    if not true[-1] or not false[-1]:
        return float("nan")
    area = np.sum(np.diff(false) * (true[1:] + true[:-1]) / 2)
    return float(area / (true[-1] * false[-1]))


def roc(scores: Scores, labels: Labels) -> tuple[Scores, Scores]:
    """Return 1 - specificity and sensitivity at every distinct threshold; NaN where a class is absent."""
    true, false = _curve(scores, labels)
    with np.errstate(invalid="ignore"):
        return false / false[-1], true / true[-1]


def reliability(probabilities: Scores, labels: Labels) -> tuple[Scores, Scores]:
    """Return mean probability and share of class 1 in ten groups of equal width, of those with samples.

    Notes
    -----
    DeGroot and Fienberg, The Comparison and Evaluation of Forecasters, 1983.
    """
    group = _bins(probabilities, RELIABILITY_GROUPS)
    count = np.bincount(group)
    there = count > 0
    sums = (np.bincount(group, weights=one)[there] for one in (probabilities, labels))
    said, held = (one / count[there] for one in sums)
    return said, held


def average_precision(scores: Scores, labels: Labels) -> float:
    """Return the mean precision over the steps of recall (AUPRC without interpolation).

    Notes
    -----
    Linear interpolation between the points would be too good: Davis and Goadrich, ICML 2006.
    """
    true, false = _curve(scores, labels)
    if not true[-1] or not false[-1]:
        return float("nan")
    precision = true[1:] / (true[1:] + false[1:])
    return float(np.sum(np.diff(true) * precision) / true[-1])


def sensitivity_at_specificity(scores: Scores, labels: Labels, specificity: float = 0.95) -> float:
    """Return the best sensitivity of the thresholds that keep at least a specificity."""
    true, false = _curve(scores, labels)
    if not true[-1] or not false[-1]:
        return float("nan")
    # 1e-9: one negative of 20 is 5 %, whatever 1 - 0.95 is in binary.
    allowed = false <= (1.0 - specificity) * false[-1] + 1e-9
    return float(true[allowed].max() / true[-1])


def sensitivity(scores: Scores, labels: Labels, threshold: float = 0.5) -> float:
    """Return the share of class 1 with a score of at least the threshold."""
    return _recall(decide(scores, threshold), labels, 1)


def specificity(scores: Scores, labels: Labels, threshold: float = 0.5) -> float:
    """Return the share of class 0 with a score below the threshold."""
    return _recall(decide(scores, threshold), labels, 0)


def accuracy(scores: Scores, labels: Labels, threshold: float = 0.5) -> float:
    """Return the share of right decisions."""
    return float(np.mean(decide(scores, threshold) == labels)) if len(labels) else float("nan")


def balanced_accuracy(scores: Scores, labels: Labels, threshold: float = 0.5) -> float:
    """Return the mean over classes of the share of each that is recognised."""
    decided = decide(scores, threshold)
    return float(np.mean([_recall(decided, labels, one) for one in range(_classes(scores))]))


def f1(scores: Scores, labels: Labels, threshold: float = 0.5) -> float:
    """Return the F1 of class 1, or with more than two classes the mean over all (macro).

    A class that is neither there nor decided for makes it NaN.
    """
    decided = decide(scores, threshold)
    wanted = range(_classes(scores)) if scores.ndim == 2 else [1]
    return float(np.mean([_f1(decided == one, labels == one) for one in wanted]))


def expected_calibration_error(scores: Scores, labels: Labels) -> float:
    """Return how far the confidence of the decided class lies from how often it is right (ECE).

    The mean over 15 bins of equal width, each weighted by its count; a bin holds its upper edge.
    """
    probabilities = _columns(scores)
    if not len(labels):
        return float("nan")
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    gaps = np.bincount(_bins(confidence, ECE_BINS), weights=right - confidence)
    return float(np.abs(gaps).sum() / len(labels))


def brier(scores: Scores, labels: Labels) -> float:
    """Return the mean squared error of the probabilities.

    Two classes: of the probability of class 1, 0 to 1. More: summed over classes, 0 to 2, as Brier did
    (Monthly Weather Review 1950).
    """
    if not len(labels):
        return float("nan")
    if scores.ndim == 1:
        return float(np.mean((scores - labels) ** 2))
    truth = labels[:, None] == np.arange(scores.shape[1])
    return float(np.mean(np.sum((scores - truth) ** 2, axis=1)))


def one_against_rest(metric: Metric, scores: Scores, labels: Labels) -> float:
    """Return the mean over classes of a two-class figure of each against the rest."""
    each = [metric(scores[:, one], (labels == one).astype(np.int64)) for one in range(scores.shape[1])]
    return float(np.mean(each))


def decide(scores: Scores, threshold: float = 0.5) -> Labels:
    """Return the class ids: 1 from the threshold on, or of the largest probability."""
    if scores.ndim == 1:
        return (scores >= threshold).astype(np.int64)
    return np.asarray(scores.argmax(axis=1))


def _curve(scores: Scores, labels: Labels) -> tuple[Scores, Scores]:
    """Count true and false positives at every distinct threshold, highest first, from none to all."""
    order = np.argsort(-scores, kind="stable")
    ranked, positive = scores[order], labels[order] == 1
    last_of_ties = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)[: len(ranked)])
    true = np.cumsum(positive)[last_of_ties]
    false = last_of_ties + 1 - true
    return np.concatenate([[0.0], true]), np.concatenate([[0.0], false])


def _bins(probabilities: Scores, count: int) -> Labels:
    """Return the bin of equal width that each lies in; a bin holds its upper edge."""
    return np.clip(np.ceil(probabilities * count).astype(np.int64) - 1, 0, count - 1)


def _recall(decided: Labels, labels: Labels, one: int) -> float:
    there = labels == one
    return float(np.mean(decided[there] == one)) if there.any() else float("nan")


def _f1(decided: NDArray[np.bool_], there: NDArray[np.bool_]) -> float:
    total = int(decided.sum()) + int(there.sum())
    return 2.0 * int((decided & there).sum()) / total if total else float("nan")


def _classes(scores: Scores) -> int:
    return 2 if scores.ndim == 1 else scores.shape[1]


def _columns(scores: Scores) -> Scores:
    return np.stack([1.0 - scores, scores], axis=1) if scores.ndim == 1 else scores
