"""The operating point of a classifier with two classes."""

import numpy as np

from lepton_monai.evaluation.classes import Labels, Scores, balanced_accuracy


def best_threshold(scores: Scores, labels: Labels, otherwise: float = 0.5) -> float:
    """Return the threshold of the best balanced accuracy.

    Parameters
    ----------
    scores, labels
        ``(n,)`` of class 1, of validation cases.
    otherwise
        What is returned where a class is missing, or all scores are the same.

    Notes
    -----
    Thresholds lie halfway between scores. Of equally good ones in a row the middle one is taken: what is
    chosen on few cases then lies far from all of them.
    """
    if len(np.unique(labels)) < 2:
        return otherwise
    ranked = np.unique(scores)
    candidates = (ranked[1:] + ranked[:-1]) / 2
    if not len(candidates):
        return otherwise
    worth = np.array([balanced_accuracy(scores, labels, one) for one in candidates])
    best = np.flatnonzero(worth >= worth.max() - 1e-12)
    first_run = best[: int(np.argmax(np.append(np.diff(best) != 1, True))) + 1]
    return float(candidates[first_run[len(first_run) // 2]])
