"""What image and clinical values are worth together, beside each of them alone."""

from collections.abc import Sequence
from dataclasses import dataclass

from lepton_monai.evaluation.classes import Labels, Metric, Scores, metrics_of
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

    def figure(self, name: str) -> tuple[Metric, Scores]:
        """Return a figure by its name, and the scores as it takes them."""
        classes = self.probabilities.shape[1]
        scores = self.probabilities[:, 1] if classes == 2 else self.probabilities
        return metrics_of(classes, self.threshold)[name], scores


def figures_alone(one: Judged, labels: Labels, keys: Sequence[str]) -> dict[str, Interval]:
    """Return the figures of one part by itself."""
    return {name: metric_interval(*one.figure(name), labels, keys) for name in COMPARED}


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
    return {
        name: metric_difference(first.figure(name), second.figure(name), labels, keys) for name in COMPARED
    }
