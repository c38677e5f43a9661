"""What is chosen on the validation cases: one temperature for all classes, or one a label."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit, softmax

from lepton_monai.core.errors import InputError
from lepton_monai.evaluation.calibration import mean_log_odds
from lepton_monai.inference.decision import (
    CALIBRATION,
    Decision,
    calibrated,
    choose_decisions,
    read_decisions,
    read_heads,
    write_decisions,
)
from lepton_monai.plans.run import Run


def test_each_label_finds_its_own_temperature_in_what_is_known_of_it() -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(0, 2, (6000, 2))
    targets = (generator.random(true.shape) < 1 / (1 + np.exp(-true))).astype(np.float32)
    targets[::3, 1] = np.nan
    logits = true * [3.0, 0.5]  # three times too sure of the one, half as sure of the other
    first, second = choose_decisions(logits, list(targets), "any")
    assert first.temperature == pytest.approx(3.0, rel=0.1)
    assert second.temperature == pytest.approx(0.5, rel=0.1)
    assert (first.n, second.n) == (6000, 4000)
    # The best balanced accuracy of logits that are right lies at a half.
    assert first.threshold == pytest.approx(0.5, abs=0.1)
    found = expit(calibrated(logits, [first, second], "any"))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-true)), atol=0.05)


def test_of_a_label_that_is_known_of_nobody_nothing_is_chosen() -> None:
    targets = [np.array([at % 2, np.nan], dtype=np.float32) for at in range(4)]
    decisions = choose_decisions(np.zeros((4, 2)), targets, "any")
    assert decisions[1] == Decision()
    assert decisions[0].n == 4


def test_exclusive_classes_share_a_temperature_and_their_probabilities_sum_to_one() -> None:
    logits = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 4.0]])
    decisions = choose_decisions(logits, list(np.eye(3, dtype=np.float32)), "one")
    assert len(decisions) == 1
    found = expit(calibrated(logits, [Decision(2.0)], "one"))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    wanted = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted)


def test_networks_that_decide_together_have_the_log_odds_of_their_mean_probability() -> None:
    logits = np.random.default_rng(1).normal(0, 4, (3, 50, 4))
    each = [calibrated(one, [Decision(at)], "one") for at, one in enumerate(logits, start=1)]
    wanted = np.mean([softmax(one / at, axis=1) for at, one in enumerate(logits, start=1)], axis=0)
    np.testing.assert_allclose(expit(mean_log_odds(np.stack(each))), wanted, rtol=1e-9)
    two = np.array([[[40.0, 50.0]], [[60.0, 50.0]]])
    # Probabilities that are 1 to every digit, and the mean of what they lack is still known.
    np.testing.assert_allclose(mean_log_odds(two)[0, 1], 50.0)
    np.testing.assert_allclose(mean_log_odds(two)[0, 0], 40.0 + np.log(2), rtol=1e-6)


def test_decisions_are_read_as_they_were_written_and_older_ones_refused_by_name(tmp_path: Path) -> None:
    run = Run(tmp_path)
    decisions = (Decision(1.5, 0.3, 20, 0.1, 0.05), Decision())
    write_decisions(run, (decisions,))
    assert read_decisions(run) == decisions
    three = (decisions, (Decision(2.0), Decision()), (Decision(), Decision(3.0)))
    write_decisions(run, three)
    assert read_heads(run) == three
    path = tmp_path / CALIBRATION
    path.write_text('{"schema_version": 1, "temperature": 1.5}', encoding="utf-8")
    with pytest.raises(InputError, match="schema version 1; this version reads 2"):
        read_decisions(run)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="no whole calibration"):
        read_decisions(run)
