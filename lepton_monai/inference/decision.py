"""From logits to honest probabilities and a decision: what was chosen on the validation cases."""

import json
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass
from scipy import special

from lepton_monai.cases.classes import Holds
from lepton_monai.core.errors import InputError
from lepton_monai.core.files import write_json
from lepton_monai.evaluation.calibration import fit_temperature, log_odds, probabilities
from lepton_monai.evaluation.classes import Labels
from lepton_monai.evaluation.operating import best_threshold
from lepton_monai.labels.tables import Target
from lepton_monai.plans.classification import PARTS, ClassTrainingPlan
from lepton_monai.plans.run import Run

Logits = NDArray[np.float64]

CALIBRATION = "calibration.json"
SCHEMA = 2


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Decision:
    """From logits to a decision: of one of the classes, or of one label.

    Parameters
    ----------
    temperature
        The logits are divided by it, once `log_weights` are taken from them.
    threshold
        Of the probability of class 1, where there are two classes; of the label.
    n
        Validation samples; 0: nothing was chosen.
    ece_before, ece_after
        Expected calibration error on them; NaN is kept as null.
    at_limit
        No temperature could be found, and it is 1; or it lies at the upper end of what is tried.
    log_weights
        One a class, or of the label alone: how much more it counted in training than it comes, as a
        logarithm (`log_weights_of`). Empty: nothing.
    """

    temperature: float = 1.0
    threshold: float = 0.5
    n: int = 0
    ece_before: float | None = None
    ece_after: float | None = None
    at_limit: bool = False
    log_weights: tuple[float, ...] = ()


Heads = tuple[tuple[Decision, ...], ...]
"""Of each head of a model one decision, or one a label; the first head decides."""


def write_decisions(run: Run, heads: Heads) -> None:
    """Keep them in the run: one, or one a label; with clinical values also of image and values alone."""
    first, *alone = [[asdict(one) for one in decisions] for decisions in heads]
    content = {"schema_version": SCHEMA, "decisions": first, "alone": dict(zip(PARTS, alone, strict=False))}
    write_json(run.folder / CALIBRATION, content)


def read_decisions(run: Run) -> tuple[Decision, ...]:
    """Read what `write_decisions` wrote of the head that decides; otherwise like `read_heads`."""
    return read_heads(run)[0]


