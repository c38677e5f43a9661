"""Means with intervals."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RELIABLE_FROM = 10
"""Below this many patients an interval is marked as unreliable."""


@dataclass(frozen=True)
class Interval:
    """A mean over patients.

    Parameters
    ----------
    mean
        Of the defined values; NaN where there are none.
    low, high
        95 % interval; NaN below two values or where all are equal.
    n
        Number of defined values.
    undefined
        Number of undefined values, which are counted and left out.
    """

    mean: float
    low: float
    high: float
    n: int
    undefined: int

    def text(self) -> str:
        """Return it with two decimals: ``0.83 [0.78, 0.87], n = 12``."""
        if self.n == 0:
            return f"undefined in all {self.undefined}"
        bounded = np.isfinite([self.low, self.high]).all()
        bounds = f" [{self.low:.2f}, {self.high:.2f}]" if bounded else ""
        note = ", too few for a reliable interval" if bounds and self.n < RELIABLE_FROM else ""
        undefined = f", undefined in {self.undefined}" if self.undefined else ""
        return f"{self.mean:.2f}{bounds}, n = {self.n}{note}{undefined}"


def mean_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the mean and its 95 % interval by bootstrap (BCa, 2000 resamples, seeded).

    Parameters
    ----------
    values
        One a patient; NaN is undefined.
    seed
        Of the resampling.

    Notes
    -----
    Efron, Better Bootstrap Confidence Intervals, JASA 1987.
    """
    given = np.asarray(values, dtype=np.float64)
    defined = given[~np.isnan(given)]
    undefined = len(given) - len(defined)
    mean = float(defined.mean()) if len(defined) else float("nan")
    if len(defined) < 2 or np.ptp(defined) == 0:
        return Interval(mean, float("nan"), float("nan"), len(defined), undefined)
    with warnings.catch_warnings():
        # Of very few values some resamples are constant; the bounds are NaN then, and shown as such.
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            (defined,), np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(seed)
        ).confidence_interval
    return Interval(mean, float(found.low), float(found.high), len(defined), undefined)
