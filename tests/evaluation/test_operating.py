"""The operating point."""

import numpy as np
import pytest

from lepton_monai.evaluation.classes import balanced_accuracy
from lepton_monai.evaluation.operating import best_threshold


def test_the_threshold_lies_halfway_between_classes_that_part() -> None:
    scores, labels = np.array([0.1, 0.2, 0.6, 0.9]), np.array([0, 0, 1, 1])
    assert best_threshold(scores, labels) == pytest.approx(0.4)


def test_no_other_threshold_is_better() -> None:
    generator = np.random.default_rng(4)
    for _ in range(20):
        labels = generator.integers(0, 2, 30)
        scores = np.clip(generator.normal(0.4 + 0.2 * labels, 0.2), 0, 1)
        best = balanced_accuracy(scores, labels, best_threshold(scores, labels))
        tried = [balanced_accuracy(scores, labels, one) for one in np.linspace(0.001, 0.999, 999)]
        assert best >= max(tried) - 1e-12


@pytest.mark.parametrize(("scores", "labels"), [([0.1, 0.9], [1, 1]), ([0.3, 0.3], [0, 1]), ([], [])])
def test_where_nothing_can_be_chosen_it_is_a_half(scores: list[float], labels: list[int]) -> None:
    assert best_threshold(np.array(scores), np.array(labels, dtype=int)) == 0.5
