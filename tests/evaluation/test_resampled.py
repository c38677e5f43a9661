"""Differences of two runs, pooled ratios and figures of classification, resampled by patient."""

import math

import numpy as np
import pytest
from scipy import stats

from lepton_monai.core.errors import InputError
from lepton_monai.evaluation.classes import Labels, Scores, auroc, metrics_of
from lepton_monai.evaluation.intervals import (
    RESAMPLES,
    Interval,
    mean_interval,
    metric_interval,
    paired_difference,
    ratio_interval,
)


def _runs(n: int) -> tuple[dict[str, float], dict[str, float]]:
    generator = np.random.default_rng(n)
    first = generator.beta(5, 2, n)
    second = np.clip(first - 0.03 + generator.normal(scale=0.02, size=n), 0, 1)
    keys = [f"P{number:03}" for number in range(n)]
    return dict(zip(keys, first.tolist(), strict=True)), dict(zip(keys, second.tolist(), strict=True))


def _same_bounds(one: Interval, other: tuple[float, float], tolerance: float = 1e-12) -> None:
    assert (one.low, one.high) == pytest.approx(other, abs=tolerance)


def test_a_difference_is_paired_by_patient_whatever_the_order() -> None:
    first, second = _runs(20)
    found = paired_difference(first, second)
    shuffled = paired_difference(dict(reversed(first.items())), second)
    assert found == shuffled
    differences = [first[key] - second[key] for key in sorted(first)]
    assert found == mean_interval(differences)
    expected = stats.bootstrap(
        (differences,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    _same_bounds(found, (expected.low, expected.high))
    assert found.low > 0, "pairs tell the runs apart"
    assert mean_interval(list(first.values())).low < np.mean(list(second.values())), "means alone don't"


def test_a_difference_changes_its_sign_with_the_order_of_the_runs() -> None:
    first, second = _runs(30)
    assert paired_difference(first, second).mean == pytest.approx(-paired_difference(second, first).mean)


def test_pairs_with_an_undefined_value_are_counted() -> None:
    first, second = _runs(12)
    first["P001"] = math.nan
    second["P004"] = math.nan
    del first["P007"], second["P008"]
    found = paired_difference(first, second)
    assert (found.n, found.undefined) == (8, 4)
    assert "undefined in 4" in found.text()
    assert "too few" in found.text()


def test_a_pooled_ratio_is_that_of_scipys_own_call() -> None:
    generator = np.random.default_rng(1)
    lesions = 1 + generator.poisson(4, 25)
    hits = generator.binomial(lesions, 0.7)
    found = ratio_interval(hits.tolist(), lesions.tolist())
    expected = stats.bootstrap(
        (hits, lesions),
        lambda part, whole: part.sum() / whole.sum(),
        n_resamples=2000,
        paired=True,
        vectorized=False,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    _same_bounds(found, (expected.low, expected.high))
    assert found.mean == pytest.approx(hits.sum() / lesions.sum())
    assert (found.n, found.undefined) == (25, 0)


def test_lesions_of_one_patient_are_drawn_together() -> None:
    """All or none found in each patient: as wide as ten patients make it, not a hundred lesions."""
    all_or_none = ratio_interval([10, 0] * 5, [10] * 10)
    one_each = ratio_interval([1, 0] * 5, [1] * 10)
    _same_bounds(all_or_none, (one_each.low, one_each.high))


def test_patients_without_lesions_say_nothing_of_the_sensitivity() -> None:
    found = ratio_interval([2, 0, 1, 0, 3], [3, 0, 1, 2, 3])
    assert found.mean == pytest.approx(6 / 9)
    assert (found.n, found.undefined) == (4, 1)
    alone = ratio_interval([2, 1, 0, 3], [3, 1, 2, 3])
    _same_bounds(found, (alone.low, alone.high))


@pytest.mark.parametrize(("parts", "wholes"), [([], []), ([0, 0], [0, 0])])
def test_a_ratio_without_a_whole_is_undefined(parts: list[float], wholes: list[float]) -> None:
    found = ratio_interval(parts, wholes)
    assert math.isnan(found.mean)
    assert found.text() == f"undefined in all {len(wholes)}"


def test_equal_shares_have_no_interval() -> None:
    found = ratio_interval([1, 2, 5], [2, 4, 10])
    assert found.text() == "0.50, n = 3"


def _scored(n: int, seed: int = 0) -> tuple[Scores, Labels, list[str]]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(2, size=n)
    return (
        generator.random(n) * 0.6 + 0.4 * labels * generator.random(n),
        labels,
        [str(i) for i in range(n)],
    )


def _mean(scores: Scores, labels: Labels) -> float:  # noqa: ARG001 - the shape of a metric
    return float(scores.mean())


@pytest.mark.parametrize("n", [12, 60])
def test_the_bounds_of_a_metric_are_those_of_scipys_bca(n: int) -> None:
    scores, labels, _ = _scored(n)
    keys = [f"{number:04}" for number in range(n)]
    found = metric_interval(_mean, scores, labels, keys)
    expected = stats.bootstrap(
        (scores,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    _same_bounds(found, (expected.low, expected.high), tolerance=1e-9)
    assert found.mean == pytest.approx(scores.mean())


def test_leaving_patients_out_in_groups_gives_nearly_the_same_bounds() -> None:
    """450 patients: the skew of 200 groups for that of every one alone, as scipy takes it."""
    scores = np.random.default_rng(3).exponential(size=450)
    keys = [f"{number:04}" for number in range(450)]
    found = metric_interval(_mean, scores, np.zeros(450, dtype=np.int64), keys)
    expected = stats.bootstrap(
        (scores,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    _same_bounds(found, (expected.low, expected.high), tolerance=0.02 * (expected.high - expected.low))


def test_rows_of_one_patient_are_drawn_together_wherever_they_lie() -> None:
    """Every row five times under its patient's key says no more than once."""
    scores, labels, patients = _scored(40)
    once = metric_interval(auroc, scores, labels, patients)
    order = np.random.default_rng(9).permutation(200)
    five = metric_interval(
        auroc, np.tile(scores, 5)[order], np.tile(labels, 5)[order], np.tile(patients, 5)[order].tolist()
    )
    assert five.n == once.n == 40
    assert five.mean == pytest.approx(once.mean)
    _same_bounds(five, (once.low, once.high))


def test_a_seed_gives_one_interval_of_a_metric_and_another_seed_another() -> None:
    given = _scored(30)
    assert metric_interval(auroc, *given, seed=4) == metric_interval(auroc, *given, seed=4)
    assert metric_interval(auroc, *given, seed=4).low != metric_interval(auroc, *given, seed=5).low


def test_resamples_with_one_class_alone_are_counted_and_left_out() -> None:
    """One positive in 30 patients: (29 / 30) ** 30 = 36.2 % of the resamples hold none."""
    scores, labels, patients = _scored(30)
    labels[:] = 0
    labels[np.argsort(scores)[18]] = 1
    found = metric_interval(auroc, scores, labels, patients)
    assert found.undefined_resamples / RESAMPLES == pytest.approx((29 / 30) ** 30, abs=0.04)
    assert f"undefined in {found.undefined_resamples} of 2000 resamples" in found.text()
    assert 0 <= found.low < 18 / 29 < found.high <= 1


def test_of_one_class_alone_nothing_is_known() -> None:
    scores, labels, patients = _scored(12)
    labels[:] = 1
    found = metric_interval(auroc, scores, labels, patients)
    assert math.isnan(found.mean)
    assert math.isnan(found.low)
    assert found.undefined_resamples == RESAMPLES


def test_perfect_scores_have_no_interval_instead_of_one_of_no_width() -> None:
    _, labels, patients = _scored(30)
    found = metric_interval(auroc, labels.astype(np.float64), labels, patients)
    assert found.mean == 1.0
    assert math.isnan(found.low)
    assert found.text().startswith("1.00, n = 30")


@pytest.mark.parametrize("n", [1, 2, 3, 9])
def test_few_patients_never_pass_for_many(n: int) -> None:
    for metric in metrics_of(2).values():
        text = metric_interval(metric, *_scored(n, seed=n)).text()
        assert "too few" in text or "[" not in text


@pytest.mark.parametrize("classes", [2, 4])
def test_every_metric_has_an_interval_around_it(classes: int) -> None:
    generator = np.random.default_rng(classes)
    labels = generator.integers(classes, size=90)
    raw = generator.random((90, classes)) + 0.4 * np.eye(classes)[labels]
    scores = raw / raw.sum(axis=1, keepdims=True)
    given = scores[:, 1] if classes == 2 else scores
    patients = [str(row // 2) for row in range(90)]
    for name, metric in metrics_of(classes).items():
        found = metric_interval(metric, given, labels, patients)
        assert found.n == 45
        assert found.low < found.high, name
        # ECE of resamples is larger than that of the data: their bins are noisier.
        assert name == "ece" or found.low <= found.mean <= found.high, name


@pytest.mark.parametrize(
    ("scores", "labels", "patients", "message"),
    [
        ([0.1, 0.2], [0, 1], ["A"], "2 scores, 2 labels and 1 patients"),
        ([0.1], [0, 1], ["A", "B"], "1 scores, 2 labels"),
        ([], [], [], "0 scores"),
        ([0.1, math.nan], [0, 1], ["A", "B"], "1 scores aren't finite"),
        ([0.1, 0.3], [0, 2], ["A", "B"], "Labels from 0 to 2 don't fit scores of 2 classes"),
        ([0.1, 0.3], [-1, 1], ["A", "B"], "Labels from -1"),
        ([[0.1, 0.3, 0.6]], [3], ["A"], "don't fit scores of 3 classes"),
    ],
)
def test_rows_that_do_not_fit_are_refused(
    scores: list[float], labels: list[int], patients: list[str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        metric_interval(auroc, np.array(scores), np.array(labels, dtype=np.int64), patients)
