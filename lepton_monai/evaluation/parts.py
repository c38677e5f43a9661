"""What image and clinical values are worth together, beside each of them alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_monai.evaluation.classes import Labels, Scores, metrics_of
from lepton_monai.evaluation.intervals import Interval, metric_difference, metric_interval

COMPARED = ("auroc", "balanced_accuracy")
"""Figures that are told of a part alone, and that two models are compared by."""


@dataclass(frozen=True)
class Judged:
    """What is compared.

    Parameters
    ----------
    probabilities
        ``(n, classes)``.
    threshold
        Of class 1 where there are two.
    """

    probabilities: Scores
    threshold: float

    @property
    def scores(self) -> Scores:
        """As the figures take them."""
        return self.probabilities[:, 1] if self.probabilities.shape[1] == 2 else self.probabilities


def figures_alone(one: Judged, labels: Labels, keys: Sequence[str]) -> dict[str, Interval]:
    """Return the figures of one part by itself."""
    metrics = metrics_of(one.probabilities.shape[1], one.threshold)
    return {name: metric_interval(metrics[name], one.scores, labels, keys) for name in COMPARED}


def paired_figures(
    first: Judged, second: Judged, labels: Labels, keys: Sequence[str]
) -> dict[str, Interval]:
    """Return the first's figures less the second's, paired by patient: above 0 the first is better.

    Parameters
    ----------
    first, second
        Of the same samples.
    labels, keys
        ``(n,)`` class ids, and whose the samples are.
    """
    both = [(metrics_of(one.probabilities.shape[1], one.threshold), one.scores) for one in (first, second)]
    return {
        name: metric_difference(*((metrics[name], scores) for metrics, scores in both), labels, keys)
        for name in COMPARED
    }
