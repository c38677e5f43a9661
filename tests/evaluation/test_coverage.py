"""How often a 95 % interval holds the truth, in simulations whose truth is known. Counts are printed."""

import numpy as np
import pytest
from scipy import stats

from lepton_monai.evaluation.classes import auroc
from lepton_monai.evaluation.intervals import (
    Interval,
    mean_interval,
    metric_interval,
    paired_difference,
    ratio_interval,
)

SIMULATIONS = 2000


def _covered(intervals: list[Interval], truth: float) -> float:
    share = float(np.mean([one.low <= truth <= one.high for one in intervals]))
    undefined = sum(not np.isfinite(one.low) for one in intervals)
    print(f"{share:.4f} of {len(intervals)} intervals hold {truth}, {undefined} have no bounds")
    return share


@pytest.mark.nightly
@pytest.mark.parametrize("n", [50, 100])
def test_of_100_intervals_of_an_auroc_91_to_97_hold_the_truth(n: int) -> None:
    """Two normal distributions of unit variance whose distance gives 0.8 by the formula."""
    generator = np.random.default_rng(n)
    distance = np.sqrt(2) * stats.norm.ppf(0.8)
    patients = [str(number) for number in range(n)]
    found = []
    for _ in range(SIMULATIONS):
        labels = generator.integers(2, size=n)
        scores = generator.normal(size=n) + distance * labels
        found.append(metric_interval(auroc, scores, labels, patients))
    assert 0.91 <= _covered(found, 0.8) <= 0.97


@pytest.mark.nightly
def test_rows_of_one_patient_widen_the_interval_as_they_must() -> None:
    """Four rows a patient that say nearly the same: 40 patients, not 160 independent rows."""
    generator = np.random.default_rng(8)
    distance = np.sqrt(2) * stats.norm.ppf(0.8)
    patients = np.repeat(np.arange(40), 4).astype(str).tolist()
    by_patient, by_row = [], []
    for _ in range(SIMULATIONS // 4):
        labels = np.repeat(generator.integers(2, size=40), 4)
        shared = np.repeat(generator.normal(size=40), 4)
        scores = np.sqrt(0.9) * shared + np.sqrt(0.1) * generator.normal(size=160) + distance * labels
        by_patient.append(metric_interval(auroc, scores, labels, patients))
        by_row.append(metric_interval(auroc, scores, labels, [str(row) for row in range(160)]))
    assert 0.91 <= _covered(by_patient, 0.8) <= 0.97
    assert _covered(by_row, 0.8) < 0.8


@pytest.mark.nightly
@pytest.mark.parametrize("n", [24, 60])
def test_of_100_intervals_of_a_mean_dice_91_to_97_hold_the_truth(n: int) -> None:
    generator = np.random.default_rng(n)
    found = [mean_interval(generator.beta(5, 2, n).tolist()) for _ in range(SIMULATIONS)]
    assert 0.91 <= _covered(found, 5 / 7) <= 0.97


@pytest.mark.nightly
@pytest.mark.parametrize("n", [24, 60])
def test_of_100_intervals_of_a_paired_difference_91_to_97_hold_the_truth(n: int) -> None:
    generator = np.random.default_rng(n)
    found = []
    for _ in range(SIMULATIONS):
        shared = generator.beta(5, 2, n)
        first, second = shared * generator.beta(9, 1, n), shared * generator.beta(8, 2, n)
        keys = [str(number) for number in range(n)]
        found.append(
            paired_difference(
                dict(zip(keys, first.tolist(), strict=True)), dict(zip(keys, second.tolist(), strict=True))
            )
        )
    assert 0.91 <= _covered(found, 5 / 7 * 0.1) <= 0.97


@pytest.mark.nightly
@pytest.mark.parametrize("n", [24, 60])
def test_of_100_intervals_of_a_pooled_sensitivity_91_to_97_hold_the_truth(n: int) -> None:
    """Patients differ in how many lesions they have and in how well these are found, independently."""
    generator = np.random.default_rng(n)
    found = []
    for _ in range(SIMULATIONS):
        lesions = generator.poisson(3, n)
        hits = generator.binomial(lesions, generator.beta(7, 3, n))
        found.append(ratio_interval(hits.tolist(), lesions.tolist()))
    assert 0.91 <= _covered(found, 0.7) <= 0.97
