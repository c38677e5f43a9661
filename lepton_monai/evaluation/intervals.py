"""Means, differences and pooled ratios over patients, with intervals."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from lepton_monai.core.errors import InputError
from lepton_monai.evaluation.classes import Labels, Metric

Values = NDArray[np.float64]
Rows = NDArray[np.integer[Any]]

RESAMPLES = 2000

JACKKNIFE_GROUPS = 200
"""Patients are left out one by one up to here, in groups beyond: the skew that BCa wants is the same, and
30,000 patients needn't be counted 30,000 times."""

RELIABLE_FROM = 10
"""Below this many patients an interval is marked as unreliable."""


@dataclass(frozen=True)
class Interval:
    """A figure of all patients.

    Parameters
    ----------
    mean
        Of the defined values, or a figure of all of them together (a pooled ratio, an AUROC); NaN where
        there are none.
    low, high
        95 % interval; NaN below two values or where all are equal.
    n
        Number of patients with a defined value.
    undefined
        Number of those without, who are counted and left out.
    undefined_resamples
        Number of bootstrap resamples in which the figure isn't defined, left out of the interval.
    """

    mean: float
    low: float
    high: float
    n: int
    undefined: int
    undefined_resamples: int = 0

    def text(self, decimals: int = 2) -> str:
        """Return it with two decimals, or more: ``0.83 [0.78, 0.87], n = 12``."""
        if np.isnan(self.mean):
            return f"undefined in all {self.n + self.undefined}"
        bounded = np.isfinite([self.low, self.high]).all()
        bounds = f" [{self.low:.{decimals}f}, {self.high:.{decimals}f}]" if bounded else ""
        note = ", too few for a reliable interval" if bounds and self.n < RELIABLE_FROM else ""
        undefined = f", undefined in {self.undefined}" if self.undefined else ""
        resamples = (
            f", undefined in {self.undefined_resamples} of {RESAMPLES} resamples"
            if self.undefined_resamples
            else ""
        )
        return f"{self.mean:.{decimals}f}{bounds}, n = {self.n}{note}{undefined}{resamples}"


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
    mean = float(defined.mean()) if len(defined) else float("nan")
    low, high = _bounds((defined,), np.mean, varies=_vary(defined), seed=seed)
    return Interval(mean, low, high, len(defined), len(given) - len(defined))


def paired_difference(first: Mapping[str, float], second: Mapping[str, float], seed: int = 0) -> Interval:
    """Return the mean over patients of `first` less `second`, two runs on the same patients.

    Parameters
    ----------
    first, second
        One value for every patient, by the patient's key. A pair is undefined, counted and left out where
        either value is NaN or only one run has the patient.
    seed
        Of the resampling: of whole pairs.
    """
    undefined = float("nan")
    patients = sorted({*first, *second})
    return mean_interval(
        [first.get(one, undefined) - second.get(one, undefined) for one in patients], seed=seed
    )


def ratio_interval(parts: Sequence[float], wholes: Sequence[float], seed: int = 0) -> Interval:
    """Return the sum of parts over the sum of wholes, such as lesions hit over lesions, and its interval.

    Parameters
    ----------
    parts, wholes
        One of each a patient. A patient whose whole is 0 says nothing of the ratio: it is counted as
        undefined and left out. Lesions of one patient are drawn together.
    seed
        Of the resampling.
    """
    part, whole = (np.asarray(given, dtype=np.float64) for given in (parts, wholes))
    counts = whole > 0
    n = int(counts.sum())
    kept = (part[counts], whole[counts])
    shares = kept[0] / kept[1]
    low, high = _bounds(kept, _ratio, varies=_vary(shares), seed=seed)
    ratio = float(kept[0].sum() / kept[1].sum()) if n else float("nan")
    return Interval(ratio, low, high, n, len(whole) - n)


def metric_interval(
    metric: Metric, scores: Values, labels: Labels, patients: Sequence[str], seed: int = 0
) -> Interval:
    """Return a figure of classification and its 95 % interval, resampled by patient (BCa, seeded).

    Parameters
    ----------
    metric
        Of :mod:`lepton_monai.evaluation.classes`.
    scores, labels
        ``(n,)`` or ``(n, c)``, and ``(n,)``.
    patients
        ``(n,)`` keys: rows of one patient are drawn together. Where the data have no patients, the
        images' own keys, and say so.
    seed
        Of the resampling.

    Raises
    ------
    InputError
        The lengths differ, a score isn't finite, or a label is no class of the scores.

    Notes
    -----
    Percentiles alone cover less: 91.9 % of 2,000 simulations with an AUROC of 0.8 in 50 patients, 30 % of
    them positive, against 94.9 % with BCa.
    """
    _require_rows(scores, labels, patients)
    return rows_interval(lambda rows: metric(scores[rows], labels[rows]), patients, seed)


