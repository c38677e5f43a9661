"""Means with intervals, against scipy and a formula."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from lepton_monai.evaluation.intervals import RELIABLE_FROM, Interval, mean_interval, rows_interval


def _values(n: int, seed: int = 4) -> NDArray[np.float64]:
    return np.asarray(np.random.default_rng(seed).beta(5, 2, n))


@pytest.mark.parametrize("n", [3, 9, 10, 24, 150])
def test_the_interval_is_that_of_scipys_own_call(n: int) -> None:
    values = _values(n)
    expected = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=2000,
        confidence_level=0.95,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    found = mean_interval(values.tolist())
    assert (found.low, found.high) == (expected.low, expected.high)
    assert found.mean == pytest.approx(values.mean(), abs=1e-15)
    assert (found.n, found.undefined) == (n, 0)


def test_many_values_have_nearly_the_interval_of_the_normal_distribution() -> None:
    values = _values(400)
    found = mean_interval(values.tolist())
    wide = 1.96 * values.std(ddof=1) / 20
    assert found.low == pytest.approx(values.mean() - wide, abs=wide / 10)
    assert found.high == pytest.approx(values.mean() + wide, abs=wide / 10)


def test_a_seed_gives_one_interval_and_another_seed_another() -> None:
    values = _values(12).tolist()
    assert mean_interval(values) == mean_interval(values)
    assert mean_interval(values, seed=1) == mean_interval(values, seed=1)
    assert mean_interval(values, seed=1).low != mean_interval(values, seed=2).low


def test_nothing_seeds_the_world() -> None:
    before = repr(np.random.get_state())  # noqa: NPY002 - this is what must not change
    mean_interval(_values(12).tolist())
    assert repr(np.random.get_state()) == before  # noqa: NPY002


@settings(max_examples=15, deadline=None)
@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), max_size=12))
def test_undefined_values_are_counted_and_left_out(values: list[float]) -> None:
    defined = [value for value in values if not math.isnan(value)]
    found = mean_interval(values)
    assert found.n == len(defined)
    assert found.undefined == len(values) - len(defined)
    alone = mean_interval(defined)
    np.testing.assert_equal((found.mean, found.low, found.high), (alone.mean, alone.low, alone.high))
    if defined:
        assert found.mean == pytest.approx(np.mean(defined))


@pytest.mark.parametrize("values", [[0.5] * 12, [0.1] * 3, [1.0, 1.0], [0.7]])
def test_equal_values_have_a_mean_and_no_interval(values: list[float]) -> None:
    found = mean_interval(values)
    assert found.mean == pytest.approx(values[0])
    assert math.isnan(found.low)
    assert math.isnan(found.high)
    assert found.text() == f"{values[0]:.2f}, n = {len(values)}"


@pytest.mark.parametrize("values", [[], [math.nan] * 4])
def test_where_nothing_is_defined_the_mean_is_not_either(values: list[float]) -> None:
    found = mean_interval(values)
    assert math.isnan(found.mean)
    assert found.text() == f"undefined in all {len(values)}"


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (Interval(0.8312, 0.7849, 0.8661, 12, 0), "0.83 [0.78, 0.87], n = 12"),
        (Interval(0.8312, 0.7849, 0.8661, 10, 2), "0.83 [0.78, 0.87], n = 10, undefined in 2"),
        (
            Interval(0.8312, 0.7849, 0.8661, 9, 0),
            "0.83 [0.78, 0.87], n = 9, too few for a reliable interval",
        ),
        (Interval(0.5, math.nan, math.nan, 3, 0), "0.50, n = 3"),
        (Interval(0.5, 0.4, math.nan, 3, 1), "0.50, n = 3, undefined in 1"),
        (Interval(math.nan, math.nan, math.nan, 0, 3), "undefined in all 3"),
    ],
)
def test_the_text_says_how_many_and_whether_they_are_too_few(interval: Interval, text: str) -> None:
    assert interval.text() == text


@pytest.mark.parametrize("n", [2, 3, 5, RELIABLE_FROM - 1])
def test_few_values_never_pass_for_many(n: int) -> None:
    text = mean_interval(_values(n).tolist()).text()
    assert "too few" in text or "[" not in text


def test_ten_values_are_enough() -> None:
    assert "too few" not in mean_interval(_values(RELIABLE_FROM).tolist()).text()


@pytest.mark.parametrize("values", [[0.0, 1.0], [0.2, 0.2, 0.9], [0.0] * 9 + [1.0], [0.3, 0.3 + 1e-16]])
def test_lopsided_values_give_an_interval_around_the_mean_or_none(values: list[float]) -> None:
    found = mean_interval(values)
    if math.isfinite(found.low) and math.isfinite(found.high):
        assert min(values) <= found.low <= found.mean <= found.high <= max(values)
    assert "nan" not in found.text()


def test_an_interval_holds_its_own_figure_where_all_resamples_are_larger() -> None:
    """The error of a calibration that is right: never negative, larger in nearly every resample."""
    generator = np.random.default_rng(0)
    for seed in range(10):
        probabilities = generator.uniform(size=120)
        labels = (generator.uniform(size=120) < probabilities).astype(float)
        groups = np.argsort(np.argsort(probabilities)) * 10 // 120

        def error(rows: NDArray[np.integer[Any]]) -> float:
            gaps = [
                (labels[rows][groups[rows] == one] - probabilities[rows][groups[rows] == one]).sum()  # noqa: B023 - used at once
                for one in range(10)
            ]
            return float(np.abs(gaps).sum() / len(rows))

        found = rows_interval(error, [str(one) for one in range(120)], seed)
        assert found.low <= found.mean <= found.high
