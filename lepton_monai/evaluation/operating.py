"""The operating point of a classifier with two classes."""

import numpy as np

from lepton_monai.evaluation.classes import Labels, Scores, balanced_accuracy


def best_threshold(scores: Scores, labels: Labels) -> float:
    """Return the threshold of the best balanced accuracy, 0.5 where a class is missing.

    Parameters
    ----------
    scores, labels
        ``(n,)`` of class 1, of validation cases.

    Notes
    -----
    Thresholds lie halfway between scores. Of equally good ones in a row the middle one is taken: what is
    chosen on few cases then lies far from all of them.
    """
    if len(np.unique(labels)) < 2:
        return 0.5
    ranked = np.unique(scores)
    candidates = (ranked[1:] + ranked[:-1]) / 2
    if not len(candidates):
        return 0.5
    worth = np.array([balanced_accuracy(scores, labels, one) for one in candidates])
    best = np.flatnonzero(worth >= worth.max() - 1e-12)
    first_run = best[: int(np.argmax(np.append(np.diff(best) != 1, True))) + 1]
    return float(candidates[first_run[len(first_run) // 2]])
