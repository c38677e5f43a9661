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
from lepton_monai.plans.classification import PARTS
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
        The logits are divided by it.
    threshold
        Of the probability of class 1, where there are two classes; of the label.
    n
        Validation samples; 0: nothing was chosen.
    ece_before, ece_after
        Expected calibration error on them; NaN is kept as null.
    at_limit
        No temperature could be found, and it is 1; or it lies at the upper end of what is tried.
    """

    temperature: float = 1.0
    threshold: float = 0.5
    n: int = 0
    ece_before: float | None = None
    ece_after: float | None = None
    at_limit: bool = False


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


def choose_decisions(logits: Logits, targets: Sequence[Target], holds: Holds) -> tuple[Decision, ...]:
    """Choose temperature and threshold: one for all classes, or one for each label.

    Parameters
    ----------
    logits
        ``(n, classes)`` of validation samples.
    targets
        Of the same samples; what is unknown of a label is passed over.
    holds
        How many of the classes do.
    """
    truth = np.stack(targets)
    if holds == "one":
        return (_chosen(logits, truth.argmax(axis=1)),)
    known = ~np.isnan(truth)
    return tuple(
        _chosen(logits[known[:, at], at], truth[known[:, at], at].astype(np.int64))
        for at in range(truth.shape[1])
    )


def calibrated(logits: Logits, decisions: Sequence[Decision], holds: Holds) -> Logits:
    """Return the honest log-odds ``(n, classes)`` of logits, by one decision for all or one a label."""
    if holds == "one":
        return log_odds(logits, decisions[0].temperature)
    columns = [log_odds(logits[:, at], one.temperature) for at, one in enumerate(decisions)]
    return np.stack(columns, axis=1)


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
    """
    if holds == "any":
        return np.asarray(special.expit(honest) >= mean_thresholds(members))
    if honest.shape[1] > 2:
        return np.asarray(honest.argmax(axis=1)[:, None] == np.arange(honest.shape[1]))
    second = special.expit(honest[:, 1]) >= mean_thresholds(members)[0]
    return np.stack([~second, second], axis=1)


def _chosen(logits: Logits, labels: Labels) -> Decision:
    """Choose by the logits ``(n,)`` of a label, or ``(n, classes)``."""
    if not len(labels):
        return Decision()
    found = fit_temperature(logits, labels)
    scores = probabilities(logits, found.temperature)
    if scores.ndim == 2 and scores.shape[1] == 2:
        scores = scores[:, 1]
    return Decision(
        temperature=found.temperature,
        threshold=best_threshold(scores, labels) if scores.ndim == 1 else 0.5,
        n=found.n,
        ece_before=found.ece_before,
        ece_after=found.ece_after,
        at_limit=found.at_limit,
    )
