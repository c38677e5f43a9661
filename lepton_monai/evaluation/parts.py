"""What image and clinical values are worth together, beside each of them alone; and two models in pairs."""

from collections.abc import Callable, Sequence

from lepton_monai.evaluation.classification import Judged
from lepton_monai.evaluation.intervals import Interval, Rows, rows_interval

COMPARED = ("auroc", "balanced_accuracy")
"""Figures that are told of a part alone, and that two models are compared by."""


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
