"""Temperature scaling: one number that makes a network's confidence honest."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special

from lepton_monai.core.errors import InputError
from lepton_monai.core.wording import counted
from lepton_monai.evaluation.classes import Labels, Scores, decide, expected_calibration_error

LIMITS = (0.05, 20.0)
"""Of what is tried. Logits that separate the classes without error would ask for 0, useless ones for
infinity; networks need 1 to 4 (Guo et al. 2017, section 5)."""


@dataclass(frozen=True)
class Calibration:
    """A temperature and what it did to the cases that it was fitted on.

    Parameters
    ----------
    temperature
        Divide logits by it. Above 1 the network was too sure of itself.
        1 where the best would be none at all (see `fit_temperature`).
    nll_before, nll_after
        Mean negative log likelihood.
    ece_before, ece_after
        Expected calibration error. It isn't what is minimised, so that it may rise on few cases.
    n
        Number of cases.
    at_limit
        The best temperature would lie outside `LIMITS`, or one class alone is there: the cases are too few,
        too easy or too hard to tell.
    """

    temperature: float
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float
    n: int
    at_limit: bool


def fit_temperature(logits: Scores, labels: Labels) -> Calibration:
    """Find the temperature that makes the labels most likely.

    Parameters
    ----------
    logits
        ``(n,)`` of class 1, or ``(n, c)``; of validation cases, never of training or test cases.
    labels
        ``(n,)`` class ids from 0 on.

    Raises
    ------
    InputError
        There is no case, or a logit isn't finite.

    Notes
    -----
    Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The likelihood has one optimum, for
    it is concave in 1 / T.

    Cases that the logits tell apart without error, and cases of one class, say nothing of how sure a
    network may be: their likelihood rises until every probability is 0 or 1. The network's own confidence
    stays then, T = 1, for a small sample without an error is no proof that there will be none.
    """
    if not len(labels) or not np.isfinite(logits).all():
        given = counted(len(labels), "case")
        message = f"A temperature needs finite logits of at least one case; given: {given}."
        raise InputError(message)
    low, high = np.log(LIMITS)
    found = optimize.minimize_scalar(
        lambda log: _nll(logits / np.exp(log), labels),
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-6},
    )
    without_error = bool((decide(probabilities(logits)) == labels).all())
    is_open = without_error or len(np.unique(labels)) == 1 or found.x - low < 1e-3
    temperature = 1.0 if is_open else float(np.exp(found.x))
    return Calibration(
        temperature=temperature,
        nll_before=_nll(logits, labels),
        nll_after=_nll(logits / temperature, labels),
        ece_before=expected_calibration_error(probabilities(logits), labels),
        ece_after=expected_calibration_error(probabilities(logits, temperature), labels),
        n=len(labels),
        at_limit=bool(is_open or high - found.x < 1e-3),
    )


def probabilities(logits: Scores, temperature: float = 1.0) -> Scores:
    """Turn logits into probabilities: a sigmoid of ``(n,)``, a softmax of ``(n, c)``.

    No temperature changes which class is decided for.
    """
    return np.asarray(special.expit(log_odds(logits, temperature)))


def log_odds(logits: Scores, temperature: float = 1.0) -> Scores:
    """Return the log-odds of class 1, or of each class against all others, in the shape of the logits.

    Their sigmoid is the probability. Where that is 1 for many, they still tell who is likelier.
    """
    scaled = logits / temperature
    if logits.ndim == 1:
        return scaled
    classes = range(logits.shape[1])
    others = [special.logsumexp(np.delete(scaled, one, axis=1), axis=1) for one in classes]
    return np.asarray(scaled - np.stack(others, axis=1))


def mean_log_odds(each: Scores) -> Scores:
    """Return the log-odds of the mean of probabilities, whose log-odds lie along the first axis."""
    sides = (special.logsumexp(special.log_expit(one), axis=0) for one in (each, -each))
    return np.asarray(np.subtract(*sides))


def _nll(logits: Scores, labels: Labels) -> float:
    if logits.ndim == 1:
        return float(-special.log_expit(np.where(labels == 1, logits, -logits)).mean())
    return float(-special.log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean())