def read_heads(run: Run) -> Heads:
    """Read what `write_decisions` wrote.

    Raises
    ------
    InputError
        The file is absent, damaged, or of another version.
    """
    try:
        content = json.loads((run.folder / CALIBRATION).read_text(encoding="utf-8"))
        version = content["schema_version"]
        alone = content.get("alone", {})
        each = (alone[one] for one in PARTS if one in alone)
        found = [content["decisions"], *each] if version == SCHEMA else []
        heads = TypeAdapter(Heads).validate_python(found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        message = f"The run {run.folder} holds no whole {CALIBRATION}: train it to its end."
        raise InputError(message) from error
    if version != SCHEMA:
        message = (
            f"The {CALIBRATION} of {run.folder} has schema version {version}; this version reads {SCHEMA}: "
            "train it again."
        )
        raise InputError(message)
    return heads


def log_weights_of(training: ClassTrainingPlan, shares: Sequence[float]) -> tuple[float, ...]:
    """Return how much more each class counted in training than it comes, as a logarithm.

    Parameters
    ----------
    training
        With the weights, and how samples were drawn.
    shares
        Of each class among the training samples.

    Notes
    -----
    A network that learned with weights has learned the odds of a world where a class is as much more
    frequent: its logits are too high by this much, which no temperature can undo. C. Elkan, The Foundations
    of Cost-Sensitive Learning, IJCAI 2001, theorem 2; A. Menon et al., Long-Tail Learning via Logit
    Adjustment, ICLR 2021.
    """
    weights = np.log(training.class_weights)
    drawn = -np.log(shares) if training.sampling == "balanced" else 0.0
    return tuple((weights + drawn).tolist())


def choose_decisions(
    logits: Logits, targets: Sequence[Target], holds: Holds, log_weights: Sequence[float]
) -> tuple[Decision, ...]:
    """Choose temperature and threshold: one for all classes, or one for each label.

    Parameters
    ----------
    logits
        ``(n, classes)`` of validation samples.
    targets
        Of the same samples; what is unknown of a label is passed over.
    holds
        How many of the classes do.
    log_weights
        Of each class, from `log_weights_of`.
    """
    truth = np.reshape(targets, logits.shape)
    if holds == "one":
        return (_chosen(logits, truth.argmax(axis=1), tuple(log_weights)),)
    known = ~np.isnan(truth)
    return tuple(
        _chosen(logits[known[:, at], at], truth[known[:, at], at].astype(np.int64), (one,))
        for at, one in enumerate(log_weights)
    )


def calibrated(logits: Logits, decisions: Sequence[Decision], holds: Holds) -> Logits:
    """Return the honest log-odds ``(n, classes)`` of logits, by one decision for all or one a label."""
    if holds == "one":
        return _honest(logits, decisions[0])
    return np.stack([_honest(logits[:, at], one) for at, one in enumerate(decisions)], axis=1)


def _honest(logits: Logits, one: Decision) -> Logits:
    return log_odds(logits - np.array(one.log_weights or (0.0,)), one.temperature)


def mean_thresholds(members: Sequence[Sequence[Decision]]) -> tuple[float, ...]:
    """Return what decides where the probabilities of several networks are averaged."""
    each = [[one.threshold for one in decisions] for decisions in members]
    return tuple(np.mean(each, axis=0).tolist())


def decided(honest: Logits, members: Sequence[Sequence[Decision]], holds: Holds) -> NDArray[np.bool_]:
    """Decide which classes hold.

    Parameters
    ----------
    honest
        Log-odds ``(n, classes)`` of the mean of the members' probabilities.
    members
        The decisions of each.
    holds
        Of exactly one class the row is True, or of any label.

    Notes
    -----
    Of more than two classes that one holds whose probability, times what the class weighed in training, is
    the largest: a rare class that was to count as much as the others counts as much here.
    """
    if holds == "any":
        return np.asarray(special.expit(honest) >= mean_thresholds(members))
    if honest.shape[1] > 2:
        weights = np.mean([decisions[0].log_weights or (0.0,) for decisions in members], axis=0)
        best = (special.log_expit(honest) + weights).argmax(axis=1)
        return np.asarray(best[:, None] == np.arange(honest.shape[1]))
    second = special.expit(honest[:, 1]) >= mean_thresholds(members)[0]
    return np.stack([~second, second], axis=1)


def _chosen(logits: Logits, labels: Labels, log_weights: tuple[float, ...]) -> Decision:
    """Choose by the logits ``(n,)`` of a label, or ``(n, classes)``."""
    own = _own_threshold(log_weights)
    if not len(labels):
        return Decision(threshold=own, log_weights=log_weights)
    honest = logits - np.array(log_weights)
    found = fit_temperature(honest, labels)
    scores = probabilities(honest, found.temperature)
    if scores.ndim == 2 and scores.shape[1] == 2:
        scores = scores[:, 1]
    return Decision(
        temperature=found.temperature,
        threshold=best_threshold(scores, labels, own) if scores.ndim == 1 else own,
        n=found.n,
        ece_before=found.ece_before,
        ece_after=found.ece_after,
        at_limit=found.at_limit,
        log_weights=log_weights,
    )


def _own_threshold(log_weights: tuple[float, ...]) -> float:
    """Return from which probability on class 1 counts more than what is against it, by the weights."""
    if len(log_weights) > 2:
        return 0.5  # decides nothing
    against = log_weights[0] if len(log_weights) == 2 else 0.0
    return float(special.expit(against - log_weights[-1]))
