"""The figures of a classification: who is drawn, and what is counted."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from lepton_monai.evaluation.classes import DECIDING, RANKING
from lepton_monai.evaluation.classification import (
    Judged,
    class_figures,
    label_figures,
    mean_figures,
    position_baseline,
)
from lepton_monai.evaluation.intervals import share_interval
from tests.evaluation.judging import judged_at


def _two(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([1 - scores, scores], axis=1)


def test_rows_of_one_patient_are_drawn_together() -> None:
    generator = np.random.default_rng(0)
    labels = np.tile([0, 1], 60)
    # The patient decides how good a row is: rows that were drawn one by one would look far too sure.
    quality = np.repeat(generator.uniform(-0.4, 0.4, 12), 10)
    scores = _two(np.clip(0.5 + quality * (labels - 0.5) + generator.normal(0, 0.05, 120), 0.001, 0.999))
    patients = [f"P{number}" for number in np.repeat(np.arange(12), 10)]
    judged = judged_at(scores, np.eye(2)[labels])
    by_patient = class_figures(judged, scores, patients)
    by_row = class_figures(judged, scores, [str(number) for number in range(120)])
    assert (by_patient.rows, by_patient.keys) == (120, 12)
    wide, narrow = (one.figures["auroc"] for one in (by_patient, by_row))
    assert wide.mean == narrow.mean
    assert wide.high - wide.low > 1.5 * (narrow.high - narrow.low)


def test_all_right_has_the_interval_of_a_share_where_each_is_seen_once() -> None:
    labels = np.arange(12) % 3
    scores = np.eye(3)[labels]
    found = class_figures(judged_at(scores, scores), scores, [str(one) for one in range(12)])
    accuracy = found.figures["accuracy"]
    wanted = stats.binomtest(12, 12).proportion_ci(method="wilson")
    assert (accuracy.mean, accuracy.low, accuracy.high) == (1.0, wanted.low, wanted.high)
    np.testing.assert_array_equal(found.confusion, 4 * np.eye(3))


def test_the_threshold_decides_and_rows_of_the_confusion_are_the_truth() -> None:
    scores, targets = _two(np.array([0.3, 0.6, 0.6, 0.9])), np.eye(2)[[0, 0, 1, 1]]
    found = class_figures(judged_at(scores, targets, "one", (0.7,)), scores, list("abcd"))
    np.testing.assert_array_equal(found.confusion, [[2, 0], [1, 1]])
    assert found.figures["sensitivity"].mean == 0.5
    assert found.figures["sensitivity"].n == 2
    assert found.figures["specificity"].mean == 1.0


def test_decisions_reach_every_figure_that_is_made_of_them_and_no_other() -> None:
    generator = np.random.default_rng(4)
    scores, targets = _two(generator.random(40)), np.eye(2)[generator.integers(2, size=40)]
    keys = [str(number) for number in range(40)]
    low, high = (
        class_figures(judged_at(scores, targets, "one", (at,)), scores, keys).figures for at in (0.2, 0.7)
    )
    assert {name for name in low if low[name].mean != high[name].mean} == DECIDING


def test_probabilities_that_are_all_one_are_still_ranked() -> None:
    odds = np.array([40.0, 50.0, 60.0, 70.0])
    judged = Judged(
        np.stack([-odds, odds], axis=1), np.eye(2)[[1, 1, 1, 1]] > 0, np.eye(2)[[0, 0, 1, 1]], "one"
    )
    assert (judged.scores("brier")[:, 1] == 1.0).all()
    for name in RANKING:
        assert judged.figure(name)(np.arange(4)) == 1.0
        assert replace(judged, holds="any").figure(name)(np.arange(4)) == 1.0


def _labelled() -> tuple[NDArray[np.float64], NDArray[np.float64], list[str]]:
    generator = np.random.default_rng(1)
    targets = generator.integers(0, 2, (40, 3)).astype(np.float64)
    scores = np.clip(0.3 * targets + generator.uniform(0, 0.7, targets.shape), 0.001, 0.999)
    targets[generator.random(targets.shape) < 0.2] = np.nan
    return scores, targets, [f"P{number // 2}" for number in range(40)]


def _auroc(scores: NDArray[np.float64], labels: NDArray[np.float64]) -> float:
    """Return how often a positive outranks a negative, pair by pair."""
    pairs = scores[labels == 1][:, None] - scores[labels == 0][None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_a_label_is_judged_on_the_rows_that_it_is_known_of() -> None:
    scores, targets, keys = _labelled()
    found = label_figures(judged_at(scores, targets, "any", (0.5, 0.6, 0.7)), scores, keys, "abc")
    for at, (name, threshold) in enumerate(zip("abc", (0.5, 0.6, 0.7), strict=True)):
        known = ~np.isnan(targets[:, at])
        said, truth = scores[known, at] >= threshold, targets[known, at]
        figures = found[name].figures
        assert found[name].rows == known.sum() < 40
        assert figures["auroc"].mean == pytest.approx(_auroc(scores[known, at], truth))
        assert figures["sensitivity"].mean == pytest.approx(said[truth == 1].mean())
        assert figures["specificity"].mean == pytest.approx(1 - said[truth == 0].mean())
        wanted = [[int(((truth == t) & (said == s)).sum()) for s in (0, 1)] for t in (0, 1)]
        np.testing.assert_array_equal(found[name].confusion, wanted)


def test_the_mean_over_labels_draws_a_patient_for_all_of_them() -> None:
    scores, targets, keys = _labelled()
    labels = label_figures(judged_at(scores, targets, "any"), scores, keys, "abc")
    means = mean_figures(judged_at(scores, targets, "any"), scores, keys)
    assert set(means) == set(labels["a"].figures)
    for name in means:
        wanted = np.mean([one.figures[name].mean for one in labels.values()])
        assert means[name].mean == pytest.approx(wanted)
    # Three times the same label knows no more than one: the interval must not shrink.
    same = [np.repeat(one[:, :1], 3, axis=1) for one in (scores, targets)]
    repeated = mean_figures(judged_at(same[0], same[1], "any"), same[0], keys)["auroc"]
    first = judged_at(scores[:, :1], targets[:, :1], "any")
    single = mean_figures(first, scores[:, :1], keys)["auroc"]
    assert (repeated.low, repeated.high) == pytest.approx((single.low, single.high))


def test_a_label_that_nobody_has_is_undefined_and_so_is_the_mean() -> None:
    scores, targets, keys = _labelled()
    targets[:, 1], targets[:, 2] = 0.0, np.nan
    labels = label_figures(judged_at(scores, targets, "any"), scores, keys, "abc")
    assert labels["b"].figures["auroc"].text() == "undefined in all 20"
    assert (labels["c"].rows, labels["c"].figures) == (0, {})
    means = mean_figures(judged_at(scores, targets, "any"), scores, keys)
    assert means["auroc"].text() == "undefined in all 20"


def test_the_place_of_a_slice_alone_can_be_all_that_is_needed() -> None:
    places = np.array([0.0, 3.0, 6.0, 3.0, 0.0] * 3)
    labels = (places > 2).astype(int)
    found = position_baseline(places, labels, [f"P{number}" for number in np.repeat(range(3), 5)])
    assert found.mean == 1.0
    assert found.n == 3


def test_a_share_of_nobody_is_undefined() -> None:
    assert share_interval(0, 0).n == 0
    assert share_interval(3, 4).mean == pytest.approx(0.75)
