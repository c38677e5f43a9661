"""Temperature scaling, on simulated logits whose temperature is known."""

import numpy as np
import pytest

from lepton_monai.core.errors import InputError
from lepton_monai.evaluation.calibration import LIMITS, fit_temperature, probabilities
from lepton_monai.evaluation.classes import Labels, Scores, decide, expected_calibration_error


def _simulated(
    generator: np.random.Generator, n: int, classes: int, temperature: float
) -> tuple[Scores, Labels]:
    """Return logits that are honest once divided by the temperature, and labels drawn from them."""
    shape = (n,) if classes == 2 else (n, classes)
    honest = generator.normal(scale=2.0, size=shape)
    chances = probabilities(honest)
    if classes == 2:
        return honest * temperature, (generator.random(n) < chances).astype(np.int64)
    drawn = (generator.random((n, 1)) > np.cumsum(chances, axis=1)).sum(axis=1)
    return honest * temperature, np.minimum(drawn, classes - 1)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_temperature_of_many_cases_is_found(classes: int, temperature: float) -> None:
    logits, labels = _simulated(np.random.default_rng(classes), 40_000, classes, temperature)
    found = fit_temperature(logits, labels)
    assert found.temperature == pytest.approx(temperature, rel=0.05)
    assert found.n == 40_000
    assert not found.at_limit


@pytest.mark.parametrize("classes", [2, 5])
def test_no_temperature_nearby_is_likelier(classes: int) -> None:
    logits, labels = _simulated(np.random.default_rng(3), 150, classes, 2.2)
    best = fit_temperature(logits, labels)
    assert best.nll_after <= best.nll_before
    for factor in (0.97, 0.999, 1.001, 1.03):
        other = fit_temperature(logits / (best.temperature * factor), labels)
        assert other.nll_before > best.nll_after
        assert other.temperature * factor == pytest.approx(1.0, abs=1e-4)


def test_1000_simulated_networks_become_honest_and_never_change_their_decision() -> None:
    """Fitted on 200 cases and judged on 200 others; temperatures from 1/3 to 4, but not near 1."""
    generator = np.random.default_rng(0)
    before, after = [], []
    for _ in range(1000):
        temperature = float(generator.choice([generator.uniform(1 / 3, 0.7), generator.uniform(1.5, 4.0)]))
        classes = int(generator.integers(2, 6))
        logits, labels = _simulated(generator, 400, classes, temperature)
        found = fit_temperature(logits[:200], labels[:200]).temperature
        raw, scaled = probabilities(logits[200:]), probabilities(logits[200:], found)
        np.testing.assert_array_equal(decide(raw), decide(scaled))
        before.append(expected_calibration_error(raw, labels[200:]))
        after.append(expected_calibration_error(scaled, labels[200:]))
    fell = np.mean(np.less(after, before))
    print(f"mean ECE {np.mean(before):.3f} -> {np.mean(after):.3f}, fell in {fell:.1%} of 1000")
    assert np.mean(after) < np.mean(before)
    assert fell > 0.9


def test_an_honest_network_stays_as_it_is() -> None:
    logits, labels = _simulated(np.random.default_rng(5), 5000, 4, 1.0)
    found = fit_temperature(logits, labels)
    assert found.temperature == pytest.approx(1.0, abs=0.06)
    assert found.ece_after == pytest.approx(found.ece_before, abs=0.01)


def test_logits_that_are_always_wrong_stop_at_the_highest_temperature() -> None:
    logits = np.array([-2.0, -1.0, 1.5, 3.0])
    found = fit_temperature(logits, (logits < 0).astype(np.int64))
    assert found.at_limit
    assert found.temperature == pytest.approx(LIMITS[1], rel=0.01)


@pytest.mark.parametrize("labels", [[0, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]])
def test_cases_without_an_error_or_of_one_class_leave_the_networks_own_confidence(
    labels: list[int],
) -> None:
    logits = np.array([-2.0, -1.0, 1.5, 3.0])
    for given in (logits, np.stack([-logits, logits], axis=1)):
        found = fit_temperature(given, np.array(labels))
        assert found.at_limit
        assert found.temperature == 1.0
        assert (found.nll_after, found.ece_after) == (found.nll_before, found.ece_before)


@pytest.mark.parametrize("logits", [np.zeros(0), np.array([0.3, np.nan]), np.array([[1.0, np.inf]])])
def test_rubbish_is_refused(logits: Scores) -> None:
    with pytest.raises(InputError, match="finite logits"):
        fit_temperature(logits, np.zeros(len(logits), dtype=np.int64))


def test_extreme_logits_have_finite_figures() -> None:
    logits = np.array([[900.0, -900.0, 0.0], [-900.0, 900.0, 1.0], [0.0, 5.0, 900.0]])
    found = fit_temperature(logits, np.array([0, 1, 1]))
    assert np.isfinite([found.nll_before, found.nll_after, found.ece_before, found.ece_after]).all()
