"""Figures of classification, against scipy, formulas, MONAI and tables made by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.metrics import compute_average_precision, compute_roc_auc
from scipy import stats

from lepton_monai.evaluation.classes import (
    Labels,
    Metric,
    Scores,
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    brier,
    decide,
    expected_calibration_error,
    f1,
    metrics_of,
    one_against_rest,
    reliability,
    roc,
    sensitivity,
    sensitivity_at_specificity,
    specificity,
)

rows = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 1)), min_size=1, max_size=30)

# Ten cases, ranked by hand; 0.6 is a tie of a positive and a negative.
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
LABELS = np.array([1, 1, 0, 1, 0, 0, 1, 0, 0, 0])


def _arrays(pairs: list[tuple[int, int]]) -> tuple[Scores, Labels]:
    scores, labels = zip(*pairs, strict=True)
    return np.array(scores) / 6, np.array(labels)


@given(rows)
def test_auroc_is_the_share_of_pairs_in_order_and_mann_whitneys_u(pairs: list[tuple[int, int]]) -> None:
    scores, labels = _arrays(pairs)
    found = auroc(scores, labels)
    positive, negative = scores[labels == 1], scores[labels == 0]
    if not len(positive) or not len(negative):
        assert math.isnan(found)
        return
    won = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    assert found == pytest.approx(np.mean(won), abs=1e-12)
    u = stats.mannwhitneyu(positive, negative).statistic
    assert found == pytest.approx(u / len(won), abs=1e-12)
    assert auroc(-scores, labels) == pytest.approx(1 - found, abs=1e-12)


def test_auroc_of_two_normal_distributions_is_that_of_the_formula() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=200_000)
    scores = generator.normal(size=200_000) + 1.3 * labels
    assert auroc(scores, labels) == pytest.approx(stats.norm.cdf(1.3 / np.sqrt(2)), abs=0.005)


def test_average_precision_is_the_sum_over_steps_of_recall() -> None:
    """Hits at ranks 1, 2, 5 (the tie counts both of its rows) and 7."""
    assert average_precision(SCORES, LABELS) == pytest.approx((1 / 1 + 2 / 2 + 3 / 5 + 4 / 7) / 4)


def test_scores_that_say_nothing_have_the_share_of_positives_for_average_precision() -> None:
    assert average_precision(np.full(10, 0.5), LABELS) == pytest.approx(0.4)
    assert auroc(np.full(10, 0.5), LABELS) == 0.5


def test_without_ties_auroc_and_average_precision_are_those_of_monai() -> None:
    generator = np.random.default_rng(1)
    for _ in range(20):
        labels = np.concatenate([[0, 1], generator.integers(2, size=30)])
        scores = generator.permutation(32) / 32
        given_ = torch.from_numpy(scores).float(), torch.from_numpy(labels).float()
        assert auroc(scores, labels) == pytest.approx(np.asarray(compute_roc_auc(*given_)).item(), abs=1e-6)
        theirs = np.asarray(compute_average_precision(*given_)).item()
        assert average_precision(scores, labels) == pytest.approx(theirs, abs=1e-6)


@given(rows, st.sampled_from([0.0, 0.5, 0.8, 0.9, 0.95, 1.0]))
def test_sensitivity_at_a_specificity_is_the_best_of_all_thresholds(
    pairs: list[tuple[int, int]], wanted: float
) -> None:
    scores, labels = _arrays(pairs)
    found = sensitivity_at_specificity(scores, labels, wanted)
    if len(set(labels.tolist())) < 2:
        assert math.isnan(found)
        return
    thresholds = [*scores, np.inf]
    allowed = [t for t in thresholds if specificity(scores, labels, t) >= wanted - 1e-12]
    assert found == pytest.approx(max(sensitivity(scores, labels, t) for t in allowed))


def test_one_false_alarm_in_20_keeps_a_specificity_of_95_percent() -> None:
    scores = np.concatenate([[0.9, 0.8, 0.3], [0.85], np.full(19, 0.5)])
    labels = np.concatenate([[1, 1, 1], np.zeros(20, dtype=np.int64)])
    assert sensitivity_at_specificity(scores, labels, 0.95) == pytest.approx(2 / 3)
    assert sensitivity_at_specificity(scores, labels, 0.96) == pytest.approx(1 / 3)


def test_a_decision_has_its_counted_figures() -> None:
    """From 0.6 on: 3 true and 2 false positives, 1 missed, 4 rightly negative."""
    at = 0.6
    assert sensitivity(SCORES, LABELS, at) == pytest.approx(3 / 4)
    assert specificity(SCORES, LABELS, at) == pytest.approx(4 / 6)
    assert accuracy(SCORES, LABELS, at) == pytest.approx(7 / 10)
    assert balanced_accuracy(SCORES, LABELS, at) == pytest.approx((3 / 4 + 4 / 6) / 2)
    assert f1(SCORES, LABELS, at) == pytest.approx(6 / 9)


def test_a_score_at_the_threshold_is_positive() -> None:
    assert decide(np.array([0.49, 0.5, 0.51]), 0.5).tolist() == [0, 1, 1]


def test_three_classes_have_their_counted_figures() -> None:
    """Decided 0 0 1 1 2 0 for 0 0 1 2 2 1: recalls 1, 1/2, 1/2; F1 4/5, 1/2, 2/3."""
    tenths = [(8, 1, 1), (5, 3, 2), (2, 6, 2), (1, 5, 4), (1, 2, 7), (6, 3, 1)]
    scores = np.array(tenths) / 10
    labels = np.array([0, 0, 1, 2, 2, 1])
    assert accuracy(scores, labels) == pytest.approx(4 / 6)
    assert balanced_accuracy(scores, labels) == pytest.approx((1 + 1 / 2 + 1 / 2) / 3)
    assert f1(scores, labels) == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    # Class 0: 7 of its 8 pairs are in order. Class 1: 0.6 beats all, 0.3 beats three and ties one.
    # Class 2: 0.7 and 0.4 beat the rest.
    expected = (7 / 8 + (4 + 2.5) / 8 + 1) / 3
    assert one_against_rest(auroc, scores, labels) == pytest.approx(expected)


def test_calibration_error_is_that_of_a_table() -> None:
    """Of four with a confidence of 0.95 three are right, of three with 0.62 two: a gap each."""
    scores = np.array([0.95, 0.95, 0.95, 0.95, 0.62, 0.62, 0.38])
    labels = np.array([1, 1, 1, 0, 1, 0, 0])  # 0.38 of class 1 is 0.62 of class 0
    expected = (abs(3 - 4 * 0.95) + abs(2 - 3 * 0.62)) / 7
    assert expected_calibration_error(scores, labels) == pytest.approx(expected)
    two_columns = np.stack([1 - scores, scores], axis=1)
    assert expected_calibration_error(two_columns, labels) == pytest.approx(expected)


def test_errors_in_one_bin_cancel_and_in_two_they_do_not() -> None:
    """15 bins over 0 to 1, with edges at 0.8 and 0.867: 0.81 and 0.86 share one, 0.85 and 0.88 don't."""
    labels = np.array([1, 0])
    assert expected_calibration_error(np.array([0.81, 0.86]), labels) == pytest.approx(abs(1 - 1.67) / 2)
    assert expected_calibration_error(np.array([0.85, 0.88]), labels) == pytest.approx((0.15 + 0.88) / 2)


