"""What a classifier says, as rows of a table and as records: by pseudonym, with every probability."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lepton_monai.cases.classes import Holds
from lepton_monai.inference.classifier import Answer


@dataclass(frozen=True)
class OperatingPoint:
    """From probabilities to decisions.

    Parameters
    ----------
    classes, holds
        Names by id, and how many of them hold for an input.
    thresholds
        Of class 1 where there are two; one a label where any may hold. Empty: each fold decided by its own.
    abstain_below
        No decision where the probability of what is decided is less.
    """

    classes: tuple[str, ...]
    holds: Holds
    thresholds: tuple[float, ...]
    abstain_below: float = 0.0

    @property
    def is_used(self) -> bool:
        """Whether thresholds of all answers decide: with more than two classes none does."""
        return bool(self.thresholds) and (self.holds == "any" or len(self.classes) == 2)

    def decision(self, answer: Answer) -> str | None:
        """Return the class that is decided for; None: its probability is below what is asked for."""
        decided = int(answer.decided[0].argmax())
        return self.classes[decided] if answer.probabilities[decided] >= self.abstain_below else None

    def label_decisions(self, answer: Answer) -> dict[str, bool | None]:
        """Return whether each label holds; None: the probability of that is below what is asked for."""
        holds = answer.decided[0]
        sure = np.where(holds, answer.probabilities, 1.0 - answer.probabilities) >= self.abstain_below
        rows = zip(self.classes, holds.tolist(), sure.tolist(), strict=True)
        return {name: one if is_sure else None for name, one, is_sure in rows}


def answers_csv(answers: Sequence[Answer], point: OperatingPoint) -> str:
    """Return one row a sample, with truth, decision and the calibrated probability of each class.

    Of several labels truth and decision are a column each: 1, 0, or nothing where it isn't known or not
    decided.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    several = point.holds == "any"
    told = (
        [f"{what}({name})" for what in ("class", "decision") for name in point.classes]
        if several
        else ["class", "decision"]
    )
    writer.writerow(["case", "patient", "slice", *told, *(f"p({name})" for name in point.classes)])
    for one in answers:
        cells = _label_cells(one, point) if several else _class_cells(one, point)
        place = "" if one.slice_number is None else one.slice_number
        shares = (f"{value:.6f}" for value in one.probabilities)
        writer.writerow([one.case, one.patient, place, *cells, *shares])
    return text.getvalue()


def answer_records(answers: Sequence[Answer], point: OperatingPoint) -> list[dict[str, Any]]:
    """Return one record a sample, as `predictions.json` has them."""
    return [
        {
            "case": one.case,
            "patient": one.patient,
            "slice": one.slice_number,
            **({"series": list(one.series)} if one.series else {}),
            "decision": point.label_decisions(one) if point.holds == "any" else point.decision(one),
            "probabilities": {
                name: round(float(value), 6)
                for name, value in zip(point.classes, one.probabilities, strict=True)
            },
        }
        for one in answers
    ]


def _class_cells(answer: Answer, point: OperatingPoint) -> list[str]:
    truth = "" if answer.target is None else point.classes[int(answer.target.argmax())]
    return [truth, point.decision(answer) or ""]


def _label_cells(answer: Answer, point: OperatingPoint) -> list[str]:
    known = [float("nan")] * len(point.classes) if answer.target is None else answer.target.tolist()
    truth = ["" if np.isnan(one) else str(int(one)) for one in known]
    decided = ["" if one is None else str(int(one)) for one in point.label_decisions(answer).values()]
    return [*truth, *decided]
