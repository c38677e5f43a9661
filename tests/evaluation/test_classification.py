"""The figures of a classification: who is drawn, and what is counted."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lepton_monai.evaluation.classification import class_figures, position_baseline
from lepton_monai.evaluation.intervals import share_interval


def _two(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([1 - scores, scores], axis=1)


def test_rows_of_one_patient_are_drawn_together() -> None:
    generator = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    # The patient decides how good a row is: rows that were drawn one by one would look far too sure.
    quality = np.repeat(generator.uniform(-0.4, 0.4, 12), 10)
    scores = _two(np.clip(0.5 + quality * (labels - 0.5) + generator.normal(0, 0.05, 120), 0.001, 0.999))
    patients = [f"P{number}" for number in np.repeat(np.arange(12), 10)]
    by_patient = class_figures(scores, scores, labels, patients, 0.5)
    by_row = class_figures(scores, scores, labels, [str(number) for number in range(120)], 0.5)
    assert (by_patient.rows, by_patient.keys) == (120, 12)
    wide, narrow = (one.figures["auroc"] for one in (by_patient, by_row))
    assert wide.mean == narrow.mean
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_all_right_has_the_interval_of_a_share_where_each_is_seen_once() -> None:
    labels = np.arange(12) % 3
    scores = np.eye(3)[labels]
    found = class_figures(scores, scores, labels, [str(one) for one in range(12)], 0.5)
    accuracy = found.figures["accuracy"]
    wanted = stats.binomtest(12, 12).proportion_ci(method="wilson")
    assert (accuracy.mean, accuracy.low, accuracy.high) == (1.0, wanted.low, wanted.high)
    np.testing.assert_array_equal(found.confusion, 4 * np.eye(3))


def test_the_threshold_decides_and_rows_of_the_confusion_are_the_truth() -> None:
    scores = _two(np.array([0.3, 0.6, 0.6, 0.9]))
    found = class_figures(scores, scores, np.array([0, 0, 1, 1]), list("abcd"), 0.7)
    np.testing.assert_array_equal(found.confusion, [[2, 0], [1, 1]])
    assert found.figures["sensitivity"].mean == 0.5
    assert found.figures["sensitivity"].n == 2
    assert found.figures["specificity"].mean == 1.0


def test_the_place_of_a_slice_alone_can_be_all_that_is_needed() -> None:
    places = np.array([0.0, 3.0, 6.0, 3.0, 0.0] * 3)
    labels = (places > 2).astype(int)
    found = position_baseline(places, labels, [f"P{number}" for number in np.repeat(range(3), 5)])
    assert found.mean == 1.0
    assert found.n == 3


def test_a_share_of_nobody_is_undefined() -> None:
    assert share_interval(0, 0).n == 0
    assert share_interval(3, 4).mean == pytest.approx(0.75)