def test_probabilities_that_hold_have_no_calibration_error() -> None:
    generator = np.random.default_rng(2)
    scores = generator.random(200_000)
    labels = (generator.random(200_000) < scores).astype(np.int64)
    assert expected_calibration_error(scores, labels) < 0.005
    assert brier(scores, labels) == pytest.approx(1 / 6, abs=0.003), "the mean of p (1 - p)"


def test_sure_and_right_is_an_error_of_0_and_sure_and_wrong_of_1() -> None:
    labels = np.array([0, 1, 1])
    for score, expected in ((labels.astype(np.float64), 0.0), (1.0 - labels, 1.0)):
        assert expected_calibration_error(score, labels) == expected
        assert brier(score, labels) == expected
    assert brier(np.eye(3)[[1, 2, 0]], np.array([0, 1, 2])) == 2.0


def test_brier_is_that_of_a_table() -> None:
    assert brier(np.array([0.8, 0.3]), np.array([1, 1])) == pytest.approx((0.04 + 0.49) / 2)
    three = np.array([[0.5, 0.3, 0.2]])
    assert brier(three, np.array([1])) == pytest.approx(0.25 + 0.49 + 0.04)


@pytest.mark.parametrize("present", [0, 1])
@pytest.mark.parametrize("name", sorted(metrics_of(2)))
def test_what_needs_both_classes_is_undefined_with_one(name: str, present: int) -> None:
    metric: Metric = metrics_of(2)[name]
    found = metric(np.array([0.2, 0.7, 0.9]), np.full(3, present))
    needs = {
        "auroc": {0, 1},
        "auprc": {0, 1},
        "sensitivity_at_95_specificity": {0, 1},
        "balanced_accuracy": {0, 1},
        "sensitivity": {1},
        "specificity": {0},
    }
    assert math.isnan(found) == bool(needs.get(name, set()) - {present})


def test_a_class_that_no_case_has_makes_means_over_classes_undefined() -> None:
    scores = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.4, 0.5, 0.1]])
    labels = np.array([0, 1, 0])
    found = {name: metric(scores, labels) for name, metric in metrics_of(3).items()}
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {"auroc", "auprc", "balanced_accuracy", "f1"}


@pytest.mark.parametrize("name", sorted(metrics_of(2)))
def test_of_no_case_every_figure_is_undefined(name: str) -> None:
    assert math.isnan(metrics_of(2)[name](np.zeros(0), np.zeros(0, dtype=np.int64)))


@given(rows)
def test_the_area_below_the_roc_is_the_auroc(pairs: list[tuple[int, int]]) -> None:
    scores, labels = _arrays(pairs)
    false, true = roc(scores, labels)
    area = np.trapezoid(true, false)
    np.testing.assert_allclose(area, auroc(scores, labels), equal_nan=True)


def test_reliability_of_a_table_made_by_hand() -> None:
    said, held = reliability(
        np.array([0.0, 0.05, 0.1, 0.11, 0.65, 0.7, 1.0]), np.array([0, 0, 1, 0, 1, 0, 1])
    )
    np.testing.assert_allclose(said, [0.05, 0.11, 0.675, 1.0])
    np.testing.assert_allclose(held, [1 / 3, 0.0, 0.5, 1.0])


def test_reliability_of_nothing_is_nothing() -> None:
    said, held = reliability(np.zeros(0), np.zeros(0, dtype=np.int64))
    assert len(said) == len(held) == 0
