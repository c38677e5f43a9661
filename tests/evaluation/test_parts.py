"""Two models on the same samples, in pairs."""

import math

import numpy as np
import pytest

from lepton_monai.evaluation.classes import auroc, balanced_accuracy
from lepton_monai.evaluation.classification import Judged
from lepton_monai.evaluation.parts import compared_figures, paired_figures
from tests.evaluation.judging import Array, judged_at


def _scored(n: int, noise: float, seed: int = 0) -> tuple[Array, Array, Array, list[str]]:
    """Return two scores that share most of their errors, the labels, and the patients."""
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=n).astype(np.float64)
    shared = labels + generator.normal(0, 1, n)
    first, second = (shared + generator.normal(0, one, n) for one in (noise / 4, noise))
    return first, second, labels, [f"{number:04}" for number in range(n)]


def _judged(scores: Array, labels: Array) -> Judged:
    one = 1 / (1 + np.exp(-scores))
    return judged_at(np.stack([1 - one, one], axis=1), np.stack([1 - labels, labels], axis=1))


def _delong(first: Array, second: Array, labels: Array) -> float:
    """Return the standard error of the difference of two AUROCs: DeLong et al., Biometrics 1988."""
    placements = []
    for scores in (first, second):
        positive, negative = scores[labels == 1], scores[labels == 0]
        wins = (positive[:, None] > negative[None, :]).astype(np.float64)
        placements.append((wins.mean(axis=1), wins.mean(axis=0)))
    sides = [placements[0][side] - placements[1][side] for side in (0, 1)]
    return math.sqrt(sum(side.var(ddof=1) / len(side) for side in sides))


def test_a_difference_of_aurocs_has_the_width_of_delongs() -> None:
    first, second, labels, keys = _scored(300, noise=1.0)
    found = paired_figures(_judged(first, labels), _judged(second, labels), keys)["auroc"]
    whole = labels.astype(np.int64)
    assert found.mean == pytest.approx(auroc(first, whole) - auroc(second, whole))
    wide = 2 * 1.96 * _delong(first, second, labels)
    assert found.high - found.low == pytest.approx(wide, rel=0.15)
    assert found.n == 300


def test_a_model_differs_from_itself_by_nothing_and_has_no_interval() -> None:
    first, _, labels, keys = _scored(40, noise=1.0)
    for interval in paired_figures(_judged(first, labels), _judged(first, labels), keys).values():
        assert interval.mean == 0.0
        assert math.isnan(interval.low)


def test_of_several_labels_the_mean_counts_and_what_is_unknown_of_one_is_left_out() -> None:
    generator = np.random.default_rng(2)
    targets = generator.integers(2, size=(30, 2)).astype(np.float64)
    probabilities = generator.random((30, 2))
    targets[:7, 1] = np.nan
    one = judged_at(probabilities, targets, "any", (0.5, 0.3))
    found = compared_figures(one, [str(number) for number in range(30)])
    sides = [(probabilities[:, 0], targets[:, 0]), (probabilities[7:, 1], targets[7:, 1])]
    labelled = [(scores, labels.astype(np.int64)) for scores, labels in sides]
    assert found["auroc"].mean == pytest.approx(np.mean([auroc(*one) for one in labelled]))
    halves = [balanced_accuracy(*one, at) for one, at in zip(labelled, (0.5, 0.3), strict=True)]
    assert found["balanced_accuracy"].mean == pytest.approx(np.mean(halves))
