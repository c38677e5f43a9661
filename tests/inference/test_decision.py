"""What is chosen on the validation cases: one temperature for all classes, or one a label."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit, softmax
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from lepton_monai.cases.classes import Holds
from lepton_monai.core.errors import InputError
from lepton_monai.evaluation.calibration import mean_log_odds
from lepton_monai.inference.decision import (
    CALIBRATION,
    Decision,
    calibrated,
    choose_decisions,
    decided,
    log_weights_of,
    read_decisions,
    read_heads,
    write_decisions,
)
from lepton_monai.plans.run import Run
from tests.plans.class_examples import example_classification

NO_WEIGHTS = (0.0, 0.0)


def test_each_label_finds_its_own_temperature_in_what_is_known_of_it() -> None:
    generator = np.random.default_rng(0)
    true = generator.normal(0, 2, (6000, 2))
    targets = (generator.random(true.shape) < 1 / (1 + np.exp(-true))).astype(np.float32)
    targets[::3, 1] = np.nan
    logits = true * [3.0, 0.5]  # three times too sure of the one, half as sure of the other
    first, second = choose_decisions(logits, list(targets), "any", NO_WEIGHTS)
    assert first.temperature == pytest.approx(3.0, rel=0.1)
    assert second.temperature == pytest.approx(0.5, rel=0.1)
    assert (first.n, second.n) == (6000, 4000)
    # The best balanced accuracy of logits that are right lies at a half.
    assert first.threshold == pytest.approx(0.5, abs=0.1)
    found = expit(calibrated(logits, [first, second], "any"))
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-true)), atol=0.05)


def test_of_a_label_that_is_known_of_nobody_nothing_is_chosen() -> None:
    targets = [np.array([at % 2, np.nan], dtype=np.float32) for at in range(4)]
    decisions = choose_decisions(np.zeros((4, 2)), targets, "any", NO_WEIGHTS)
    assert decisions[1] == Decision(log_weights=(0.0,))
    assert decisions[0].n == 4


def test_exclusive_classes_share_a_temperature_and_their_probabilities_sum_to_one() -> None:
    logits = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 0.0], [1.0, 1.0, 4.0]])
    decisions = choose_decisions(logits, list(np.eye(3, dtype=np.float32)), "one", (0.0,) * 3)
    assert len(decisions) == 1
    found = expit(calibrated(logits, [Decision(2.0)], "one"))
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    wanted = np.exp(logits / 2) / np.exp(logits / 2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, wanted)


def _patients(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a finding that 5 % have and a value that tells of it, with a 1 beside it."""
    generator = np.random.default_rng(seed)
    labels = generator.random(count) < 0.05
    values = generator.normal(2.0 * labels, 1.0)
    return torch.tensor(np.stack([values, np.ones(count)], axis=1)), torch.tensor(labels.astype(np.int64))


def _learnt(
    inputs: torch.Tensor, loss: Callable[[torch.Tensor], torch.Tensor], outputs: int
) -> torch.Tensor:
    """Return the coefficients of the logistic regression of the least loss."""
    coefficients = torch.zeros((2, outputs), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([coefficients], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        found = loss(inputs @ coefficients)
        found.backward()
        return found

    optimizer.step(closure)
    return coefficients.detach()


@pytest.mark.parametrize("how", ["class weights", "balanced sampling", "label weights"])
def test_what_a_rare_class_weighed_in_training_is_not_in_its_probability(how: str) -> None:
    inputs, labels = _patients(20_000, seed=0)
    rare = float(labels.double().mean())
    shares: tuple[float, ...] = (1 - rare, rare)
    holds: Holds = "any" if how == "label weights" else "one"
    plan = example_classification().training
    if how == "class weights":
        plan = replace(plan, class_weights=(0.5 / shares[0], 0.5 / shares[1]))
        weights = torch.tensor(plan.class_weights, dtype=torch.float64)
        found = _learnt(inputs, lambda logits: cross_entropy(logits, labels, weight=weights), 2)
    elif how == "balanced sampling":
        plan = replace(plan, sampling="balanced")
        sides = [torch.nonzero(labels == one)[:, 0] for one in (0, 1)]
        drawn = torch.cat([side[torch.arange(20_000) % len(side)] for side in sides])
        found = _learnt(inputs[drawn], lambda logits: cross_entropy(logits, labels[drawn]), 2)
    else:
        plan, shares = replace(plan, class_weights=(shares[0] / shares[1],)), shares[1:]
        weight = torch.tensor(plan.class_weights, dtype=torch.float64)
        truth = labels.double()[:, None]
        found = _learnt(
            inputs, lambda logits: binary_cross_entropy_with_logits(logits, truth, pos_weight=weight), 1
        )
    others, truths = _patients(20_000, seed=1)
    logits = (others @ found).numpy()
    targets = (
        np.eye(2, dtype=np.float32)[truths.numpy()] if holds == "one" else truths.float().numpy()[:, None]
    )
    decisions = choose_decisions(logits, list(targets), holds, log_weights_of(plan, shares))
    raw, honest = (
        float(expit(calibrated(logits, one, holds))[:, -1].mean()) for one in ([Decision()], decisions)
    )
    wanted = float(truths.double().mean())
    print(f"{how}: mean probability {raw:.3f} -> {honest:.3f} where {wanted:.3f} have it")
    assert raw > 0.2
    assert honest == pytest.approx(wanted, abs=0.005)
    assert decisions[0].temperature == pytest.approx(1.0, abs=0.1)
    # The best balanced accuracy lies where both classes are as likely once each counts the same.
    assert decisions[0].threshold == pytest.approx(0.05, abs=0.03)


def test_without_validation_samples_the_weights_are_taken_back_and_decide_as_in_training() -> None:
    (one,) = choose_decisions(np.zeros((0, 2)), [], "one", (0.0, float(np.log(19.0))))
    logits = np.array([[0.0, -0.1], [0.0, 0.1]])
    honest = calibrated(logits, [one], "one")
    assert expit(honest)[1, 1] == pytest.approx(np.exp(0.1) / (np.exp(0.1) + 19.0))
    assert decided(honest, [[one]], "one").argmax(axis=1).tolist() == [0, 1]


def test_of_many_classes_a_rare_one_still_counts_as_much_as_it_was_to() -> None:
    one = Decision(log_weights=(0.0, 0.0, float(np.log(10.0))))
    honest = calibrated(np.array([[1.0, 0.0, 1.2]]), [one], "one")
    assert expit(honest).argmax() == 0
    assert decided(honest, [[one]], "one").tolist() == [[False, False, True]]


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
    decisions = (Decision(1.5, 0.3, 20, 0.1, 0.05, log_weights=(0.7,)), Decision())
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