def rows_interval(figure: Callable[[Rows], float], patients: Sequence[str], seed: int = 0) -> Interval:
    """Return a figure of rows and its 95 % interval, resampled by patient (BCa, seeded).

    Parameters
    ----------
    figure
        Of the rows with these numbers; NaN where it isn't defined.
    patients, seed
        As `metric_interval` has them.
    """
    keys, patient = np.unique(np.asarray(patients), return_inverse=True)
    rows = np.split(np.argsort(patient, kind="stable"), np.cumsum(np.bincount(patient))[:-1])
    value, n = figure(np.arange(len(patients))), len(keys)
    if n < 2:
        return Interval(value, float("nan"), float("nan"), n, 0)

    def of(drawn: Rows) -> float:
        return figure(np.concatenate([rows[one] for one in drawn]))

    generator = np.random.default_rng(seed)
    resampled = np.array([of(generator.integers(n, size=n)) for _ in range(RESAMPLES)])
    groups = np.array_split(np.arange(n), min(n, JACKKNIFE_GROUPS))
    left_out = np.array([of(np.delete(np.arange(n), group)) for group in groups])
    defined = ~np.isnan(resampled)
    low, high = _bca(value, resampled[defined], left_out[~np.isnan(left_out)])
    return Interval(value, low, high, n, 0, int((~defined).sum()))


def share_interval(hits: int, n: int) -> Interval:
    """Return a share of patients and its 95 % interval by Wilson's score.

    For one observation a patient alone: it is defined where all are right, which no resampling is.

    Parameters
    ----------
    hits, n
        Patients that are right, of so many; 0 of 0 is undefined.
    """
    if not n:
        return Interval(float("nan"), float("nan"), float("nan"), 0, 0)
    found = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return Interval(hits / n, float(found.low), float(found.high), n, 0)


def _require_rows(scores: Values, labels: Labels, patients: Sequence[str]) -> None:
    if not len(scores) == len(labels) == len(patients) or not len(labels):
        message = f"{len(scores)} scores, {len(labels)} labels and {len(patients)} patients don't match."
        raise InputError(message)
    if not np.isfinite(scores).all():
        message = f"{int((~np.isfinite(scores)).sum())} scores aren't finite numbers."
        raise InputError(message)
    classes = 2 if scores.ndim == 1 else scores.shape[1]
    if labels.min() < 0 or labels.max() >= classes:
        message = f"Labels from {labels.min()} to {labels.max()} don't fit scores of {classes} classes."
        raise InputError(message)


def _bca(value: float, resampled: Values, left_out: Values) -> tuple[float, float]:
    """Return the bias-corrected and accelerated 95 % interval (Efron 1987, equations 6.4 to 6.6).

    A figure that is never negative, such as a calibration error, is larger in nearly every resample: the
    correction then ends below the figure itself. The interval is widened to hold it.
    """
    undefined = float("nan"), float("nan")
    if len(resampled) < 2 or len(left_out) < 2 or np.ptp(resampled) == 0:
        return undefined
    below = (np.mean(resampled < value) + np.mean(resampled <= value)) / 2
    if not 0 < below < 1:
        return undefined
    deviations = left_out.mean() - left_out
    squares = np.sum(deviations**2)
    acceleration = np.sum(deviations**3) / (6 * squares**1.5) if squares else 0.0
    bias = stats.norm.ppf(below)
    shifted = bias + stats.norm.ppf([0.025, 0.975])
    low, high = np.quantile(resampled, stats.norm.cdf(bias + shifted / (1 - acceleration * shifted)))
    return min(float(low), value), max(float(high), value)


def _ratio(parts: Values, wholes: Values, axis: int = -1) -> Values:
    return np.asarray(parts.sum(axis=axis) / wholes.sum(axis=axis))


def _vary(values: Values) -> bool:
    return len(values) > 1 and bool(np.ptp(values) > 0)


def _bounds(
    samples: tuple[Values, ...], statistic: Callable[..., object], *, varies: bool, seed: int
) -> tuple[float, float]:
    """Return the 95 % interval, samples drawn together; NaN where every resample would be the same."""
    if not varies:
        return float("nan"), float("nan")
    with warnings.catch_warnings():
        # Of very few values some resamples are constant; the bounds are NaN then, and shown as such.
        warnings.simplefilter("ignore")
        found = stats.bootstrap(
            samples,
            statistic,
            n_resamples=RESAMPLES,
            paired=len(samples) > 1,
            vectorized=True,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return float(found.low), float(found.high)
