"""What image and clinical values are worth together, beside each of them alone; and two models in pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lepton_monai.cases.classes import Holds
from lepton_monai.evaluation.classes import Scores, metrics_of
from lepton_monai.evaluation.classification import mean_figure
from lepton_monai.evaluation.intervals import Interval, Rows, rows_interval

COMPARED = ("auroc", "balanced_accuracy")
"""Figures that are told of a part alone, and that two models are compared by."""


@dataclass(frozen=True, eq=False)
class Judged:
    """What is compared.

    Parameters
    ----------
    probabilities, targets
        ``(n, classes)``.
    holds
        How many of the classes do.
    thresholds
        Of class 1 where there are two; one a label where any may hold.
    """

    probabilities: Scores
    targets: Scores
    holds: Holds
    thresholds: Sequence[float]

    def figure(self, name: str) -> Callable[[Rows], float]:
        """Return a figure of rows by its name; of several labels the mean over them."""
        if self.holds == "any":
            each = [metrics_of(2, threshold)[name] for threshold in self.thresholds]
            return mean_figure(each, self.probabilities, self.targets)
        classes = self.probabilities.shape[1]
        scores = self.probabilities[:, 1] if classes == 2 else self.probabilities
        metric, labels = metrics_of(classes, self.thresholds[0])[name], self.targets.argmax(axis=1)
        return lambda rows: metric(scores[rows], labels[rows])


def compared_figures(one: Judged, keys: Sequence[str]) -> dict[str, Interval]:
    """Return the figures that are compared, of one part or model by itself."""
    return {name: rows_interval(one.figure(name), keys) for name in COMPARED}


def paired_figures(first: Judged, second: Judged, keys: Sequence[str]) -> dict[str, Interval]:
    """Return the first's figures less the second's, paired by patient: above 0 the first is better.

    Parameters
    ----------
    first, second
        Of the same samples.
    keys
        ``(n,)`` of the patients, who are drawn with all their rows, the same for both.
    """
    return {name: rows_interval(_difference(first, second, name), keys) for name in COMPARED}


def _difference(first: Judged, second: Judged, name: str) -> Callable[[Rows], float]:
    one, other = first.figure(name), second.figure(name)
    return lambda rows: one(rows) - other(rows)
